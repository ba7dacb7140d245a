from __future__ import annotations

import gc

import pytest

from kdray.garbage import OBJECTS, seldom_collected


def test_python_looks_for_garbage_seldom_and_then_as_often_as_before() -> None:
    before = gc.get_threshold()
    assert before[0] < OBJECTS
    with seldom_collected(), seldom_collected():
        assert gc.get_threshold() == (OBJECTS, *before[1:])
    assert gc.get_threshold() == before


def test_so_it_does_after_an_error() -> None:
    before = gc.get_threshold()
    with pytest.raises(ValueError, match="inside"), seldom_collected():
        raise ValueError("inside")
    assert gc.get_threshold() == before
