"""Noise: every image's own, whatever its company, and the ways to vary it."""

import math
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from pipelines.noise import BatchNoise, slerp
from pipelines.philox import PhiloxGenerator
from pipelines.plan import NoiseSource, Seeds

from .toy import seeds

CPU = torch.device("cpu")
SHAPE = (4, 6, 8)
SPAN = (10.0, 4.0, 1.0, 0.1, 0.0)
SOURCES = pytest.mark.parametrize("source", get_args(NoiseSource))


def noise(given: Seeds, shape: tuple[int, int, int] = SHAPE) -> BatchNoise:
    return BatchNoise(given, shape, CPU, SPAN)


def torch_stream(seed: int, *shapes: tuple[int, ...]) -> list[Tensor]:
    """What a CPU generator of this seed gives for one shape after the other."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def philox_stream(seed: int, *shapes: tuple[int, ...]) -> list[Tensor]:
    generator = PhiloxGenerator(seed)
    return [torch.from_numpy(generator.randn(shape)) for shape in shapes]


@SOURCES
def test_an_image_has_the_noise_that_it_has_alone(source: NoiseSource) -> None:
    def all_of(*values: int) -> list[Tensor]:
        batch = noise(seeds(*values, source=source, subseed_strength=0.2))
        parts = [batch.first(), batch.draw(), batch.between(10.0, 4.0)]
        return [*parts, batch.draw(), batch.between(4.0, 1.0), batch.between(10.0, 6.3)]

    together = all_of(5, 6, 7)
    for image, seed in enumerate((5, 6, 7)):
        for part, alone in zip(together, all_of(seed), strict=True):
            assert torch.equal(part[image : image + 1], alone)


@SOURCES
def test_first_and_draws_are_one_stream(source: NoiseSource) -> None:
    stream = philox_stream if source == "NV" else torch_stream
    expected = stream(9, SHAPE, SHAPE, SHAPE)
    batch = noise(seeds(9, source=source))
    for part in (batch.first(), batch.draw(), batch.draw()):
        assert torch.equal(part[0], expected.pop(0))
        assert part.shape == (1, *SHAPE)
        assert part.dtype == torch.float32


def test_nv_noise_is_what_an_nvidia_gpu_gives() -> None:
    first = noise(seeds(0, source="NV"), (1, 3, 4)).first()
    expected = [-0.92466, -0.42534, -2.6438, 0.14518]
    assert first.flatten()[:4].tolist() == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize("seed", [-(2**63), -5, 0, 2**32, 2**64 - 1])
def test_any_seed_of_64_bits_starts_a_stream(seed: int) -> None:
    assert torch.equal(noise(seeds(seed)).first()[0], torch_stream(seed, SHAPE)[0])


def by_formula(weight: float, low: Tensor, high: Tensor) -> Tensor:
    """Spherical interpolation of the columns along dimension 1, one by one in float64."""
    result = np.zeros(low.shape)
    for channel in range(low.shape[0]):
        for column in range(low.shape[2]):
            a = low[channel, :, column].double().numpy()
            b = high[channel, :, column].double().numpy()
            angle = math.acos(float(a @ b) / math.sqrt(float(a @ a) * float(b @ b)))
            parts = math.sin((1 - weight) * angle) * a + math.sin(weight * angle) * b
            result[channel, :, column] = parts / math.sin(angle)
    return torch.from_numpy(result).float()


@SOURCES
@pytest.mark.parametrize("strength", [0.3, 0.9])
def test_a_subseed_turns_the_noise_by_its_strength(strength: float, source: NoiseSource) -> None:
    stream = philox_stream if source == "NV" else torch_stream
    given = seeds(2, source=source, subseed_strength=strength)
    (low,), (high,) = stream(2, SHAPE), stream(1002, SHAPE)
    torch.testing.assert_close(
        noise(given).first()[0], by_formula(strength, low, high), atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize(("strength", "seed"), [(0.0, 2), (1.0, 1002)])
def test_the_ends_of_the_strength_are_the_two_noises(strength: float, seed: int) -> None:
    first = noise(seeds(2, subseed_strength=strength)).first()[0]
    torch.testing.assert_close(first, torch_stream(seed, SHAPE)[0], atol=1e-6, rtol=0)


def test_a_subseed_leaves_the_later_draws_alone() -> None:
    varied = noise(seeds(2, subseed_strength=0.5))
    varied.first()
    assert torch.equal(varied.draw()[0], torch_stream(2, SHAPE, SHAPE)[1])


def test_slerp_keeps_the_length() -> None:
    low, high = torch.eye(4)[None, :, :1], torch.eye(4)[None, :, 1:2]
    mixed = slerp(0.5, low, high)
    torch.testing.assert_close(mixed, (low + high) * math.sqrt(0.5))
    torch.testing.assert_close(mixed.norm(dim=1), torch.ones(1, 1))


def test_parallel_noises_are_mixed_with_the_weight_on_the_first() -> None:
    low = torch.full((1, 4, 4), 1.0)
    torch.testing.assert_close(slerp(0.25, low, 3 * low), torch.full((1, 4, 4), 0.25 + 0.75 * 3))


def test_a_subseed_equal_to_the_seed_changes_nothing() -> None:
    given = Seeds(seeds=(2,), subseeds=(2,), subseed_strength=0.3, source="CPU")
    torch.testing.assert_close(noise(given).first()[0], torch_stream(2, SHAPE)[0])


def resized(width: int, height: int, **more: Any) -> Tensor:
    return noise(seeds(3, resize_from=(width, height), **more)).first()[0]


def test_smaller_noise_is_pasted_on_the_middle_of_the_image_s_own() -> None:
    (small,), (expected,) = torch_stream(3, (4, 2, 4)), torch_stream(3, SHAPE)
    expected[:, 2:4, 2:6] = small
    assert torch.equal(resized(32, 16), expected)


def test_an_odd_margin_is_smaller_before_than_after() -> None:
    (small,), (expected,) = torch_stream(3, (4, 3, 5)), torch_stream(3, SHAPE)
    expected[:, 1:4, 1:6] = small
    assert torch.equal(resized(40, 24), expected)


def test_larger_noise_is_cropped_to_its_middle() -> None:
    (large,) = torch_stream(3, (4, 10, 12))
    assert torch.equal(resized(96, 80), large[:, 2:8, 2:10])


def test_noise_can_be_larger_one_way_and_smaller_the_other() -> None:
    (wide,), (expected,) = torch_stream(3, (4, 2, 12)), torch_stream(3, SHAPE)
    expected[:, 2:4] = wide[:, :, 2:10]
    assert torch.equal(resized(96, 16), expected)


def test_a_larger_size_by_an_odd_count_is_cropped_as_the_reference_does() -> None:
    (large,), (expected,) = torch_stream(3, (4, 6, 11)), torch_stream(3, SHAPE)
    expected[:, :, :7] = large[:, :, 2:9]  # floor(-3 / 2) = -2 on both sides
    assert torch.equal(resized(88, 48), expected)


def test_the_same_size_is_no_resizing() -> None:
    assert torch.equal(resized(64, 48), torch_stream(3, SHAPE)[0])
    assert torch.equal(resized(71, 55), torch_stream(3, SHAPE)[0])


def test_a_subseed_is_mixed_at_the_size_of_the_drawing() -> None:
    (low,), (high,) = torch_stream(3, (4, 2, 4)), torch_stream(1003, (4, 2, 4))
    mixed = resized(32, 16, subseed_strength=0.4)[:, 2:4, 2:6]
    torch.testing.assert_close(mixed, by_formula(0.4, low, high), atol=1e-5, rtol=1e-4)


def test_resizing_draws_the_first_noise_and_leaves_the_stream_where_it_would_be() -> None:
    batch = noise(seeds(3, resize_from=(32, 16)))
    batch.first()
    assert torch.equal(batch.draw()[0], torch_stream(3, SHAPE, SHAPE)[1])


@SOURCES
def test_the_eta_delta_shifts_all_noise_after_the_first(source: NoiseSource) -> None:
    stream = philox_stream if source == "NV" else torch_stream
    batch = noise(seeds(3, 4, eta_delta=31337, source=source))
    first = batch.first()
    draws = [batch.draw(), batch.draw()]
    for image, seed in enumerate((3, 4)):
        assert torch.equal(first[image], stream(seed, SHAPE)[0])
        shifted = stream(seed + 31337, SHAPE, SHAPE)
        assert torch.equal(draws[0][image], shifted[0])
        assert torch.equal(draws[1][image], shifted[1])


@SOURCES
def test_the_eta_delta_leaves_the_brownian_path_alone(source: NoiseSource) -> None:
    plain = noise(seeds(3, source=source)).between(4.0, 1.0)
    assert torch.equal(noise(seeds(3, source=source, eta_delta=9)).between(4.0, 1.0), plain)


@SOURCES
def test_brownian_steps_have_unit_variance_and_go_down(source: NoiseSource) -> None:
    batch = noise(seeds(3, source=source), (4, 64, 64))
    down, up = batch.between(4.0, 1.0), batch.between(1.0, 4.0)
    assert float(down.std()) == pytest.approx(1, rel=0.03)
    torch.testing.assert_close(down, -up)
    halves = batch.between(4.0, 2.0) * math.sqrt(2) + batch.between(2.0, 1.0)
    torch.testing.assert_close(halves / math.sqrt(3), down, atol=1e-5, rtol=1e-5)


def test_the_path_spans_the_sigmas_above_0() -> None:
    clamped = noise(seeds(3)).between(0.1, 0.01) * math.sqrt(0.09)
    assert not clamped.any()
    assert noise(seeds(3)).between(0.11, 0.1).any()


def test_the_sources_differ() -> None:
    cpu, nv = (noise(seeds(3, source=source)) for source in ("CPU", "NV"))
    assert not torch.allclose(cpu.first(), nv.first())
    assert not torch.allclose(cpu.between(4.0, 1.0), nv.between(4.0, 1.0))


def test_one_path_can_serve_the_whole_batch() -> None:
    shared = noise(seeds(5, 6, brownian_per_image=False)).between(4.0, 1.0)
    own = noise(seeds(5, 6)).between(4.0, 1.0)
    assert shared.shape == own.shape == (2, *SHAPE)
    assert not torch.allclose(shared[0], shared[1])
    assert not torch.allclose(shared, own)


def test_the_shared_path_is_that_of_the_last_image_s_seed() -> None:
    shared = noise(seeds(5, 6, brownian_per_image=False)).between(4.0, 1.0)
    assert torch.equal(noise(seeds(8, 6, brownian_per_image=False)).between(4.0, 1.0), shared)
    other = noise(seeds(6, 5, brownian_per_image=False)).between(4.0, 1.0)
    assert not torch.allclose(other, shared)


@pytest.mark.parametrize("per_image", [True, False])
def test_a_negative_seed_has_a_brownian_path_too(per_image: bool) -> None:
    batch = noise(seeds(-5, brownian_per_image=per_image))
    assert torch.isfinite(batch.between(4.0, 1.0)).all()
