"""Every corruption keeps to what all share, and does what its formula says; none of it needs any
data."""

from __future__ import annotations

import colorsys
import math
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from kdray.core import InputError
from kdray.perturbations.corruptions import (
    CORRUPTIONS,
    DETERMINISTIC,
    RANDOM,
    SEVERITIES,
    blur,
    corrupt,
    digital,
    weather,
)
from kdray.perturbations.corruptions.noise import IMPULSE_SHARE, SHOT_PEAK
from kdray.perturbations.corruptions.operators import (
    convolved,
    enlarged_size,
    gaussian_blur,
    luma,
    middle_enlarged,
    mirrored,
    moved,
)
from kdray.perturbations.corruptions.spatter import distance, edges, equalised
from kdray.testing.samples import draws
from tests.perturbations.test_corruptions_reference import reference

every_kind = pytest.mark.parametrize("kind", CORRUPTIONS)
every_random = pytest.mark.parametrize("kind", RANDOM)
every_deterministic = pytest.mark.parametrize("kind", DETERMINISTIC)
every_severity = pytest.mark.parametrize("severity", SEVERITIES)


def natural(count: int = 8, channels: int = 3, side: int = 32, width: int | None = None) -> Tensor:
    """Images with a natural spectrum: amplitudes of 1/frequency, the channels alike, in whole
    levels."""
    width = width or side
    noise = torch.randn(count, channels, side, width, generator=draws())
    noise = noise + 2 * noise.mean(1, keepdim=True)
    frequency = torch.hypot(torch.fft.fftfreq(side)[:, None], torch.fft.rfftfreq(width)).clamp(
        min=1 / side
    )
    grain = torch.fft.irfft2(torch.fft.rfft2(noise) / frequency, s=(side, width))
    return ((0.5 + 0.2 * grain / grain.std()).clamp(0, 1) * 255).round() / 255


def change(images: Tensor, corrupted: Tensor) -> float:
    return float((images - corrupted).abs().mean())


def test_there_are_19_kinds() -> None:
    assert len(CORRUPTIONS) == 19
    assert set(CORRUPTIONS) == DETERMINISTIC.keys() | RANDOM.keys()
    assert not DETERMINISTIC.keys() & RANDOM.keys()


@every_kind
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (28, 28), (32, 32), (64, 64), (24, 40)])
def test_a_corrupted_image_is_an_image_in_8_bits(
    kind: str, channels: int, height: int, width: int
) -> None:
    images = natural(2, channels, height, width)
    for severity in SEVERITIES:
        out = corrupt(images, kind, severity, draws())
        assert (out.shape, out.dtype) == (images.shape, torch.float32)
        assert out.min() >= 0
        assert out.max() <= 1
        torch.testing.assert_close(255 * out, (255 * out).round(), atol=1e-4, rtol=0)
        if (kind, channels) != ("saturate", 1) and height >= 28:
            assert not torch.equal(out, images)


@every_kind
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_black_and_white_images_are_no_trouble(kind: str, value: float) -> None:
    for channels in (1, 3):
        for severity in SEVERITIES:
            assert (
                corrupt(torch.full((2, channels, 32, 32), value), kind, severity, draws())
                .isfinite()
                .all()
            )


@every_kind
def test_the_images_and_the_global_generator_stay_as_they_are(kind: str) -> None:
    images = natural(4)
    before, ambient = images.clone(), torch.get_rng_state()
    for severity in SEVERITIES:
        corrupt(images, kind, severity, draws()).fill_(7)
    assert torch.equal(images, before)
    assert torch.equal(torch.get_rng_state(), ambient)


@every_random
def test_the_draws_decide_and_every_image_has_its_own(kind: str) -> None:
    images = natural(1).expand(8, -1, -1, -1)
    out = corrupt(images, kind, 5, draws())
    assert torch.equal(corrupt(images, kind, 5, draws()), out)
    assert not torch.equal(corrupt(images, kind, 5, draws(1)), out)
    assert len(out.flatten(1).unique(dim=0)) > 5  # directions in whole pixels may be the same


