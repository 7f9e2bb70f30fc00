"""The arithmetic of networks: what each kind adds to a module's weight.

The formulas are those of the papers and trainers: LoRA (arXiv 2106.09685) and its forms for
convolutions, LoHa and LoKr (LyCORIS, 2309.14859), IA3 (2205.05638), GLoRA (2306.07967), OFT
(2306.07280), BOFT (2311.06243), DoRA (2402.09353).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import pad

#: parts that are single numbers
NUMBERS = ("alpha", "scale", "on_input")
#: the input channels that networks know, where the model's first layer has more (inpainting)
LATENT_CHANNELS = 4
#: a part may be larger than this in no dimension, but where the module itself is
MAX_DIMENSION = 4096
_MAX_DIMENSIONS = 8
_SMALL = 1e-8
_BIASES = ("diff_b", "b_norm")
# Parts that have a row for each of the module's outputs, and those that all outputs share.
_BY_OUTPUT = frozenset({"up", "diff", "diff_b", "hada_w1_a", "hada_w2_a", "magnitude"})
_SHARED = frozenset({"down", "hada_w1_b", "hada_w2_b", "alpha", "scale"})

Parts = Mapping[str, Tensor]
Factors = tuple[Tensor, Tensor]


class Misfit(ValueError):
    """A change that cannot be made to this module; the message says why in a few words."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Change:
    """What a network does to one module."""

    kind: "Kind"
    parts: Parts
    numbers: Mapping[str, float]

    def on(self, device: torch.device) -> "Change":
        """The same on a device, in float32."""
        moved = {
            name: part.to(device=device, dtype=torch.float32) for name, part in self.parts.items()
        }
        return replace(self, parts=moved)

    def add_to(self, weight: Tensor, strength: float, dyn_dim: int | None = None) -> None:
        """Add the change to a float32 weight in place; parts as `on` gives them. Raises Misfit."""
        weight.add_(self.of_weight(weight, dyn_dim), alpha=strength)

    def is_product(self, shape: torch.Size) -> bool:
        """Whether all that is added to a weight of this shape is the product of `factors`."""
        if self.kind.factors is None or not self.parts.keys() <= {"up", "down", *_BIASES}:
            return False
        up, down = self.parts["up"].shape, self.parts["down"].shape
        inner = up[1:].numel() == down[0] if up and down else False
        return inner and up[0] == shape[0] and down[1:].numel() == shape[1:].numel()

    def factors(self, dyn_dim: int | None = None) -> Factors:
        """The two matrices, at strength 1, in the dtype of the parts."""
        assert self.kind.factors is not None
        up, down = self.kind.factors(self, dyn_dim)
        return up * self._scale(), down

    def of_weight(self, weight: Tensor, dyn_dim: int | None = None) -> Tensor:
        """What is added to `weight` (float32) at strength 1, in its shape.

        Parts must be on its device, in float32. Raises Misfit.
        """
        delta = _shaped(self.kind.delta(self, weight, dyn_dim), weight.shape)
        if (sparse := self.parts.get("bias")) is not None:
            delta = delta + sparse.to_dense().reshape(weight.shape)
        delta = delta * self._scale()
        if (magnitude := _magnitude(self.parts, weight.shape)) is not None:
            delta = _with_norms(weight + delta, magnitude) - weight
        return delta

    def of_bias(self) -> Tensor | None:
        """What is added to the module's bias at strength 1, if anything."""
        return next((self.parts[name] for name in _BIASES if name in self.parts), None)

    def _scale(self) -> float:
        """`scale`, or alpha over the rank, or 1."""
        if "scale" in self.numbers:
            return self.numbers["scale"]
        rank = self.kind.rank(self.parts) if self.kind.rank is not None else None
        return self.numbers["alpha"] / rank if rank and "alpha" in self.numbers else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of change: the parts it is known by, its formula, and its rank.

    One of the sets in `known_by` must be there. `rank` is None where alpha does not scale;
    `factors` gives the two matrices whose product the formula is, where it is one.
    """

    name: str
    known_by: tuple[frozenset[str], ...]
    delta: Callable[[Change, Tensor, int | None], Tensor]
    rank: Callable[[Parts], int | None] | None = None
    factors: Callable[[Change, int | None], Factors] | None = None


def rows_of(parts: Parts, count: int) -> tuple[Parts, ...]:
    """A change of `count` modules held as one, as a change of each. Raises Misfit."""
    known = parts.keys() & _BY_OUTPUT
    if not known or known | (parts.keys() & _SHARED) != parts.keys():
        raise Misfit(f"{count} modules in one cannot be changed by {', '.join(sorted(parts))}")
    for name in known:
        if not parts[name].dim() or len(parts[name]) % count:
            raise Misfit(f"its {name} {tuple(parts[name].shape)} is not {count} modules high")
    split = {name: parts[name].chunk(count) for name in known}
    return tuple(
        {name: split[name][i] if name in split else part for name, part in parts.items()}
        for i in range(count)
    )


def change_of(parts: Parts) -> Change:
    """Put together what a file holds for one module. Raises Misfit."""
    kind = next(
        (kind for kind in KINDS if any(needed <= parts.keys() for needed in kind.known_by)), None
    )
    if kind is None:
        raise Misfit(f"no known kind of network has just {', '.join(sorted(parts))}")
    rest = {name: part for name, part in parts.items() if not name.startswith("bias_")}
    if "bias_values" in parts:
        rest["bias"] = _sparse(parts)
    numbers: dict[str, float] = {}
    for name in NUMBERS:
        if (part := rest.pop(name, None)) is not None:
            if part.numel() != 1:
                raise Misfit(f"its {name} is not one number")
            numbers[name] = float(part.item())
            if not math.isfinite(numbers[name]):
                raise Misfit(f"its {name} is {numbers[name]}")
    return Change(kind=kind, parts=rest, numbers=numbers)


def check(change: Change, weight: torch.Size, bias: torch.Size | None) -> None:
    """Whether a change can be made to a module of these shapes, without computing it.

    `bias` is None where the module can have none. Raises Misfit.
    """
    for name, part in change.parts.items():
        _check_part(name, part, max(MAX_DIMENSION, weight[0], weight.numel() // weight[0]))
    added = change.of_bias()
    if added is not None and (bias is None or added.shape != bias):
        raise Misfit(f"its bias has the shape {tuple(added.shape)}")
    parts = dict(change.parts)
    if change.is_product(weight):
        return
    if (sparse := parts.pop("bias", None)) is not None and sparse.numel() != weight.numel():
        raise Misfit(f"its sparse part has the shape {tuple(sparse.shape)}")
    meta = torch.device("meta")
    try:
        # On meta tensors the formula costs no time, and a hostile shape no memory.
        replace(change, parts=parts).on(meta).of_weight(torch.empty(weight, device=meta))
    except (RuntimeError, IndexError) as error:
        raise Misfit(f"{_described(parts)} do not go together") from error


def _check_part(name: str, part: Tensor, largest: int) -> None:
    """Refuse what would cost much and change little, or all. Raises Misfit."""
    if not part.numel():
        raise Misfit(f"its {name} {tuple(part.shape)} is empty")
    if max(part.shape, default=1) > largest:
        raise Misfit(f"its {name} {tuple(part.shape)} has more than {largest} in a dimension")
    values = part.coalesce().values() if part.is_sparse else part
    if not values.is_meta and not bool(values.float().isfinite().all()):
        raise Misfit(f"its {name} has infinite numbers, or some that are none")


def _shaped(delta: Tensor, shape: torch.Size) -> Tensor:
    """The delta in a weight's shape. Raises Misfit."""
    if delta.shape[:1] == shape[:1]:
        if delta.numel() == shape.numel():
            return delta.reshape(shape)
        narrow = torch.Size((shape[0], LATENT_CHANNELS, *shape[2:]))
        if len(shape) == 4 and shape[1] > LATENT_CHANNELS and delta.numel() == narrow.numel():
            return pad(delta.reshape(narrow), (0, 0, 0, 0, 0, shape[1] - LATENT_CHANNELS))
    raise Misfit(f"it is made for the shape {tuple(delta.shape)}, the module has {tuple(shape)}")


