from __future__ import annotations

import gc

import pytest

from kdray.core.garbage import OBJECTS, gc_threshold


def test_python_looks_for_garbage_seldom_and_then_as_often_as_before() -> None:
    before = gc.get_threshold()
    assert before[0] < OBJECTS
    with gc_threshold(), gc_threshold():
        assert gc.get_threshold() == (OBJECTS, *before[1:])
    assert gc.get_threshold() == before


def test_so_it_does_after_an_error() -> None:
    before = gc.get_threshold()
    with pytest.raises(ValueError, match="inside"), gc_threshold():
        raise ValueError("inside")
    assert gc.get_threshold() == before