@every_deterministic
@every_severity
def test_what_draws_nothing_treats_each_image_by_itself(kind: str, severity: int) -> None:
    images, generator = natural(4), draws()
    batch = corrupt(images, kind, severity, generator)
    assert torch.equal(generator.get_state(), draws().get_state())
    for i in range(4):
        assert torch.equal(corrupt(images[i : i + 1], kind, severity, generator), batch[i : i + 1])


@every_kind
def test_the_more_severe_the_more_changes_where_the_reference_says_so(kind: str) -> None:
    """At every step from one severity to the next, but those where the reference itself does not
    change more."""
    images = natural(64)
    changes = {
        severity: change(images, corrupt(images, kind, severity, draws()))
        for severity in SEVERITIES
    }
    for severity in SEVERITIES[:-1]:
        before, after = (reference()[kind, step]["change"] for step in (severity, severity + 1))
        if after > 1.02 * before:
            assert changes[severity + 1] > changes[severity]
        else:
            assert (kind, severity) in FALLING


FALLING = {
    ("glass_blur", 1),
    ("glass_blur", 2),
    ("glass_blur", 4),
    ("frost", 3),
    ("frost", 4),
    ("spatter", 3),
    ("saturate", 2),
    ("motion_blur", 3),
    *(("elastic_transform", severity) for severity in SEVERITIES[:-1]),
}
"""Where the reference changes less, or not 2 % more, at the next severity: its figures on 500
images of CIFAR-10."""


@pytest.mark.parametrize(
    "kind",
    [
        "defocus_blur",
        "motion_blur",
        "zoom_blur",
        "gaussian_blur",
        "glass_blur",
        "pixelate",
        "snow",
        "frost",
        "fog",
        "elastic_transform",
        "spatter",
    ],
)
def test_lengths_grow_with_the_image(kind: str) -> None:
    small = natural(64)
    large = functional.interpolate(small, (64, 64), mode="bilinear")
    for severity in (3, 5):
        at_32 = change(small, corrupt(small, kind, severity, draws()))
        at_64 = change(large, corrupt(large, kind, severity, draws()))
        assert (
            0.5 < at_64 / at_32 < 1.7
        )  # blurs of as many pixels as at 32 change a quarter to a half as much


@pytest.mark.parametrize(
    "kind",
    [
        "defocus_blur",
        "glass_blur",
        "motion_blur",
        "zoom_blur",
        "gaussian_blur",
        "contrast",
        "elastic_transform",
        "pixelate",
        "jpeg_compression",
    ],
)
@every_severity
@pytest.mark.parametrize("level", [0, 77, 255])
def test_a_constant_image_stays_as_it_is(kind: str, severity: int, level: int) -> None:
    images = torch.full((2, 3, 32, 32), level / 255)
    most = 1 / 255 if kind == "jpeg_compression" else 0  # its mean, too, has a step
    torch.testing.assert_close(
        corrupt(images, kind, severity, draws()), images, atol=most + 1e-5, rtol=0
    )


@pytest.mark.parametrize("severity", [0, 6, -1])
def test_a_severity_outside_of_1_to_5_is_refused(severity: int) -> None:
    with pytest.raises(
        InputError, match=rf"^severity: {severity} is out of range \(allowed: 1 to 5\)$"
    ):
        corrupt(natural(1), "fog", severity, draws())


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        InputError,
        match=r"^corruption: 'rain' is not one \(allowed: gaussian_noise, .*, saturate\)$",
    ):
        corrupt(natural(1), "rain", 1, draws())


def test_two_channels_are_refused() -> None:
    with pytest.raises(InputError, match=r"^corruption: images have 2 channels \(allowed: 1, 3\)$"):
        corrupt(torch.rand(1, 2, 32, 32), "fog", 1, draws())


@every_severity
def test_shot_noise_has_the_variance_of_its_photons_and_speckle_none_on_black(
    severity: int,
) -> None:
    out = RANDOM["shot_noise"](torch.full((16, 1, 32, 32), 0.5), severity, draws())
    assert float(out.var()) == pytest.approx(0.5 / SHOT_PEAK[severity - 1], rel=0.05)
    assert not corrupt(torch.zeros(2, 3, 8, 8), "speckle_noise", severity, draws()).any()


