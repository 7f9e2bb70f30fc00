"""Network files made to do harm: each costs little, is named, and leaves the others at work."""

import math
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from structlog.testing import capture_logs
from torch import Tensor

from models.families import Checkpoint
from models.networks.adapters import Adapters
from models.networks.files import NetworkUse

from ..families.variants import load_path
from ..files import CHECKPOINTS, raw_safetensors, tensor
from .test_adapters import KOHYA, LINEAR, close, kohya, lora, plus, same, use, weights, written

KEY = KOHYA[LINEAR]
#: generous: what is refused takes milliseconds
PATIENCE_S = 20.0


@pytest.fixture(scope="module")
def shared() -> Checkpoint:
    return load_path(CHECKPOINTS / "tiny-sd15.safetensors")


@pytest.fixture
def checkpoint(shared: Checkpoint) -> Iterator[Checkpoint]:
    before = weights(shared)
    yield shared
    same(weights(shared), before)


def pair(up: Tensor, down: Tensor, **more: Tensor) -> dict[str, Tensor]:
    parts = {f"{KEY}.lora_up.weight": up, f"{KEY}.lora_down.weight": down}
    return parts | {f"{KEY}.{name}": part for name, part in more.items()}


ONE, HUGE = torch.ones(1), 100_000
UP, DOWN = torch.ones(32, 2), torch.ones(2, 32)
HOSTILE = {
    "a rank of 100000": (
        pair(torch.ones(32, HUGE), torch.ones(HUGE, 32)),
        "its down (100000, 32) has more than 4096 in a dimension",
    ),
    "a rank of nothing": (pair(torch.ones(32, 0), torch.ones(0, 32)), "its down (0, 32) is empty"),
    "no inputs": (pair(UP, torch.ones(2, 0)), "its down (2, 0) is empty"),
    "no dimensions": (pair(torch.ones(()), torch.ones(())), "down (), up () do not go together"),
    "an alpha that is no number": (pair(UP, DOWN, alpha=ONE * math.nan), "its alpha is nan"),
    "an alpha without end": (pair(UP, DOWN, alpha=ONE * math.inf), "its alpha is inf"),
    "a scale that is no number": (pair(UP, DOWN, scale=ONE * math.nan), "its scale is nan"),
    "many alphas": (pair(UP, DOWN, alpha=torch.ones(9)), "its alpha is not one number"),
    "no alpha in its place": (pair(UP, DOWN, alpha=torch.ones(0)), "its alpha is not one number"),
    "weights that are no numbers": (pair(UP * math.nan, DOWN), "its up has infinite numbers"),
    "half precision that overflowed": (
        pair(UP, (DOWN * 1e9).half()), "its down has infinite numbers, or some that are none",
    ),
    "a huge Kronecker product": (
        {f"{KEY}.lokr_w1": torch.ones(4000, 1), f"{KEY}.lokr_w2": torch.ones(1, 4000)},
        "it is made for the shape (4000, 4000)",
    ),
    "gates with a wide middle": (
        {
            f"{KEY}.a1.weight": torch.ones(16, HUGE), f"{KEY}.a2.weight": torch.ones(HUGE, 16),
            f"{KEY}.b1.weight": torch.ones(32, 2), f"{KEY}.b2.weight": torch.ones(2, 16),
        },
        "in a dimension",
    ),
    "many stages of rotations": (
        {f"{KEY}.oft_blocks": torch.ones(4000, 16, 2, 2)}, "oft_blocks (4000, 16, 2, 2)",
    ),
    "a sparse part without end": (
        pair(
            UP, DOWN, bias_indices=torch.zeros(2, 1), bias_values=ONE,
            bias_size=torch.tensor([2**40, 2**40]),
        ),
        "its sparse part is damaged",
    ),
    "sparse numbers that are none": (
        pair(
            UP, DOWN, bias_indices=torch.zeros(2, 1), bias_values=ONE * math.nan,
            bias_size=torch.tensor([32, 16]),
        ),
        "its bias has infinite numbers",
    ),
}  # fmt: skip


