"""Networks that come and go: nothing of them is left, and no more is done or kept than needed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from structlog.testing import capture_logs
from torch import Tensor

from models.families import Checkpoint
from models.networks import adapters, fitted
from models.networks.adapters import Adapters
from models.networks.changes import Change
from models.networks.files import NetworkUse

from ..families.variants import load_path
from ..files import CHECKPOINTS
from .test_adapters import KOHYA, LINEAR, TEXT, close, kohya, lora, same, use, weights, written

#: two modules with a bias, one without
NORM = "down_blocks.0.resnets.0.norm1"


#: as its weights may be held: their format, and whether those of convolutions lie channels last
HELD = (
    (torch.float32, False),
    (torch.float32, True),
    (torch.float16, False),
    (torch.float16, True),
    (torch.bfloat16, False),
)


@pytest.fixture(scope="module", params=HELD, ids=str)
def shared(request: pytest.FixtureRequest) -> Checkpoint:
    dtype, channels_last = request.param
    path = CHECKPOINTS / "tiny-sd15.safetensors"
    return load_path(path, dtype, channels_last=channels_last)


@pytest.fixture
def checkpoint(shared: Checkpoint) -> Iterator[Checkpoint]:
    before = weights(shared)
    yield shared
    same(weights(shared), before)


def every_kind(checkpoint: Checkpoint, seed: int) -> dict[str, Tensor]:
    """A network of several kinds, with a bias changed and one that is new."""
    torch.manual_seed(seed)
    width = checkpoint.unet.get_submodule(LINEAR).get_parameter("weight").shape
    other = LINEAR.replace("attn2.to_q", "attn1.to_q").replace(".", "_")
    third = LINEAR.replace("attn2.to_q", "attn1.to_k").replace(".", "_")
    state = kohya(lora(checkpoint, seed))
    state |= {
        f"lora_unet_{other}.hada_w1_a": torch.randn(width[0], 2),
        f"lora_unet_{other}.hada_w1_b": torch.randn(2, 32),
        f"lora_unet_{other}.hada_w2_a": torch.randn(width[0], 2),
        f"lora_unet_{other}.hada_w2_b": torch.randn(2, 32),
        f"lora_unet_{third}.diff": torch.randn(32, 32),
        f"lora_unet_{third}.diff_b": torch.randn(32),
        f"lora_unet_{NORM.replace('.', '_')}.w_norm": torch.randn(32),
        f"lora_unet_{NORM.replace('.', '_')}.b_norm": torch.randn(32),
        f"{KOHYA[TEXT]}.diff_b": torch.randn(16),
    }
    return state


def several(checkpoint: Checkpoint, folder: Path) -> list[NetworkUse]:
    return [
        use(written(folder / f"{seed}.safetensors", every_kind(checkpoint, seed)), 0.7, 0.9)
        for seed in range(3)
    ]


def test_several_sets_in_turn_are_each_as_if_put_on_first(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    a, b, c = several(checkpoint, tmp_path)
    bare, worn = weights(checkpoint), Adapters(checkpoint)
    sets = ((a,), (b,), (a, c), (c, a), (), (b,), (b, b, c), (a,), ())
    for wanted in sets:
        worn.wear(wanted)
        found = weights(checkpoint)
        assert worn.notes == ()
        assert (worn.nbytes > 0) is bool(wanted)
        worn.wear(())
        same(weights(checkpoint), bare)
        alone = Adapters(checkpoint)
        alone.wear(wanted)
        same(weights(checkpoint), found)
        alone.wear(())
        worn.wear(wanted)
        same(weights(checkpoint), found)
    same(weights(checkpoint), bare)


@pytest.mark.parametrize("stop", (KeyboardInterrupt, MemoryError, torch.OutOfMemoryError))
@pytest.mark.parametrize("at", (0, 1, 4))
def test_whatever_stops_it_midway_leaves_the_checkpoint_bare(
    checkpoint: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stop: type[BaseException],
    at: int,
) -> None:
    a, b, c = several(checkpoint, tmp_path)
    bare, worn = weights(checkpoint), Adapters(checkpoint)
    worn.wear((a,))
    left = at
    on = Change.on

    def stopping(change: Change, device: torch.device) -> Change:
        nonlocal left
        if device.type != "meta":
            left -= 1
        if left < 0:
            raise stop
        return on(change, device)

    monkeypatch.setattr(Change, "on", stopping)
    with pytest.raises(stop):
        worn.wear((b, c))
    monkeypatch.undo()
    same(weights(checkpoint), bare)
    worn.wear((a, c))
    found = weights(checkpoint)
    worn.wear(())
    alone = Adapters(checkpoint)
    alone.wear((a, c))
    same(weights(checkpoint), found)
    alone.wear(())


def test_a_restoring_that_was_stopped_is_made_up_for(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, *_ = several(checkpoint, tmp_path)
    worn = Adapters(checkpoint)
    worn.wear((a,))

    def stopping(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(adapters, "put_back", stopping)
    with pytest.raises(KeyboardInterrupt):
        worn.wear(())
    monkeypatch.undo()
    # the fixture looks whether it is bare now
    worn.wear(())


def test_only_what_changes_is_written(checkpoint: Checkpoint, tmp_path: Path) -> None:
    info = written(tmp_path / "a.safetensors", kohya(lora(checkpoint)))
    small = written(tmp_path / "b.safetensors", kohya({LINEAR: lora(checkpoint, 1)[LINEAR]}))
    worn, seen = Adapters(checkpoint), []
    for wanted in (
        (use(info, 1.0, 1.0),),
        (use(info, 0.5, 1.0),),
        (use(info, 0.5, 1.0), use(small)),
        (use(info, 0.5, 1.0),),
        (use(info, 0.5, 0.25),),
        (),
    ):
        with capture_logs() as logs:
            worn.wear(wanted)
        seen.append(logs[-1]["modules"])
    assert seen == [3, 1, 1, 1, 2, 0]


def test_a_text_encoder_s_memory_is_not_written_to(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """Another checkpoint may have the same."""
    module = checkpoint.encoders[0].text_model.get_submodule(TEXT)
    mine, bias = module.get_parameter("weight"), module.get_parameter("bias")
    before = mine.clone(), bias.clone()
    worn = Adapters(checkpoint)
    worn.wear((use(written(tmp_path / "a.safetensors", every_kind(checkpoint, 1))),))
    assert not torch.equal(module.get_parameter("weight"), mine)
    assert not torch.equal(module.get_parameter("bias"), bias)
    assert torch.equal(mine, before[0])
    assert torch.equal(bias, before[1])
    worn.wear(())
    assert module.get_parameter("weight") is mine
    assert module.get_parameter("bias") is bias


def test_networks_of_one_module_are_added_up(checkpoint: Checkpoint, tmp_path: Path) -> None:
    bare, exact = weights(checkpoint), {}
    uses, key = [], f"unet.{LINEAR}.weight"
    exact[key] = bare[key].double()
    for seed in range(20):
        parts = lora(checkpoint, seed)[LINEAR]
        uses.append(use(written(tmp_path / f"{seed}.safetensors", kohya({LINEAR: parts})), 1, 0.1))
        exact[key] += 0.05 * parts["up"].double() @ parts["down"].double()
    worn = Adapters(checkpoint)
    worn.wear(tuple(uses))
    found = weights(checkpoint)[key]
    # rounded once, however many there are
    step = torch.finfo(found.dtype).eps / 2 + 2e-6
    assert (found.double() - exact[key]).abs().max() <= exact[key].abs().max() * step
    worn.wear(())


def test_what_is_held_is_bounded_in_bytes(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    infos = [written(tmp_path / f"{n}.safetensors", kohya(lora(checkpoint, n))) for n in range(4)]
    worn = Adapters(checkpoint)
    worn.wear((use(infos[0], 0, 0),), keep=10)
    one = worn.nbytes
    assert one > 0
    for info in infos:
        worn.wear((use(info, 0, 0),), keep=10)
    assert worn.nbytes == 4 * one
    monkeypatch.setattr(fitted, "MAX_IDLE_BYTES", 2 * one)
    worn.wear((), keep=10)
    assert worn.nbytes == 2 * one
    monkeypatch.setattr(adapters, "MAX_WORN_BYTES", 3 * one)
    with capture_logs():
        worn.wear(tuple(use(info, 0, 0) for info in infos))
    assert len(worn.notes) == 1
    assert worn.notes[0].startswith("lora '3' left out: the networks before it take")
    assert worn.nbytes == 3 * one
    worn.wear((use(infos[0]),) * 200)
    assert not worn.notes
    worn.wear(())
    assert worn.nbytes == 0


def test_the_original_of_what_was_half_takes_half_the_memory(tmp_path: Path) -> None:
    """Weights run in float32 where there is no GPU, and mostly come from half precision."""
    checkpoint = load_path(CHECKPOINTS / "tiny-sd15.safetensors")
    weight = checkpoint.unet.get_submodule(LINEAR).get_parameter("weight")
    weight.copy_(weight.half())
    before = weight.clone()
    worn, parts = Adapters(checkpoint), lora(checkpoint)[LINEAR]
    worn.wear((use(written(tmp_path / "a.safetensors", kohya({LINEAR: parts}))),))
    factors = sum(part.nbytes for part in parts.values())
    assert worn.nbytes == factors + weight.numel() * 2
    close({"w": weight}, {"w": before + 0.5 * parts["up"] @ parts["down"]})
    worn.wear(())
    assert torch.equal(weight, before)