def _described(parts: Parts) -> str:
    return ", ".join(f"{name} {tuple(part.shape)}" for name, part in parts.items())


def _sparse(parts: Parts) -> Tensor:
    """A weight's few large differences, as extracted LoCons carry them. Raises Misfit."""
    try:
        sizes = parts["bias_size"]
        if sizes.numel() > _MAX_DIMENSIONS:
            raise Misfit(f"its sparse part has {sizes.numel()} dimensions")
        return torch.sparse_coo_tensor(
            parts["bias_indices"].long(),
            parts["bias_values"].float(),
            [int(size) for size in sizes.flatten().tolist()],
            check_invariants=True,
        )
    except (KeyError, RuntimeError, OverflowError, ValueError) as error:
        raise Misfit("its sparse part is damaged") from error


def _magnitude(parts: Parts, shape: torch.Size) -> Tensor | None:
    """DoRA's norms, broadcastable to the weight: per input (LyCORIS) or per output (peft)."""
    if (per_output := parts.get("magnitude")) is not None:
        return per_output.reshape(-1, *[1] * (len(shape) - 1))
    norms = parts.get("dora_scale")
    if norms is None:
        return None
    sizes = list(norms.shape)
    while len(sizes) > len(shape) and sizes[-1] == 1:
        # made for a convolution of one pixel, which is a linear layer here
        sizes.pop()
    return norms.reshape(*sizes, *[1] * (len(shape) - len(sizes)))