def resident() -> int:
    """The bytes of memory that this process has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


@pytest.mark.parametrize(("state", "reason"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_change_is_left_out_and_named(
    checkpoint: Checkpoint, tmp_path: Path, state: dict[str, Tensor], reason: str
) -> None:
    other = LINEAR.replace("to_q", "to_k")
    sound = {"up": torch.ones(32, 2), "down": torch.ones(2, 16)}
    state = state | {
        f"lora_unet_{other.replace('.', '_')}.lora_{side}.weight": part
        for side, part in sound.items()
    }
    worn, bare = Adapters(checkpoint), weights(checkpoint)
    wanted = written(tmp_path / "evil.safetensors", state)
    before = resident()
    started = time.perf_counter()
    with capture_logs() as logs:
        worn.wear((use(wanted),))
    assert time.perf_counter() - started < PATIENCE_S
    assert resident() - before < 512 << 20
    assert logs[0]["event"] == "network fits only in part"
    (note,) = worn.notes
    assert note.startswith("lora 'evil': 1 of its 2 modules do not fit this ")
    assert reason in note
    name = f"unet.{other}.weight"
    found = weights(checkpoint)
    assert torch.equal(found[name], bare[name] + 2)
    same(found | {name: bare[name]}, bare)
    worn.wear(())


def test_files_that_are_none_leave_the_others_at_work(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    sound = use(written(tmp_path / "sound.safetensors", kohya(lora(checkpoint))))
    bare, parts = weights(checkpoint), lora(checkpoint)
    contents = {
        "empty": b"",
        "long": (2**63).to_bytes(8, "little") + b"{}",
        "pickle": b"PK\x03\x04" + bytes(100),
        "overflow": raw_safetensors({"a.alpha": tensor("F32", [2**62, 4], 0, 0)}),
        "overlap": raw_safetensors(
            {"a.alpha": tensor("F32", [2], 0, 8), "b.alpha": tensor("F32", [2], 4, 12)}, bytes(12)
        ),
        "short": raw_safetensors({"a.alpha": tensor("F32", [2], 0, 8)}, bytes(4)),
    }
    evil: list[NetworkUse] = []
    for name, content in contents.items():
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(content)
        evil.append(use(sound.network.__class__(path=path, name=name, alias=name)))
    worn = Adapters(checkpoint)
    with capture_logs() as logs:
        worn.wear((*evil, sound))
    assert [entry["event"] for entry in logs[:-1]] == ["network left out"] * len(contents)
    assert len(worn.notes) == len(contents)
    for note, name in zip(worn.notes, contents, strict=True):
        assert note.startswith(f"lora {name!r} left out: ")
    close(weights(checkpoint), plus(bare, (parts, 1.0)))
    worn.wear(())


def test_a_network_a_thousand_times_over_is_one_product(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    """The prompt's parser takes 256 at most; this many cost little more."""
    bare, parts = weights(checkpoint), lora(checkpoint)
    wanted = use(written(tmp_path / "a.safetensors", kohya(parts)), 0.001, 0.001)
    worn = Adapters(checkpoint)
    started = time.perf_counter()
    worn.wear((wanted,) * 1000)
    assert time.perf_counter() - started < PATIENCE_S
    for name, found in weights(checkpoint).items():
        wanted_weights = plus(bare, (parts, 1.0))[name]
        torch.testing.assert_close(found, wanted_weights, rtol=1e-4, atol=1e-5)
    worn.wear(())


def test_a_file_of_many_keys_is_read_in_no_time(checkpoint: Checkpoint, tmp_path: Path) -> None:
    state = {f"lora_unet_x{n}.alpha": torch.ones(1) for n in range(20_000)}
    state |= {f"bundle_emb.e{n}.clip_l": torch.ones(1) for n in range(2_000)}
    state |= {"." * 490 + ".alphx": torch.ones(1)}
    path = tmp_path / "many.safetensors"
    save_file(state, path)
    worn = Adapters(checkpoint)
    started = time.perf_counter()
    with capture_logs() as logs:
        worn.wear((use(written(path, state)),))
    assert time.perf_counter() - started < PATIENCE_S
    assert logs[0]["event"] == "network does not fit", logs
    assert (logs[0]["modules_left_out"], logs[0]["unknown_keys"]) == (20_000, 2_001)
    assert len(worn.notes[0]) < 200
    worn.wear(())
