"""What a choice puts on a loaded checkpoint, and that the next choice finds it bare."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from models.choice import ModelChoice
from models.embeddings.shelf import EmbeddingShelf
from models.errors import CheckpointError
from models.families import Checkpoint
from models.families.vae_swap import load_vae
from models.fitting import Fitting
from models.networks.files import NetworkInfo, NetworkUse
from models.vae_files import VaeInfo

from .families.variants import load_path
from .files import CHECKPOINTS, REFERENCE

WIDTH = 16
X = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(2))
CONTEXT = torch.randn((1, 77, WIDTH), generator=torch.Generator().manual_seed(3))
LAYER = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_q"


@pytest.fixture(scope="module")
def bare() -> Checkpoint:
    return load_path(CHECKPOINTS / "tiny-sd15.safetensors")


@pytest.fixture
def fitted(bare: Checkpoint) -> Iterator[Fitting]:
    """A checkpoint that must be as it was once a bare choice is put on it."""
    before = drawn(bare), pictured(bare)
    made = fitter(bare)
    yield made
    after = made.fit(bare_choice(bare))
    assert torch.equal(drawn(after), before[0])
    assert torch.equal(pictured(after), before[1])


def fitter(bare: Checkpoint, *folders: Path, **more: Any) -> Fitting:
    flags = {"vae_dtype": torch.float32, "allow_pickle": False, **more}
    return Fitting(bare, EmbeddingShelf(folders), **flags)


def bare_choice(bare: Checkpoint) -> ModelChoice:
    return ModelChoice(checkpoint=bare.info)


@torch.inference_mode()
def drawn(checkpoint: Checkpoint) -> Tensor:
    """The UNet's answer to something."""
    return checkpoint.predict(X, torch.tensor([400.0]), CONTEXT)


@torch.inference_mode()
def pictured(checkpoint: Checkpoint) -> Tensor:
    """The autoencoder's."""
    return checkpoint.decode(X)


def vae_file(folder: Path, name: str = "v.safetensors", factor: float = 0.5) -> VaeInfo:
    """The checkpoint's own autoencoder, weaker in its last layer."""
    whole = load_file(CHECKPOINTS / "tiny-sd15.safetensors")
    prefix = "first_stage_model."
    state = {
        key.removeprefix(prefix): part for key, part in whole.items() if key.startswith(prefix)
    }
    for part in ("weight", "bias"):
        state[f"decoder.conv_out.{part}"] = state[f"decoder.conv_out.{part}"] * factor
    save_file(state, folder / name)
    return VaeInfo(path=folder / name, name=name)


def network(folder: Path, bare: Checkpoint, more: Mapping[str, Tensor] | None = None) -> NetworkUse:
    """A network that changes one layer, and brings what is given beside."""
    shape = bare.unet.get_submodule(LAYER).get_parameter("weight").shape
    key = "lora_unet_" + LAYER.replace(".", "_")
    state = {
        f"{key}.lora_up.weight": torch.ones(shape[0], 1),
        f"{key}.lora_down.weight": torch.ones(1, shape[1]),
        f"{key}.alpha": torch.tensor(1.0),
        **(more or {}),
    }
    path = folder / "n.safetensors"
    save_file(state, path)
    return NetworkUse(network=NetworkInfo(path=path, name="n", alias="n"))


def test_a_bare_choice_lends_the_checkpoint_s_own_modules(
    bare: Checkpoint, fitted: Fitting
) -> None:
    lent = fitted.fit(bare_choice(bare))
    assert lent.unet is bare.unet
    assert lent.vae is bare.vae
    assert lent.encoders[0].module is bare.encoders[0].module
    assert lent.info == bare.info
    assert fitted.bare is bare


def test_another_autoencoder_draws_the_pictures(
    bare: Checkpoint, fitted: Fitting, tmp_path: Path
) -> None:
    own = pictured(bare)
    lent = fitted.fit(replace(bare_choice(bare), vae=vae_file(tmp_path)))
    torch.testing.assert_close(pictured(lent), own * 0.5, atol=1e-5, rtol=1e-4)
    assert torch.equal(drawn(lent), drawn(bare))
    # the checkpoint's own is back as soon as it is wanted
    assert torch.equal(pictured(fitted.fit(bare_choice(bare))), own)