@every_severity
def test_impulse_noise_makes_its_share_of_values_black_or_white(severity: int) -> None:
    out = RANDOM["impulse_noise"](torch.full((32, 3, 32, 32), 0.5), severity, draws())
    share, error = (
        IMPULSE_SHARE[severity - 1] / 2,
        4 * (IMPULSE_SHARE[severity - 1] / 2 / out.numel()) ** 0.5,
    )
    assert float((out == 0).float().mean()) == pytest.approx(share, abs=error)
    assert float((out == 1).float().mean()) == pytest.approx(share, abs=error)
    assert set(out.unique().tolist()) == {0.0, 0.5, 1.0}


@every_severity
def test_contrast_keeps_the_mean_and_scales_the_rest(severity: int) -> None:
    images = natural()
    out, mean = DETERMINISTIC["contrast"](images, severity), images.mean((2, 3), keepdim=True)
    torch.testing.assert_close(out - mean, digital.CONTRAST[severity - 1] * (images - mean))


@every_severity
def test_brightness_and_saturate_are_those_of_hue_saturation_and_value(severity: int) -> None:
    images = torch.rand(1, 3, 4, 4, generator=draws())
    images[:, :, 0, 0], images[:, :, 0, 1] = 0.0, 0.5  # black and grey
    factor, constant = digital.SATURATE[severity - 1]
    brighter, coloured = images.clone(), images.clone()
    for y in range(4):
        for x in range(4):
            hue, saturation, value = colorsys.rgb_to_hsv(*images[0, :, y, x].tolist())
            lifted = min(value + weather.BRIGHTNESS[severity - 1], 1)
            brighter[0, :, y, x] = torch.tensor(colorsys.hsv_to_rgb(hue, saturation, lifted))
            strong = min(saturation * factor + constant, 1)
            coloured[0, :, y, x] = torch.tensor(colorsys.hsv_to_rgb(hue, strong, value))
    torch.testing.assert_close(DETERMINISTIC["brightness"](images, severity), brighter)
    torch.testing.assert_close(DETERMINISTIC["saturate"](images, severity), coloured)


@every_severity
def test_a_grey_image_gets_brighter_by_the_constant_and_no_colour(severity: int) -> None:
    images = natural(2, 1)
    brighter = DETERMINISTIC["brightness"](images, severity)
    torch.testing.assert_close(brighter, (images + weather.BRIGHTNESS[severity - 1]).clamp(max=1))
    assert torch.equal(corrupt(images, "saturate", severity, draws()), images)


@pytest.mark.parametrize("kind", ["snow", "fog", "spatter", "frost"])
def test_the_grey_values_of_weather_are_those_of_its_colours(kind: str) -> None:
    grey = natural(4, 1) * 0.4
    colour = RANDOM[kind](grey.expand(-1, 3, -1, -1).contiguous(), 2, draws())
    torch.testing.assert_close(RANDOM[kind](grey, 2, draws()), luma(colour))


@pytest.mark.parametrize("sigma", [0.05, 0.4, 1.0, 6.4])
def test_gaussian_blur_is_scipys(sigma: float) -> None:
    images = natural(2)
    for edge, mode, reach in ((None, "nearest", 4.0), (mirrored, "reflect", 3.0)):
        options = {"edge": edge} if edge else {}
        expected = ndimage.gaussian_filter(
            images.numpy(), (0, 0, sigma, sigma), mode=mode, truncate=reach
        )
        blurred = gaussian_blur(images, sigma, reach=reach, **options)  # type: ignore[arg-type]
        torch.testing.assert_close(blurred, torch.from_numpy(expected))


def test_convolved_is_a_correlation_mirrored_at_the_edge() -> None:
    images, kernel = natural(1, 1, 8), torch.randn(5, 5, generator=draws())
    expected = functional.conv2d(
        functional.pad(images, (2,) * 4, mode="reflect"), kernel[None, None]
    )
    torch.testing.assert_close(convolved(images, kernel), expected)


def test_motion_smears_a_point_along_its_direction_to_one_side() -> None:
    point = torch.zeros(3, 1, 17, 17)
    point[:, :, 8, 8] = 1
    out = moved(point, radius=4.0, sigma=2.0, angles=torch.tensor([0, math.pi / 2, math.pi / 4]))[
        :, 0
    ]
    weights = torch.tensor([math.exp(-(i**2) / 8) for i in range(9)])
    weights = weights / weights.sum()
    for line in (out[0, 8, :9], out[1, :9, 8]):
        torch.testing.assert_close(line.flip(0), weights, atol=1.5 / 255, rtol=0)
    assert out[0].count_nonzero() == out[0, 8, :9].count_nonzero()
    diagonal = [8 - math.ceil(i * math.sqrt(0.5) - 0.5) for i in range(9)]
    assert {tuple(place) for place in out[2].nonzero().tolist()} <= {(y, y) for y in diagonal}


