from __future__ import annotations

from typing import get_args

import pytest
import torch

from kdray.core import seeds
from kdray.core.seeds import Stream, ambient, generator, stream_seed

STREAMS = get_args(Stream)


def test_the_streams_are_those_of_the_design_and_of_what_came_later() -> None:
    assert set(STREAMS) == {
        "model",
        "data_order",
        "augmentation",
        "input_noise",
        "label_noise",
        "dropout",
        "supervision",
        "attack",
        "evaluation",
        "batch_norm",
        "transforms",
    }


def test_every_seed_stream_and_counter_starts_elsewhere() -> None:
    tuples = [(), (0,), (1,), (0, 0), (0, 1), (1, 0), (11,), (1, 1)]
    starts = {
        stream_seed(seed, stream, *c) for seed in range(20) for stream in STREAMS for c in tuples
    }
    assert len(starts) == 20 * len(STREAMS) * len(tuples)
    assert all(0 <= start < 2**63 for start in starts)


def test_a_start_is_frozen() -> None:
    # By coreutils: printf 0:model | b2sum -l 64, shifted right by one bit.
    assert stream_seed(0, "model") == 0x448EA8D0F66FE036 >> 1
    assert stream_seed(3, "input_noise", 7) == 0xBC7F7563D088324A >> 1


def test_equal_starts_draw_equal_numbers_and_others_independent_ones() -> None:
    def draw(*start: object) -> torch.Tensor:
        return torch.randn(4000, generator=generator(*start))  # type: ignore[arg-type]

    assert torch.equal(draw(0, "attack", 3), draw(0, "attack", 3))
    others = torch.stack(
        [
            draw(0, "attack", 3),
            draw(1, "attack", 3),
            draw(0, "attack", 4),
            draw(0, "model", 3),
            draw(0, "attack"),
        ]
    )
    correlation = torch.corrcoef(others) - torch.eye(len(others))
    assert correlation.abs().max() < 4 / 4000**0.5


def test_a_generator_does_not_touch_the_global_one() -> None:
    before = torch.random.get_rng_state()
    torch.randn(5, generator=generator(0, "model"))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_ambient_draws_come_from_the_stream_alone() -> None:
    drawn = []
    for state in (1, 2):
        torch.manual_seed(state)
        with ambient(5, "dropout", 2):
            drawn.append(torch.randn(8))
    assert torch.equal(*drawn)
    assert torch.equal(drawn[0], torch.randn(8, generator=generator(5, "dropout", 2)))
    with ambient(5, "dropout", 3):
        assert not torch.equal(torch.randn(8), drawn[0])


@pytest.mark.parametrize("fails", [False, True])
def test_ambient_leaves_the_global_generator_as_it_was(fails: bool) -> None:
    torch.manual_seed(0)
    torch.randn(3)
    before = torch.random.get_rng_state()
    try:
        with seeds.ambient(0, "model"):
            torch.randn(100)
            if fails:
                raise KeyError
    except KeyError:
        pass
    assert torch.equal(torch.random.get_rng_state(), before)