def _with_norms(weight: Tensor, norms: Tensor) -> Tensor:
    """The weight with the norms of its columns (or rows) replaced. Raises Misfit."""
    kept = [axis for axis, size in enumerate(norms.shape) if size != 1]
    if norms.dim() != weight.dim() or any(norms.shape[i] != weight.shape[i] for i in kept):
        raise Misfit(f"its magnitudes have the shape {tuple(norms.shape)}")
    rest = [axis for axis in range(weight.dim()) if axis not in kept]
    if len(kept) > 1 or not rest:
        raise Misfit(f"its magnitudes have the shape {tuple(norms.shape)}")
    old: Tensor = torch.linalg.vector_norm(weight, dim=rest, keepdim=True)
    return weight * (norms / old.clamp_min(torch.finfo(old.dtype).tiny))


def _product(a: Tensor, b: Tensor, core: Tensor | None) -> Tensor:
    """Two factors multiplied, through a Tucker core [i, j, ...] where there is one."""
    if core is None:
        return a.flatten(1) @ b.flatten(1)
    return torch.einsum("ij...,ip,jr->pr...", core, a, b)


def _lora(change: Change, _weight: Tensor, dyn_dim: int | None) -> Tensor:
    up, down = _lora_factors(change, None if "mid" in change.parts else dyn_dim)
    if "mid" in change.parts:
        return torch.einsum("nm...,in,mj->ij...", change.parts["mid"], up, down)
    return up @ down


def _lora_factors(change: Change, dyn_dim: int | None) -> Factors:
    up, down = change.parts["up"].flatten(1), change.parts["down"].flatten(1)
    return up[:, :dyn_dim], down[:dyn_dim]


def _loha(change: Change, _weight: Tensor, _dyn_dim: int | None) -> Tensor:
    parts = change.parts
    first = _product(parts["hada_w1_a"], parts["hada_w1_b"], parts.get("hada_t1"))
    second = _product(parts["hada_w2_a"], parts["hada_w2_b"], parts.get("hada_t2"))
    return first.flatten(1) * second.flatten(1)


def _lokr(change: Change, _weight: Tensor, _dyn_dim: int | None) -> Tensor:
    parts = change.parts
    first, second = parts.get("lokr_w1"), parts.get("lokr_w2")
    if first is None:
        first = _product(parts["lokr_w1_a"], parts["lokr_w1_b"], None)
    if second is None:
        second = _product(parts["lokr_w2_a"], parts["lokr_w2_b"], parts.get("lokr_t2"))
    first = first.reshape(*first.shape, *[1] * (second.dim() - first.dim()))
    return torch.kron(first, second.contiguous())


def _lokr_rank(parts: Parts) -> int | None:
    factor = parts.get("lokr_w2_b", parts.get("lokr_w1_b"))
    return None if factor is None else factor.shape[0]


def _ia3(change: Change, weight: Tensor, _dyn_dim: int | None) -> Tensor:
    sizes = [1] * weight.dim()
    sizes[1 if change.numbers.get("on_input") else 0] = -1
    return weight * change.parts["ia3"].reshape(sizes)


def _full(change: Change, weight: Tensor, _dyn_dim: int | None) -> Tensor:
    return change.parts.get("diff", torch.zeros_like(weight))