def test_the_autoencoder_used_last_stays_loaded(
    bare: Checkpoint, fitted: Fitting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[str] = []

    def counted(info: VaeInfo, **more: Any) -> Any:
        loads.append(info.name)
        return load_vae(info, **more)

    monkeypatch.setattr("models.fitting.load_vae", counted)
    one, other = vae_file(tmp_path, "one.safetensors"), vae_file(tmp_path, "other.safetensors", 2.0)
    hashed = replace(one, sha256="f" * 64)
    for vae in (one, None, one, hashed, other, other, None, one):
        fitted.fit(replace(bare_choice(bare), vae=vae))
    assert loads == ["one.safetensors", "other.safetensors", "one.safetensors"]


def test_networks_are_put_on_and_come_off(
    bare: Checkpoint, fitted: Fitting, tmp_path: Path
) -> None:
    own, weight = drawn(bare), bare.unet.get_submodule(LAYER).get_parameter("weight").clone()
    use = network(tmp_path, bare)
    for strength in (1.0, -0.25):
        worn = fitted.fit(
            replace(bare_choice(bare), networks=(replace(use, unet_weight=strength),))
        )
        found = worn.unet.get_submodule(LAYER).get_parameter("weight")
        torch.testing.assert_close(found, weight + strength)
        assert float((drawn(worn) - own).abs().max()) > 1e-4
    assert torch.equal(drawn(fitted.fit(bare_choice(bare))), own)


def convolutions(*modules: nn.Module) -> set[str]:
    return {
        layer.padding_mode
        for module in modules
        for layer in module.modules()
        if isinstance(layer, nn.Conv2d)
    }


def test_tiling_reaches_the_unet_and_the_autoencoder(bare: Checkpoint, fitted: Fitting) -> None:
    tiled = fitted.fit(replace(bare_choice(bare), tiling=True))
    assert convolutions(tiled.unet, tiled.vae) == {"circular"}
    plain = fitted.fit(bare_choice(bare))
    assert convolutions(plain.unet, plain.vae) == {"zeros"}


def test_tiling_follows_the_autoencoder_in_use(
    bare: Checkpoint, fitted: Fitting, tmp_path: Path
) -> None:
    """One that was put away while it tiled does not tile when it comes back."""
    vae = vae_file(tmp_path)
    tiled = fitted.fit(replace(bare_choice(bare), vae=vae, tiling=True))
    assert convolutions(tiled.vae) == {"circular"}
    own = fitted.fit(bare_choice(bare))
    assert convolutions(own.unet, own.vae) == {"zeros"}
    plain = fitted.fit(replace(bare_choice(bare), vae=vae))
    assert convolutions(plain.vae) == {"zeros"}
    own = fitted.fit(replace(bare_choice(bare), tiling=True))
    assert convolutions(own.unet, own.vae) == {"circular"}


def test_merged_tokens_change_the_picture_and_no_weight(bare: Checkpoint, fitted: Fitting) -> None:
    own = drawn(bare)
    merged = fitted.fit(replace(bare_choice(bare), token_merging=0.5))
    assert float((drawn(merged) - own).abs().max()) > 1e-5
    assert torch.equal(drawn(fitted.fit(bare_choice(bare))), own)


def test_prompts_may_use_the_folder_s_embeddings(bare: Checkpoint) -> None:
    made = fitter(bare, REFERENCE / "embeddings", allow_pickle=True)
    table = made.fit(bare_choice(bare)).traits.embeddings
    assert table is not None
    assert [each.name for each in table.loaded] == ["tinyemb", "tinypt"]
    found = table.find(bare.traits.tokenizer.encode("tinyemb"), 0)
    assert found is not None
    assert found[0].name == "tinyemb"
    assert found[0].widths == (WIDTH,)
    # the same table comes back while nothing changes
    assert made.fit(bare_choice(bare)).traits.embeddings is table


def test_embeddings_that_came_after_loading_are_found(bare: Checkpoint, tmp_path: Path) -> None:
    made = fitter(bare, tmp_path)
    before = made.fit(bare_choice(bare)).traits.embeddings
    assert before is not None
    assert before.loaded == ()
    save_file({"emb_params": torch.ones(2, WIDTH)}, tmp_path / "late.safetensors")
    save_file({"emb_params": torch.ones(2, WIDTH + 1)}, tmp_path / "wide.safetensors")
    after = made.fit(bare_choice(bare)).traits.embeddings
    assert after is not None
    assert [each.name for each in after.loaded] == ["late"]
    assert [each.name for each in after.skipped] == ["wide"]


def test_a_network_s_own_embeddings_are_there_while_it_is_worn(
    bare: Checkpoint, fitted: Fitting, tmp_path: Path
) -> None:
    vectors = torch.full((2, WIDTH), 0.25)
    use = network(tmp_path, bare, {"bundle_emb.mine.string_to_param.*": vectors})
    table = fitted.fit(replace(bare_choice(bare), networks=(use,))).traits.embeddings
    assert table is not None
    (mine,) = table.loaded
    assert mine.name == "mine"
    assert mine.short_hash is None
    assert torch.equal(mine.tensors[0], vectors)
    without = fitted.fit(bare_choice(bare)).traits.embeddings
    assert without is not None
    assert without.loaded == ()


def test_a_file_that_cannot_be_read_leaves_the_next_choice_its_own(
    bare: Checkpoint, fitted: Fitting, tmp_path: Path
) -> None:
    own = pictured(bare)
    vae = vae_file(tmp_path)
    fitted.fit(replace(bare_choice(bare), vae=vae))
    bad = VaeInfo(path=tmp_path / "bad.safetensors", name="bad.safetensors")
    bad.path.write_bytes(b"no safetensors at all")
    for broken in (bad, replace(bad, path=tmp_path / "gone.safetensors")):
        with pytest.raises(CheckpointError):
            fitted.fit(replace(bare_choice(bare), vae=broken, networks=(network(tmp_path, bare),)))
    assert torch.equal(pictured(fitted.fit(bare_choice(bare))), own)
    again = fitted.fit(replace(bare_choice(bare), vae=vae))
    torch.testing.assert_close(pictured(again), own * 0.5, atol=1e-5, rtol=1e-4)
