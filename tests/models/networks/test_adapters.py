"""What a checkpoint's weights are with networks on, and that they come back bit by bit."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from structlog.testing import capture_logs
from torch import Tensor

from models.families import Checkpoint
from models.networks import fitted
from models.networks.adapters import Adapters
from models.networks.changes import Change
from models.networks.files import NetworkInfo, NetworkUse
from models.networks.reading import NetworkFile, read_network

from ..families.variants import load_path
from ..files import CHECKPOINTS

LINEAR = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_q"
CONVOLUTION = "down_blocks.0.resnets.0.conv1"
TEXT = "encoder.layers.3.self_attn.q_proj"
KOHYA = {
    LINEAR: "lora_unet_" + LINEAR.replace(".", "_"),
    CONVOLUTION: "lora_unet_" + CONVOLUTION.replace(".", "_"),
    TEXT: "lora_te_text_model_" + TEXT.replace(".", "_"),
}
Weights = dict[str, Tensor]


@pytest.fixture(scope="module")
def shared() -> Checkpoint:
    return load_path(CHECKPOINTS / "tiny-sd15.safetensors")


@pytest.fixture
def checkpoint(shared: Checkpoint) -> Iterator[Checkpoint]:
    """A checkpoint that must be bare again after the test has taken everything off."""
    before = weights(shared)
    yield shared
    same(weights(shared), before)


def weights(checkpoint: Checkpoint) -> Weights:
    found = {f"unet.{name}": part.clone() for name, part in checkpoint.unet.state_dict().items()}
    text = checkpoint.encoders[0].module.state_dict()
    return found | {f"text.{name}": part.clone() for name, part in text.items()}


def same(found: Weights, wanted: Weights) -> None:
    assert found.keys() == wanted.keys()
    assert [name for name in found if not torch.equal(found[name], wanted[name])] == []


def moved(found: Weights, bare: Weights) -> set[str]:
    return {name for name in bare if not torch.equal(found[name], bare[name])}


def lora(checkpoint: Checkpoint, seed: int = 0, rank: int = 2) -> dict[str, Weights]:
    """Two factors for each of the modules above, by the module's name."""
    generator = torch.Generator().manual_seed(seed)
    made: dict[str, Weights] = {}
    for name in KOHYA:
        root = checkpoint.encoders[0].module if name == TEXT else checkpoint.unet
        shape = root.get_submodule(name).get_parameter("weight").shape
        up = torch.randn(shape[0], rank, *[1] * (len(shape) - 2), generator=generator)
        made[name] = {"up": up, "down": torch.randn(rank, *shape[1:], generator=generator)}
    return made


def kohya(parts: Mapping[str, Weights], alpha: float = 1.0) -> Weights:
    state: Weights = {}
    for name, factors in parts.items():
        state[f"{KOHYA[name]}.alpha"] = torch.tensor(alpha)
        for side, factor in factors.items():
            state[f"{KOHYA[name]}.lora_{side}.weight"] = factor
    return state


def written(path: Path, state: Weights) -> NetworkInfo:
    save_file(state, path)
    return NetworkInfo(path=path, name=path.stem, alias=path.stem)


def use(
    info: NetworkInfo, text: float = 1.0, unet: float = 1.0, dyn_dim: int | None = None
) -> NetworkUse:
    return NetworkUse(network=info, text_weight=text, unet_weight=unet, dyn_dim=dyn_dim)


def plus(bare: Weights, *parts: tuple[Mapping[str, Weights], float]) -> Weights:
    """The weights by the definition: W + sum of weight * alpha/rank * up down (alpha 1, rank 2)."""
    wanted = dict(bare)
    for factors, weight in parts:
        for name, each in factors.items():
            key = f"{'text' if name == TEXT else 'unet'}.{name}.weight"
            delta = each["up"].flatten(1) @ each["down"].flatten(1)
            wanted[key] = wanted[key] + weight / 2 * delta.reshape(wanted[key].shape)
    return wanted


