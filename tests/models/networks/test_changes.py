"""Each kind of network against its definition: as layers, as loops, or as a property."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import conv2d, linear

from models.networks.changes import Misfit, change_of, check

sizes = st.integers(1, 5)
kernels = st.sampled_from((1, 3))
seeds = st.integers(0, 1 << 20)
Matrix = np.ndarray[Any, np.dtype[np.float64]]
quick = settings(max_examples=20, deadline=None)


def made(seed: int, *shapes: tuple[int, ...]) -> tuple[Tensor, ...]:
    # In float64, so that a wrong formula shows and rounding does not.
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)


def delta(weight: Tensor, parts: Mapping[str, Tensor], dyn_dim: int | None = None) -> Tensor:
    change = change_of(parts)
    check(change, weight.shape, weight.shape[:1])
    found = change.of_weight(weight, dyn_dim)
    assert found.shape == weight.shape
    return found


def close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-6)


@quick
@given(seeds, sizes, sizes, sizes, st.floats(0.1, 8))
def test_lora_is_two_layers_beside_the_first(
    seed: int, out: int, into: int, rank: int, alpha: float
) -> None:
    weight, up, down, x = made(seed, (out, into), (out, rank), (rank, into), (7, into))
    found = delta(weight, {"up": up, "down": down, "alpha": torch.tensor(alpha)})
    close(linear(x, found), alpha / rank * linear(linear(x, down), up))


@quick
@given(seeds, sizes, sizes, sizes, kernels)
def test_locon_is_two_convolutions(seed: int, out: int, into: int, rank: int, kernel: int) -> None:
    weight, up, down, x = made(
        seed, (out, into, kernel, kernel), (out, rank, 1, 1), (rank, into, kernel, kernel),
        (1, into, 6, 6),
    )  # fmt: skip
    close(conv2d(x, delta(weight, {"up": up, "down": down})), conv2d(conv2d(x, down), up))


@quick
@given(seeds, sizes, sizes, sizes, kernels)
def test_locon_with_a_core_is_three_convolutions(
    seed: int, out: int, into: int, rank: int, kernel: int
) -> None:
    weight, up, down, mid, x = made(
        seed, (out, into, kernel, kernel), (out, rank, 1, 1), (rank, into, 1, 1),
        (rank, rank, kernel, kernel), (1, into, 6, 6),
    )  # fmt: skip
    found = delta(weight, {"up": up, "down": down, "mid": mid})
    close(conv2d(x, found), conv2d(conv2d(conv2d(x, down), mid), up))


def test_a_matrix_serves_a_convolution_of_one_pixel_and_the_other_way_round() -> None:
    weight, up, down = made(1, (3, 4), (3, 2), (2, 4))
    flat = delta(weight, {"up": up, "down": down})
    wide = {"up": up[..., None, None], "down": down[..., None, None]}
    assert torch.equal(delta(weight, wide), flat)
    convolution = delta(weight[..., None, None], {"up": up, "down": down})
    assert torch.equal(convolution[..., 0, 0], flat)


@pytest.mark.parametrize("dyn_dim", (0, 1, 3, 99))
def test_dyn_cuts_the_rank_and_leaves_the_scale(dyn_dim: int) -> None:
    weight, up, down = made(2, (3, 4), (3, 3), (3, 4))
    parts = {"up": up, "down": down, "alpha": torch.tensor(1.5)}
    close(delta(weight, parts, dyn_dim), 0.5 * up[:, :dyn_dim] @ down[:dyn_dim])


def test_a_scale_of_its_own_goes_before_alpha() -> None:
    weight, up, down = made(3, (3, 4), (3, 2), (2, 4))
    parts = {"up": up, "down": down, "alpha": torch.tensor(4), "scale": torch.tensor([0.25])}
    close(delta(weight, parts), 0.25 * up @ down)


@quick
@given(seeds, sizes, sizes, sizes, kernels)
def test_loha_multiplies_two_loras(seed: int, out: int, into: int, rank: int, kernel: int) -> None:
    names = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")
    pair = ((out, rank), (rank, into * kernel**2))
    weight, *parts = made(seed, (out, into, kernel, kernel), *pair, *pair)
    w1_a, w1_b, w2_a, w2_b = parts
    wanted = torch.zeros(out, into * kernel**2, dtype=torch.float64)
    for i in range(out):
        for j in range(into * kernel**2):
            wanted[i, j] = (w1_a[i] @ w1_b[:, j]) * (w2_a[i] @ w2_b[:, j])
    found = delta(weight, {**dict(zip(names, parts, strict=True)), "alpha": torch.tensor(2.0)})
    close(found, 2 / rank * wanted.reshape(weight.shape))


@quick
@given(seeds, sizes, sizes, sizes, kernels)
def test_loha_with_cores(seed: int, out: int, into: int, rank: int, kernel: int) -> None:
    weight, a1, b1, t1, a2, b2, t2 = made(
        seed, (out, into, kernel, kernel),
        *(((rank, out), (rank, into), (rank, rank, kernel, kernel)) * 2),
    )  # fmt: skip
    parts = {"hada_w1_a": a1, "hada_w1_b": b1, "hada_t1": t1}
    parts |= {"hada_w2_a": a2, "hada_w2_b": b2, "hada_t2": t2}
    halves = [
        sum(
            torch.outer(a[i], b[j])[..., None, None] * t[i, j]
            for i in range(rank)
            for j in range(rank)
        )
        for a, b, t in ((a1, b1, t1), (a2, b2, t2))
    ]
    close(delta(weight, parts), torch.as_tensor(halves[0]) * torch.as_tensor(halves[1]))


@quick
@given(seeds, sizes, sizes, sizes, sizes, kernels, st.booleans(), st.booleans(), st.booleans())
def test_lokr_is_a_kronecker_product(
    seed: int,
    o1: int,
    i1: int,
    o2: int,
    i2: int,
    kernel: int,
    first: bool,
    second: bool,
    core: bool,
) -> None:
    rank, area = 2, (kernel, kernel)
    weight, w1, w2, w1_a, w1_b, w2_a, w2_b, c_a, c_b, t2 = made(
        seed, (o1 * o2, i1 * i2, *area), (o1, i1), (o2, i2, *area), (o1, rank), (rank, i1),
        (o2, rank), (rank, i2 * kernel**2), (rank, o2), (rank, i2), (rank, rank, *area),
    )  # fmt: skip
    parts = {"alpha": torch.tensor(3.0)}
    if first:
        parts["lokr_w1"] = w1
    else:
        parts |= {"lokr_w1_a": w1_a, "lokr_w1_b": w1_b}
        w1 = w1_a @ w1_b
    if second:
        parts["lokr_w2"] = w2
    elif core:
        parts |= {"lokr_w2_a": c_a, "lokr_w2_b": c_b, "lokr_t2": t2}
        w2 = torch.einsum("ijkl,io,jn->onkl", t2, c_a, c_b)
    else:
        parts |= {"lokr_w2_a": w2_a, "lokr_w2_b": w2_b}
        w2 = (w2_a @ w2_b).reshape(o2, i2, *area)
    wanted = torch.zeros_like(weight)
    for i in range(o1):
        for j in range(i1):
            wanted[i * o2 : (i + 1) * o2, j * i2 : (j + 1) * i2] = w1[i, j] * w2
    close(delta(weight, parts), wanted if first and second else 3 / rank * wanted)


@quick
@given(seeds, sizes, sizes, kernels)
def test_ia3_scales_what_goes_in_or_what_comes_out(
    seed: int, out: int, into: int, kernel: int
) -> None:
    weight, w_in, w_out, x = made(
        seed, (out, into, kernel, kernel), (into,), (out,), (1, into, 6, 6)
    )
    found = delta(weight, {"ia3": w_in, "on_input": torch.tensor(True)})
    close(conv2d(x, weight + found), conv2d(x * (1 + w_in)[:, None, None], weight))
    for parts in ({"ia3": w_out, "on_input": torch.tensor(False)}, {"ia3": w_out[:, None]}):
        found = delta(weight, parts)
        close(conv2d(x, weight + found), conv2d(x, weight) * (1 + w_out)[:, None, None])


def test_full_and_norm_are_the_difference_itself() -> None:
    weight, diff, bias = made(4, (3, 4), (3, 4), (3,))
    change = change_of({"diff": diff, "diff_b": bias, "alpha": torch.tensor(7.0)})
    assert torch.equal(change.of_weight(weight), diff)
    assert change.of_bias() is bias
    only_bias = change_of({"diff_b": bias})
    assert not only_bias.of_weight(weight).any()
    norm = change_of({"w_norm": bias, "b_norm": 2 * bias})
    assert torch.equal(norm.of_weight(torch.ones(3, dtype=torch.float64)), bias)
    added = norm.of_bias()
    assert added is not None
    assert torch.equal(added, 2 * bias)


@quick
@given(seeds, st.integers(3, 6), st.integers(3, 6), st.integers(1, 2))
def test_glora_in_both_of_its_layouts(seed: int, out: int, into: int, rank: int) -> None:
    weight, bias_out, bias_in, gate_in, gate_out = made(
        seed, (out, into), (out, rank), (rank, into), (into, rank), (rank, into)
    )
    wanted = weight @ gate_in @ gate_out + bias_out @ bias_in
    first = {"a2": gate_in, "a1": gate_out, "b2": bias_out, "b1": bias_in}
    later = {"a1": gate_in, "a2": gate_out, "b1": bias_out, "b2": bias_in}
    for parts in (first, later):
        close(delta(weight, parts), wanted)
        close(delta(weight, {**parts, "alpha": torch.tensor(0.5)}), 0.5 / rank * wanted)


def test_glora_of_a_convolution_mixes_channels_before_it() -> None:
    weight, a1, a2, b1, b2, x = made(
        8, (5, 4, 3, 3), (4, 2, 1, 1), (2, 4, 1, 1), (5, 2, 1, 1), (2, 4, 3, 3), (1, 4, 6, 6)
    )
    found = delta(weight, {"a1": a1, "a2": a2, "b1": b1, "b2": b2})
    gate = conv2d(conv2d(x, a2), a1)
    close(conv2d(x, found), conv2d(gate, weight) + conv2d(conv2d(x, b2), b1))


def cayley(block: Matrix, factor: float = 1.0) -> Matrix:
    skew = factor * (block - block.T)
    one = np.eye(len(block))
    rotation: Matrix = (one + skew) @ np.linalg.inv(one - skew)
    return rotation


@quick
@given(seeds, st.integers(1, 4), st.integers(1, 4), st.integers(1, 4))
def test_oft_rotates_blocks_of_outputs(seed: int, blocks: int, size: int, into: int) -> None:
    weight, parts, rescale = made(
        seed, (blocks * size, into), (blocks, size, size), (blocks * size, 1)
    )
    w = weight.numpy()
    rotations = [cayley(block) for block in parts.numpy()]
    turned = np.concatenate([r.T @ w[k * size : (k + 1) * size] for k, r in enumerate(rotations)])
    found = weight + delta(weight, {"oft_blocks": parts})
    close(found, torch.tensor(turned))
    close(found.norm(dim=0), weight.norm(dim=0))
    scaled = weight + delta(weight, {"oft_blocks": parts, "rescale": rescale})
    close(scaled, found * rescale)
    plain = torch.tensor(np.stack(rotations))
    close(weight + delta(weight, {"oft_diag": plain}), found)


def test_alpha_limits_how_far_oft_turns() -> None:
    weight, blocks = made(5, (6, 4), (2, 3, 3))
    norm = float((blocks - blocks.mT).norm())
    alpha = norm / 6 / 3
    turned = torch.cat(
        [
            torch.tensor(cayley(block.numpy(), 1 / 3).T) @ weight[3 * i : 3 * i + 3]
            for i, block in enumerate(blocks)
        ]
    )
    found = delta(weight, {"oft_blocks": blocks, "alpha": torch.tensor(alpha)})
    close(weight + found, turned)
    free = delta(weight, {"oft_blocks": blocks})
    close(delta(weight, {"oft_blocks": blocks, "alpha": torch.tensor(99.0)}), free)
    close(delta(weight, {"oft_blocks": blocks, "alpha": torch.tensor(0.0)}), free)


@quick
@given(seeds, st.integers(1, 3), st.integers(1, 3))
def test_boft_rotates_pairs_ever_farther_apart(seed: int, stages: int, half: int) -> None:
    size, count = 2 * half, 2 ** (stages - 1)
    out = size * count
    weight, parts = made(seed, (out, 3), (stages, count, size, size))
    wanted = weight.numpy()
    for stage in range(stages):
        apart = half * 2**stage
        # The outputs in the order in which a block of this stage takes them.
        order = [
            group * 2 * apart + side * apart + place
            for group in range(out // (2 * apart))
            for place in range(apart)
            for side in range(2)
        ]
        gathered, turned = wanted[order], np.zeros_like(wanted)
        for k, block in enumerate(parts[stage].numpy()):
            rows = order[k * size : (k + 1) * size]
            turned[rows] = cayley(block) @ gathered[k * size : (k + 1) * size]
        wanted = turned
    close(weight + delta(weight, {"oft_blocks": parts}), torch.tensor(wanted))


@quick
@given(seeds, st.integers(2, 4), st.integers(2, 4), kernels)
def test_dora_sets_the_norms(seed: int, out: int, into: int, kernel: int) -> None:
    weight, up, down, per_in, per_out = made(
        seed, (out, into, kernel, kernel), (out, 2, 1, 1), (2, into, kernel, kernel),
        (1, into, 1, 1), (out,),
    )  # fmt: skip
    lora = {"up": up, "down": down, "alpha": torch.tensor(1.0)}
    plain = weight + delta(weight, lora)
    per_in, per_out = per_in.abs() + 0.1, per_out.abs() + 0.1
    for parts, axes in (
        ({"dora_scale": per_in}, (0, 2, 3)),
        ({"dora_scale": per_in[..., 0, 0]}, (0, 2, 3)),
        ({"dora_scale": per_out[:, None]}, (1, 2, 3)),
        ({"magnitude": per_out}, (1, 2, 3)),
        ({"magnitude": per_out[None, :, None, None]}, (1, 2, 3)),
    ):
        found = weight + delta(weight, {**lora, **parts})
        wanted = next(iter(parts.values())).flatten()
        close(torch.linalg.vector_norm(found, dim=axes), wanted)
        old = torch.linalg.vector_norm(plain, dim=axes, keepdim=True)
        close(found / torch.linalg.vector_norm(found, dim=axes, keepdim=True), plain / old)


def test_a_sparse_part_is_added_before_the_scale() -> None:
    weight, up, down = made(6, (3, 4), (3, 2), (2, 4))
    parts = {
        "up": up,
        "down": down,
        "alpha": torch.tensor(1.0),
        "bias_indices": torch.tensor([[0, 2], [3, 1]]),
        "bias_values": torch.tensor([5.0, -6.0]),
        "bias_size": torch.tensor([3, 4]),
    }
    wanted = up @ down
    wanted[0, 3] += 5
    wanted[2, 1] -= 6
    change = change_of(parts)
    check(change, weight.shape, None)
    close(change.of_weight(weight), wanted / 2)


def test_what_was_made_for_four_channels_reaches_the_first_four_of_nine() -> None:
    weight, up, down = made(7, (3, 9, 3, 3), (3, 2, 1, 1), (2, 4, 3, 3))
    found = delta(weight, {"up": up, "down": down})
    close(found[:, :4], delta(weight[:, :4], {"up": up, "down": down}))
    assert not found[:, 4:].any()


def zeros(**shapes: tuple[int, ...]) -> dict[str, Tensor]:
    return {name: torch.zeros(shape, device="meta") for name, shape in shapes.items()}


HUGE = 10**9
MISFITS = {
    "another width": zeros(up=(8, 2), down=(2, 5)),
    "another height": zeros(up=(7, 2), down=(2, 4)),
    "the same number of weights": zeros(up=(4, 2), down=(2, 8)),
    "ranks that differ": zeros(up=(8, 2), down=(3, 4)),
    "numbers for matrices": zeros(up=(), down=()),
    "a row for a matrix": zeros(up=(8,), down=(4,)),
    "a huge product": zeros(up=(HUGE, 1), down=(1, HUGE)),
    "a huge Kronecker product": zeros(lokr_w1=(HUGE, 1), lokr_w2=(1, HUGE)),
    "a core of the wrong rank": zeros(up=(8, 2), down=(2, 4), mid=(3, 3, 1, 1)),
    "blocks of another size": zeros(oft_blocks=(3, 3, 3)),
    "blocks that are not square": zeros(oft_blocks=(2, 4, 3)),
    "blocks of nothing": zeros(oft_blocks=(2, 0, 0)),
    "stages of nothing": zeros(oft_blocks=(HUGE, 0, 0, 0)),
    "a difference of another shape": zeros(diff=(8, 5)),
    "a bias too long": zeros(diff_b=(9,)),
    "magnitudes of another length": zeros(up=(8, 2), down=(2, 4), dora_scale=(1, 5)),
    "magnitudes both ways": zeros(up=(8, 2), down=(2, 4), dora_scale=(8, 4)),
    "scales of another length": zeros(ia3=(5,)),
}


@pytest.mark.parametrize("parts", MISFITS.values(), ids=MISFITS)
def test_a_wrong_shape_is_a_misfit_and_costs_no_memory(parts: Mapping[str, Tensor]) -> None:
    change = change_of(parts)
    with pytest.raises(Misfit):
        check(change, torch.Size((8, 4)), torch.Size((8,)))


def test_a_module_without_a_bias_takes_none() -> None:
    with pytest.raises(Misfit):
        check(change_of({"diff_b": torch.ones(8)}), torch.Size((8, 4)), None)


SPARSE = {
    "bias_indices": torch.tensor([[0], [0]]),
    "bias_values": torch.tensor([1.0]),
    "bias_size": torch.tensor([8, 4]),
}


@pytest.mark.parametrize(
    "changed",
    (
        {"bias_indices": torch.tensor([[8], [0]])},
        {"bias_indices": torch.tensor([[0], [-1]])},
        {"bias_values": torch.tensor([1.0, 2.0])},
        {"bias_size": torch.tensor([8, -4])},
        {"bias_size": torch.tensor([8, math.nan])},
        {"bias_size": torch.ones(10**6)},
        {"bias_size": torch.tensor([HUGE, HUGE])},
    ),
    ids=lambda changed: "-".join(changed),
)
def test_a_damaged_sparse_part_is_a_misfit(changed: Mapping[str, Tensor]) -> None:
    lora = {"up": torch.ones(8, 2), "down": torch.ones(2, 4)}
    with pytest.raises(Misfit):
        check(change_of({**lora, **SPARSE, **changed}), torch.Size((8, 4)), None)


@pytest.mark.parametrize(
    "parts",
    (
        {"up": torch.ones(8, 2)},
        {"alpha": torch.ones(())},
        {"up": torch.ones(8, 2), "down": torch.ones(2, 4), "alpha": torch.ones(3)},
    ),
)
def test_parts_that_make_no_change_are_a_misfit(parts: Mapping[str, Tensor]) -> None:
    with pytest.raises(Misfit):
        change_of(parts)