@every_severity
def test_motion_is_at_most_45_degrees_from_the_horizontal(severity: int) -> None:
    point = torch.zeros(64, 1, 41, 41)
    point[:, :, 20, 20] = 1
    places = (RANDOM["motion_blur"](point, severity, draws())[:, 0].nonzero()[:, 1:] - 20).abs()
    assert (places[:, 0] <= places[:, 1]).all()
    assert (places[:, 0] > 1).any()


@every_severity
def test_snow_whitens_where_none_falls_and_falls_both_ways(severity: int) -> None:
    share = weather.SNOW[severity - 1][-1]
    for level in (0.0, 0.2):
        snowy = RANDOM["snow"](torch.full((16, 3, 32, 32), level), severity, draws())
        assert float(snowy.min()) == pytest.approx(
            share * level + (1 - share) * (1.5 * level + 0.5)
        )
        torch.testing.assert_close(snowy, snowy.rot90(2, (2, 3)))
        assert snowy.flatten(1).std(1).min() > 0


def test_glass_blur_takes_values_from_above_and_the_left_and_leaves_two_rows() -> None:
    images = torch.arange(32.0).view(1, 1, 32, 1).expand(1, 1, 32, 32) / 255
    rows = (RANDOM["glass_blur"](images, 1, draws()) * 255).round()[0, 0] - torch.arange(32.0)[
        :, None
    ]
    assert set(rows[2:, 2:].unique().tolist()) == {-1.0, 0.0}
    assert not rows[:2].any()
    assert not rows[:, :2].any()


def test_an_enlarged_ramp_is_a_flatter_ramp_and_factor_1_changes_nothing() -> None:
    ramp = torch.linspace(0, 1, 32).expand(1, 1, 32, -1)
    same = enlarged_size(32, 1.0)
    torch.testing.assert_close(middle_enlarged(ramp, same, same), ramp)
    twice = middle_enlarged(ramp, same, enlarged_size(32, 2.0))[0, 0, 0].diff()
    torch.testing.assert_close(twice, torch.full((31,), 15 / 31 / 31))


@every_severity
def test_zoom_blur_flattens_a_ramp_by_the_mean_of_its_factors(severity: int) -> None:
    ramp = torch.linspace(0, 1, 32).expand(1, 1, 32, -1)
    sizes = [
        enlarged_size(32, 1 + 0.010000000000000009 * i)
        for i in range(blur.ZOOM_FACTORS[severity - 1])
    ]
    slopes = [1.0, *((crop - 1) / (enlarged - 1) for crop, enlarged in sizes)]
    steps = DETERMINISTIC["zoom_blur"](ramp, severity)[0, 0, 0].diff()
    torch.testing.assert_close(steps, torch.full((31,), sum(slopes) / len(slopes) / 31))


@pytest.mark.parametrize("decay", [1.75, 3.0])
def test_fog_is_from_0_to_1_and_has_no_seam(decay: float) -> None:
    fog = weather.plasma(64, 32, decay, draws=draws(), device=torch.device("cpu"))
    assert torch.equal(fog.amin((1, 2)), torch.zeros(64))
    assert torch.equal(fog.amax((1, 2)), torch.ones(64))
    for axis in (1, 2):
        seam = (fog.select(axis, 0) - fog.select(axis, 31)).abs().mean()
        inside = fog.diff(dim=axis).abs().mean()
        assert seam < 1.1 * inside


def test_fog_is_smoother_the_faster_it_decays_and_keeps_the_brightest_value() -> None:
    rough, smooth = (
        weather.plasma(64, 32, decay, draws=draws(), device=torch.device("cpu")).diff().abs().mean()
        for decay in (1.75, 3.0)
    )
    assert rough > 1.25 * smooth
    white = torch.full((8, 1, 32, 32), 0.8)
    assert float(RANDOM["fog"](white, 5, draws()).max()) == pytest.approx(0.8, abs=1e-6)