def close(found: Weights, wanted: Weights) -> None:
    # most have not changed at all, which is told in a fiftieth of the time
    for name in moved(found, wanted):
        torch.testing.assert_close(found[name], wanted[name], rtol=1e-5, atol=1e-6)


def test_weights_are_the_sum_and_come_back_bit_by_bit(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    bare, parts = weights(checkpoint), lora(checkpoint)
    info = written(tmp_path / "a.safetensors", kohya(parts))
    worn = Adapters(checkpoint)
    worn.wear((use(info, 0.8, 0.8),))
    assert len(moved(weights(checkpoint), bare)) == 3
    close(weights(checkpoint), plus(bare, (parts, 0.8)))
    worn.wear((use(info, -0.5, -0.5),))
    close(weights(checkpoint), plus(bare, (parts, -0.5)))
    worn.wear(())
    same(weights(checkpoint), bare)


def test_networks_add_up_and_one_that_comes_twice_is_put_on_twice(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    bare, one, two = weights(checkpoint), lora(checkpoint, 1), lora(checkpoint, 2)
    first = use(written(tmp_path / "a.safetensors", kohya(one)), 0.5, 0.5)
    second = use(written(tmp_path / "b.safetensors", kohya(two)), 0.25, 0.25)
    worn = Adapters(checkpoint)
    worn.wear((first, second, first))
    close(weights(checkpoint), plus(bare, (one, 0.5), (two, 0.25), (one, 0.5)))
    worn.wear((second, first))
    close(weights(checkpoint), plus(bare, (one, 0.5), (two, 0.25)))
    worn.wear((second,))
    close(weights(checkpoint), plus(bare, (two, 0.25)))
    worn.wear(())


def test_each_side_has_its_own_weight_and_zero_leaves_it_alone(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    bare, parts = weights(checkpoint), lora(checkpoint)
    info = written(tmp_path / "a.safetensors", kohya(parts))
    worn = Adapters(checkpoint)
    worn.wear((use(info, text=0.0, unet=0.9),))
    assert {name.partition(".")[0] for name in moved(weights(checkpoint), bare)} == {"unet"}
    worn.wear((use(info, text=0.9, unet=0.0),))
    assert {name.partition(".")[0] for name in moved(weights(checkpoint), bare)} == {"text"}
    worn.wear((use(info, text=0.0, unet=0.0),))
    same(weights(checkpoint), bare)
    worn.wear((use(info, dyn_dim=1),))
    cut = {
        name: {"up": each["up"][:, :1], "down": each["down"][:1]} for name, each in parts.items()
    }
    close(weights(checkpoint), plus(bare, (cut, 1.0)))
    worn.wear(())


def test_the_same_network_in_other_spellings_gives_the_same_weights(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    parts = lora(checkpoint)
    half = {"up": "lora_B.weight", "down": "lora_A.weight"}
    peft: Weights = {}
    old: Weights = {}
    for name, factors in parts.items():
        owner = f"text_encoder.text_model.{name}" if name == TEXT else f"unet.{name}"
        for side, factor in factors.items():
            peft[f"{owner}.{half[side]}"] = factor
            old[f"{owner}.lora.{side}.weight"] = factor
    attention = LINEAR.replace(".to_q", ".processor.to_q_lora")
    for side in ("up", "down"):
        old[f"unet.{attention}.{side}.weight"] = old.pop(f"unet.{LINEAR}.lora.{side}.weight")
    ldm = {
        "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_q": LINEAR,
        "lora_unet_input_blocks_1_0_in_layers_2": CONVOLUTION,
        "lora_te1_text_model_encoder_layers_3_self_attn_q_proj": TEXT,
    }
    compvis = {
        f"{spelling}.lora_{side}.weight": factor
        for spelling, name in ldm.items()
        for side, factor in parts[name].items()
    }
    worn = Adapters(checkpoint)
    seen: list[Weights] = []
    for spelling, state in {
        "kohya": kohya(parts, alpha=2.0), "peft": peft, "old": old, "ldm": compvis,
    }.items():  # fmt: skip
        with capture_logs() as logs:
            worn.wear((use(written(tmp_path / f"{spelling}.safetensors", state)),))
        assert [entry["event"] for entry in logs] == ["networks put on"]
        seen.append(weights(checkpoint))
    worn.wear(())
    for other in seen[1:]:
        same(other, seen[0])


def test_biases_are_changed_made_and_taken_away(checkpoint: Checkpoint, tmp_path: Path) -> None:
    norm = "down_blocks.0.resnets.0.norm1"
    state = {
        f"lora_unet_{norm.replace('.', '_')}.w_norm": torch.full((32,), 0.5),
        f"lora_unet_{norm.replace('.', '_')}.b_norm": torch.full((32,), 0.25),
        f"{KOHYA[LINEAR]}.diff_b": torch.arange(32.0),
    }
    bare, worn = weights(checkpoint), Adapters(checkpoint)
    attention = checkpoint.unet.get_submodule(LINEAR)
    assert attention.bias is None
    info = written(tmp_path / "a.safetensors", state)
    for unet in (2.0, 0.5):
        worn.wear((use(info, unet=unet),))
        found = weights(checkpoint)
        assert torch.equal(attention.get_parameter("bias"), unet * torch.arange(32.0))
        for leaf, added in (("weight", 0.5), ("bias", 0.25)):
            wanted = bare[f"unet.{norm}.{leaf}"] + unet * added
            torch.testing.assert_close(found[f"unet.{norm}.{leaf}"], wanted)
    worn.wear(())
    assert attention.bias is None


def test_nothing_is_done_where_nothing_changed_and_a_new_file_is_read(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    bare, one, two = weights(checkpoint), lora(checkpoint, 1), lora(checkpoint, 2)
    path = tmp_path / "a.safetensors"
    info = written(path, kohya(one))
    worn = Adapters(checkpoint)
    for _ in range(2):
        with capture_logs() as logs:
            worn.wear((use(info),))
    assert logs == []
    written(path, kohya(two))
    os.utime(path, ns=(1, 1))
    worn.wear((use(info),))
    close(weights(checkpoint), plus(bare, (two, 1.0)))
    path.unlink()
    with capture_logs() as logs:
        worn.wear((use(info),))
    assert [entry["event"] for entry in logs] == ["network left out", "networks put on"]
    same(weights(checkpoint), bare)


def test_files_stay_in_memory_while_worn_and_as_many_more_as_allowed(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    infos = [written(tmp_path / f"{n}.safetensors", kohya(lora(checkpoint, n))) for n in range(3)]
    read: list[str] = []

    def counted(path: Path, **options: Any) -> NetworkFile:
        read.append(path.stem)
        return read_network(path, **options)

    monkeypatch.setattr(fitted, "read_network", counted)
    worn = Adapters(checkpoint)
    worn.wear((use(infos[0], 0.1), use(infos[0], 0.2), use(infos[1])))
    worn.wear((use(infos[0], 0.3), use(infos[1])))
    assert read == ["0", "1"]
    worn.wear((use(infos[1]),))
    worn.wear((use(infos[0]),), keep=1)
    worn.wear((use(infos[2]),), keep=1)
    assert read == ["0", "1", "0", "2"]
    worn.wear((use(infos[0]),), keep=1)
    worn.wear((use(infos[1]),), keep=1)
    assert read == ["0", "1", "0", "2", "1"]
    worn.wear(())


def test_what_does_not_fit_is_left_out_and_named_once(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    bare, parts = weights(checkpoint), lora(checkpoint)
    state = kohya({LINEAR: parts[LINEAR]})
    state[f"{KOHYA[TEXT]}.lora_up.weight"] = torch.ones(768, 2)
    state[f"{KOHYA[TEXT]}.lora_down.weight"] = torch.ones(2, 768)
    state["lora_te2_text_model_encoder_layers_31_mlp_fc1.alpha"] = torch.tensor(1.0)
    state["lora_unet_input_blocks_8_1_transformer_blocks_9_attn1_to_q.alpha"] = torch.tensor(1.0)
    state["something"] = torch.tensor(1.0)
    worn = Adapters(checkpoint)
    info = written(tmp_path / "a.safetensors", state)
    with capture_logs() as logs:
        worn.wear((use(info),))
        worn.wear((use(info, 0.5, 0.5),))
    warnings = [entry for entry in logs if entry["log_level"] == "warning"]
    assert len(warnings) == 1
    assert warnings[0]["event"] == "network fits only in part"
    assert (warnings[0]["modules_changed"], warnings[0]["modules_left_out"]) == (1, 3)
    assert warnings[0]["unknown_keys"] == 1
    close(weights(checkpoint), plus(bare, ({LINEAR: parts[LINEAR]}, 0.5)))
    worn.wear(())
    other = written(tmp_path / "b.safetensors", {"lora_te2_x.alpha": torch.ones(1)})
    with capture_logs() as logs:
        worn.wear((use(other),))
    assert logs[0]["event"] == "network does not fit"
    same(weights(checkpoint), bare)


def test_a_failure_midway_leaves_the_checkpoint_bare(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare, one, two = weights(checkpoint), lora(checkpoint, 1), lora(checkpoint, 2)
    first = use(written(tmp_path / "a.safetensors", kohya(one)))
    second = use(written(tmp_path / "b.safetensors", kohya(two)))
    worn = Adapters(checkpoint)
    worn.wear((first,))
    left = 2
    original = Change.on

    def failing(change: Change, device: torch.device) -> Change:
        nonlocal left
        if device.type != "meta":
            left -= 1
        if left < 0:
            raise torch.OutOfMemoryError("out of memory")
        return original(change, device)

    monkeypatch.setattr(Change, "on", failing)
    with pytest.raises(torch.OutOfMemoryError):
        worn.wear((first, second))
    monkeypatch.undo()
    same(weights(checkpoint), bare)
    worn.wear((first,))
    close(weights(checkpoint), plus(bare, (one, 1.0)))
    worn.wear(())


def test_half_precision_is_rounded_once_and_comes_back(tmp_path: Path) -> None:
    checkpoint = load_path(CHECKPOINTS / "tiny-sd15.safetensors", torch.float16)
    bare, parts = weights(checkpoint), lora(checkpoint)
    info = written(tmp_path / "a.safetensors", kohya(parts))
    worn = Adapters(checkpoint)
    worn.wear((use(info, 0.3, 0.3),) * 3)
    key = f"unet.{LINEAR}.weight"
    found = weights(checkpoint)[key]
    assert found.dtype is torch.float16
    exact = bare[key].float() + 0.45 * parts[LINEAR]["up"] @ parts[LINEAR]["down"]
    assert (found.float() - exact).abs().max() <= exact.abs().max() * 2**-11
    worn.wear(())
    same(weights(checkpoint), bare)


def test_weights_stay_where_they_are(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """What holds on to a parameter (a captured graph) sees the change."""
    weight = checkpoint.unet.get_submodule(LINEAR).weight
    place = weight.data_ptr()
    worn = Adapters(checkpoint)
    worn.wear((use(written(tmp_path / "a.safetensors", kohya(lora(checkpoint)))),))
    assert checkpoint.unet.get_submodule(LINEAR).weight is weight
    worn.wear(())
    assert weight.data_ptr() == place


def test_embeddings_inside_are_those_of_the_networks_worn(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    one, two = torch.randn(2, 16), torch.randn(1, 16)
    first = written(tmp_path / "a.safetensors", {"bundle_emb.cat.string_to_param.*": one})
    second = written(
        tmp_path / "b.safetensors",
        {"bundle_emb.cat.string_to_param.*": two, "bundle_emb.dog.string_to_param.*": two.clone()},
    )
    worn = Adapters(checkpoint)
    assert dict(worn.embeddings) == {}
    worn.wear((use(first), use(second)))
    assert worn.embeddings.keys() == {"cat", "dog"}
    assert torch.equal(worn.embeddings["cat"][0], one)
    worn.wear((use(second),))
    assert torch.equal(worn.embeddings["cat"][0], two)
    worn.wear(())
    assert dict(worn.embeddings) == {}