def _norm(change: Change, weight: Tensor, _dyn_dim: int | None) -> Tensor:
    return change.parts.get("w_norm", torch.zeros_like(weight))


def _glora(change: Change, weight: Tensor, _dyn_dim: int | None) -> Tensor:
    a1, a2, b1, b2 = (change.parts[name].flatten(1) for name in ("a1", "a2", "b1", "b2"))
    # The first files, and the reference, count the factors from the right.
    if (b2.shape[0], b1.shape[1]) == weight.flatten(1).shape:
        a1, a2, b1, b2 = a2, a1, b2, b1
    gated = torch.einsum("oi...,ir,rj->oj...", weight, a1, a2)
    return b1 @ b2 + gated.flatten(1)


def _oft(change: Change, weight: Tensor, _dyn_dim: int | None) -> Tensor:
    rows = weight.flatten(1)
    if "oft_diag" in change.parts:
        rotations = change.parts["oft_diag"]
    else:
        rotations = _rotations(change.parts["oft_blocks"], change, len(rows))
    if rotations.dim() == 4:
        turned = _butterfly(rotations, rows)
    else:
        turned = (rotations.mT @ rows.reshape(*rotations.shape[:2], -1)).flatten(0, 1)
    if "rescale" in change.parts:
        turned = turned * change.parts["rescale"].reshape(-1, 1)
    return turned - rows


def _rotations(blocks: Tensor, change: Change, width: int) -> Tensor:
    """Cayley's orthogonal matrices of square blocks [..., n, n]; alpha limits how far they turn."""
    skew = blocks - blocks.mT
    if alpha := change.numbers.get("alpha"):
        norm = torch.linalg.vector_norm(skew)
        skew = skew * ((norm.clamp(max=alpha * width) + _SMALL) / (norm + _SMALL))
    one = torch.eye(blocks.shape[-1], device=blocks.device)
    inverse: Tensor = torch.linalg.inv_ex(one - skew).inverse
    return (one + skew) @ inverse


def _butterfly(stages: Tensor, rows: Tensor) -> Tensor:
    """Rotate rows by stages [m, blocks, n, n], each of which pairs rows twice as far apart."""
    count, size = stages.shape[1:3]
    # Not `enumerate(stages)`: that splits them at once, and a hostile file has billions of nothing.
    for stage in range(len(stages)):
        half = 2**stage * (size // 2)
        paired = rows.reshape(-1, 2, half, rows.shape[1]).transpose(1, 2)
        turned = stages[stage] @ paired.reshape(count, size, -1)
        rows = turned.reshape(paired.shape).transpose(1, 2).flatten(0, 2)
    return rows


def _set(*names: str) -> frozenset[str]:
    return frozenset(names)


KINDS: tuple[Kind, ...] = (
    Kind(
        name="LoRA",
        known_by=(_set("up", "down"),),
        delta=_lora,
        rank=lambda parts: parts["down"].shape[0],
        factors=_lora_factors,
    ),
    Kind(
        name="LoHa",
        known_by=(_set("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"),),
        delta=_loha,
        rank=lambda parts: parts["hada_w1_b"].shape[0],
    ),
    Kind(name="IA3", known_by=(_set("ia3"),), delta=_ia3),
    Kind(
        name="LoKr",
        known_by=(
            _set("lokr_w1", "lokr_w2"),
            _set("lokr_w1", "lokr_w2_a", "lokr_w2_b"),
            _set("lokr_w1_a", "lokr_w1_b", "lokr_w2"),
            _set("lokr_w1_a", "lokr_w1_b", "lokr_w2_a", "lokr_w2_b"),
        ),
        delta=_lokr,
        rank=_lokr_rank,
    ),
    Kind(name="full", known_by=(_set("diff"), _set("diff_b")), delta=_full),
    Kind(name="norm", known_by=(_set("w_norm"), _set("b_norm")), delta=_norm),
    Kind(
        name="GLoRA",
        known_by=(_set("a1", "a2", "b1", "b2"),),
        delta=_glora,
        rank=lambda parts: min(parts["b1"].flatten(1).shape),
    ),
    Kind(name="OFT", known_by=(_set("oft_blocks"), _set("oft_diag")), delta=_oft),
)
"""In the order they are looked for, should a file mix them."""