def test_an_affine_map_of_three_equal_shifts_moves_the_image() -> None:
    images = natural(2, side=16)
    points = torch.tensor([[12.0, 12.0], [12.0, 4.0], [4.0, 4.0]])
    shifts = torch.tensor([[3.0, 0.0], [0.0, -2.0]])[:, None].expand(-1, 3, -1)
    out = digital.affine(images, points, shifts)
    torch.testing.assert_close(out[0, :, :, 3:], images[0, :, :, :-3], atol=1e-5, rtol=0)
    torch.testing.assert_close(out[1, :, :-2], images[1, :, 2:], atol=1e-5, rtol=0)
    torch.testing.assert_close(
        out[0, :, :, :3], images[0, :, :, 1:4].flip(2), atol=1e-5, rtol=0
    )  # the edge's mirror


@every_severity
def test_pixelate_and_jpeg_are_pillows(severity: int) -> None:
    images = natural(4)
    small = int(32 * digital.PIXELATE[severity - 1])
    for image, pixelated, compressed in zip(
        images,
        corrupt(images, "pixelate", severity, draws()),
        corrupt(images, "jpeg_compression", severity, draws()),
        strict=True,
    ):
        picture = Image.fromarray((image * 255).round().byte().movedim(0, 2).numpy())
        boxes = picture.resize((small, small), Image.Resampling.BOX).resize(
            (32, 32), Image.Resampling.BOX
        )
        assert np.array_equal(
            np.asarray(boxes), (pixelated * 255).round().byte().movedim(0, 2).numpy()
        )
        file = BytesIO()
        picture.save(file, "JPEG", quality=digital.JPEG_QUALITY[severity - 1])
        assert np.array_equal(
            np.asarray(Image.open(file)), (compressed * 255).round().byte().movedim(0, 2).numpy()
        )


def test_edges_are_the_outline_of_a_square() -> None:
    square = torch.zeros(1, 1, 16, 16)
    square[:, :, 4:12, 4:12] = 200
    found = edges(square)[0, 0]
    assert found.any()
    assert not found[6:10, 6:10].any()
    assert not found[:3].any()
    assert not edges(torch.full((1, 1, 16, 16), 200.0)).any()


def test_distance_is_the_shortest_sum_of_steps() -> None:
    marked = torch.rand(4, 1, 12, 16, generator=draws()) < 0.02
    marked[3] = False
    y, x = torch.meshgrid(torch.arange(12), torch.arange(16), indexing="ij")
    found = distance(marked, 9.0)
    for i in range(4):
        expected = torch.full((12, 16), 9.0)
        for row, column in marked[i, 0].nonzero().tolist():
            longer, shorter = (
                torch.maximum((y - row).abs(), (x - column).abs()),
                torch.minimum((y - row).abs(), (x - column).abs()),
            )
            flat, steep = (
                longer - 2 * shorter + 2.1969 * shorter,
                2.1969 * (longer - shorter) + 1.4 * (2 * shorter - longer),
            )
            expected = torch.minimum(expected, torch.where(2 * shorter <= longer, flat, steep))
        torch.testing.assert_close(found[i, 0], expected)


def test_equalised_levels_are_evenly_spaced_and_one_level_stays() -> None:
    levels = torch.tensor([3, 3, 7, 7, 7, 7, 9, 200.0]).view(1, 1, 2, 4)
    expected = torch.tensor([0, 0, 170, 170, 170, 170, 212, 255.0]).view(
        1, 1, 2, 4
    )  # of 6: 4, 5, 6 at or below
    assert torch.equal(equalised(levels), expected)
    assert torch.equal(equalised(torch.full((1, 1, 2, 4), 9.0)), torch.full((1, 1, 2, 4), 9.0))


def test_defocus_of_a_point_is_a_softened_disk() -> None:
    point = torch.zeros(1, 1, 33, 33)
    point[:, :, 16, 16] = 1
    out = blur.defocus_blur(point, 5)[0, 0]
    assert float(out.sum()) == pytest.approx(1)
    torch.testing.assert_close(out, out.T)
    torch.testing.assert_close(out[15:18, 15:18], torch.full((3, 3), 1 / 9), atol=1e-3, rtol=0)
