"""What stays loaded: by count, by memory, shared where equal, and what a failed load leaves."""

import threading
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file
from structlog.testing import capture_logs

from models import manager as managers
from models.catalog import Catalog
from models.choice import ModelChoice
from models.embeddings.shelf import EmbeddingShelf
from models.errors import CheckpointError, CorruptCheckpoint
from models.families import Checkpoint
from models.manager import CheckpointManager
from models.networks.files import NetworkInfo, NetworkUse
from models.residence import Frugality, Keeping, weight_bytes
from models.vae_files import VaeInfo

from .families.tiny_xl import write_tiny
from .files import CHECKPOINTS, one_tensor, sidecar_text
from .test_manager import CPU, PATIENCE, info, library, plain, scanned, use

UNET = "model.diffusion_model."
VAE = "first_stage_model."
CHANGED = f"{UNET}out.2.bias"


def write(folder: Path, stem: str, *, add: float = 0.0, name: str = CHANGED) -> Path:
    """A tiny SD1.5 checkpoint, one tensor of it raised by `add`."""
    state = load_file(CHECKPOINTS / "tiny-sd15.safetensors")
    state[name] = state[name] + add
    folder.mkdir(exist_ok=True)
    save_file(state, folder / f"{stem}.safetensors")
    (folder / f"{stem}.yaml").write_text(sidecar_text("tiny-sd15"))
    return folder / f"{stem}.safetensors"


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    folder = tmp_path / "models"
    for number, stem in enumerate("abc"):
        write(folder, stem, add=number)
    write(folder, "other_vae", add=1.0, name=f"{VAE}decoder.conv_out.bias")
    return scanned(tmp_path, folder)


class Kept:
    """How many stay loaded; may be changed at any time."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def __call__(self) -> Keeping:
        return Keeping(limit=self.limit)


def lending(catalog: Catalog, keeping: Kept, **more: object) -> CheckpointManager:
    flags = {"device": CPU, **more}
    return CheckpointManager(library(catalog), EmbeddingShelf(()), keeping=keeping, **flags)  # type: ignore[arg-type]


def loaded(lender: CheckpointManager) -> list[str]:
    return [each.stem for each in lender.loaded()]


def memory_of(module: torch.nn.Module) -> set[int]:
    return {tensor.untyped_storage().data_ptr() for tensor in module.state_dict().values()}


def test_the_limit_may_change_at_any_time_and_holds_from_the_next_load(catalog: Catalog) -> None:
    kept = Kept(3)
    lender = lending(catalog, kept)
    use(lender, catalog, "a", "b", "c")
    assert loaded(lender) == ["a", "b", "c"]
    kept.limit = 2
    use(lender, catalog, "a")
    assert loaded(lender) == ["b", "c", "a"]
    use(lender, catalog, "other_vae")
    assert loaded(lender) == ["a", "other_vae"]
    kept.limit = -5
    use(lender, catalog, "b")
    assert loaded(lender) == ["b"]


def test_where_memory_is_short_fewer_stay(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    lender = lending(catalog, Kept(3))
    need = weight_bytes(info(catalog, "a"), torch.float32)
    stored = load_file(CHECKPOINTS / "tiny-sd15.safetensors").values()
    assert need == sum(4 * each.numel() for each in stored if each.is_floating_point())

    def available(device: torch.device) -> int:
        """Room for two."""
        return managers.RESERVE + need * (2 - len(lender.loaded()))

    monkeypatch.setattr(managers, "available", available)
    use(lender, catalog, "a", "b", "c")
    assert loaded(lender) == ["b", "c"]
    # what is lent stays, whatever there is
    with lender.borrow(plain(catalog, "b")), lender.borrow(plain(catalog, "a")):
        assert loaded(lender) == ["b", "a"]
        use(lender, catalog, "c")


def test_equal_parts_are_in_memory_once(catalog: Catalog) -> None:
    lender = lending(catalog, Kept(3))
    with (
        lender.borrow(plain(catalog, "a")) as a,
        lender.borrow(plain(catalog, "b")) as b,
        lender.borrow(plain(catalog, "other_vae")) as other,
    ):
        assert memory_of(a.vae) == memory_of(b.vae)
        assert not memory_of(a.vae) & memory_of(other.vae)
        first, second, third = (each.encoders[0].module for each in (a, b, other))
        assert memory_of(first) == memory_of(second) == memory_of(third)
        # hooks and the like are each one's own
        assert len({id(first), id(second), id(third)}) == 3
        assert a.vae is not b.vae
        assert not memory_of(a.unet) & memory_of(b.unet)
        assert b.unet.conv_out.bias[0] - a.unet.conv_out.bias[0] == pytest.approx(1.0)
        bias = other.vae.decoder.conv_out.bias - a.vae.decoder.conv_out.bias
        assert torch.allclose(bias, torch.ones(3))


def test_a_switch_takes_over_what_is_equal(catalog: Catalog) -> None:
    lender = lending(catalog, Kept(1))
    with lender.borrow(plain(catalog, "a")) as a:
        before = memory_of(a.vae)
    del a
    with lender.borrow(plain(catalog, "b")) as b:
        assert memory_of(b.vae) == before
    assert loaded(lender) == ["b"]


def test_a_vae_of_a_file_that_is_the_checkpoints_own_is_shared(
    catalog: Catalog, tmp_path: Path
) -> None:
    state = load_file(CHECKPOINTS / "tiny-sd15.safetensors")
    path = tmp_path / "v.safetensors"
    save_file({name: state[name] for name in state if name.startswith(VAE)}, path)
    vae = VaeInfo(path=path, name=path.name)
    lender = lending(catalog, Kept(1))
    with lender.borrow(plain(catalog, "a")) as a:
        own = memory_of(a.vae)
    choice = ModelChoice(checkpoint=info(catalog, "a"), vae=vae)
    with lender.borrow(choice) as worn:
        assert memory_of(worn.vae) == own
        assert worn.vae is not a.vae


def lora(folder: Path) -> NetworkUse:
    """A network for the text encoder and the UNet."""
    state = load_file(CHECKPOINTS / "tiny-sd15.safetensors")
    names = {
        "lora_te_text_model_encoder_layers_0_mlp_fc1": (
            "cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc1.weight"
        ),
        "lora_unet_time_embedding_linear_1": f"{UNET}time_embed.0.weight",
    }
    network = {}
    for ours, theirs in names.items():
        rows, columns = state[theirs].shape
        network[f"{ours}.lora_up.weight"] = torch.ones(rows, 1)
        network[f"{ours}.lora_down.weight"] = torch.ones(1, columns)
    save_file(network, folder / "n.safetensors")
    found = NetworkInfo(path=folder / "n.safetensors", name="n", alias="n")
    return NetworkUse(network=found, text_weight=1.0, unet_weight=1.0)


def test_networks_on_one_leave_what_another_shares_with_it_alone(
    catalog: Catalog, tmp_path: Path
) -> None:
    def bits(checkpoint: Checkpoint) -> list[bytes]:
        module = checkpoint.encoders[0].module
        return [tensor.numpy().tobytes() for tensor in module.state_dict().values()]

    lender = lending(catalog, Kept(2))
    with lender.borrow(plain(catalog, "b")) as b:
        bare = bits(b)
    choice = ModelChoice(checkpoint=info(catalog, "a"), networks=(lora(tmp_path),))
    with lender.borrow(choice) as a, lender.borrow(plain(catalog, "b")) as b:
        assert bits(a) != bare
        assert bits(b) == bare
    with lender.borrow(plain(catalog, "a")) as a:
        assert bits(a) == bare
        assert memory_of(a.encoders[0].module) == memory_of(b.encoders[0].module)


def until(done: threading.Event) -> None:
    assert done.wait(PATIENCE)


def test_the_next_checkpoint_is_read_while_another_is_in_use(catalog: Catalog) -> None:
    lender = lending(catalog, Kept(2))
    with capture_logs() as logs, lender.borrow(plain(catalog, "a")):
        for _ in range(3):
            lender.foresee(plain(catalog, "b"))
        for _ in range(int(PATIENCE * 100)):
            if "b" in loaded(lender):
                break
            threading.Event().wait(0.01)
        assert loaded(lender) == ["b", "a"]
        # the one in use last is still the one that is known as current
        current = lender.current()
        assert current is not None
        assert current.stem == "a"
        use(lender, catalog, "b")
    assert [log["event"] for log in logs].count("checkpoint loaded") == 2


@pytest.mark.parametrize("limit", [1, 0])
def test_nothing_is_read_ahead_beyond_the_limit(catalog: Catalog, limit: int) -> None:
    lender = lending(catalog, Kept(limit))
    with lender.borrow(plain(catalog, "a")):
        lender.foresee(plain(catalog, "b"))
        assert not [each for each in threading.enumerate() if each.name == "loader"]
        assert loaded(lender) == ["a"]


def test_what_fails_ahead_is_told_by_the_borrow(catalog: Catalog, tmp_path: Path) -> None:
    lender = lending(catalog, Kept(2))
    wanted = plain(catalog, "b")
    one_tensor(wanted.checkpoint.path)
    with lender.borrow(plain(catalog, "a")):
        lender.foresee(wanted)
        with pytest.raises(CheckpointError):
            use_only(lender, wanted)
    use(lender, catalog, "a")


def use_only(lender: CheckpointManager, choice: ModelChoice) -> None:
    with lender.borrow(choice):
        pass


def test_a_file_written_anew_is_loaded_anew(catalog: Catalog, tmp_path: Path) -> None:
    lender = lending(catalog, Kept(2))
    with lender.borrow(plain(catalog, "a")) as first:
        before = first.unet.conv_out.bias.clone()
    write(tmp_path / "models", "a", add=7.0)
    catalog.scan()
    with lender.borrow(plain(catalog, "a")) as second:
        assert torch.allclose(second.unet.conv_out.bias - before, torch.full_like(before, 7.0))
    assert loaded(lender) == ["a"]


def test_a_failed_load_keeps_no_memory(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is kept, as that of a job is, and what was read until then is not."""
    lender = lending(catalog, Kept(2))
    use(lender, catalog, "a")
    size = 64 << 20
    errors: list[BaseException] = []

    def broken(*_: object, **__: object) -> None:
        content = torch.ones(size, dtype=torch.uint8)
        raise CorruptCheckpoint(tmp_path, f"half of {content.numel()} bytes")

    monkeypatch.setattr("models.families.parts.fill", broken)
    process = psutil.Process()
    before = process.memory_info().rss
    for _ in range(4):
        with pytest.raises(CorruptCheckpoint) as caught:
            use_only(lender, plain(catalog, "b"))
        errors.append(caught.value)
    assert process.memory_info().rss - before < size
    assert loaded(lender) == ["a"]


@pytest.mark.parametrize(
    ("general", "sdxl", "wanted"),
    [
        ("nothing", "nothing", ("nothing", "nothing")),
        ("nothing", "parts", ("nothing", "parts")),
        ("parts", "nothing", ("parts", "parts")),
        ("blocks", "parts", ("blocks", "blocks")),
    ],
)
def test_frugality_may_be_for_sdxl_alone(
    catalog: Catalog,
    tmp_path: Path,
    general: str,
    sdxl: str,
    wanted: tuple[str, str],
) -> None:
    write_tiny(tmp_path / "models" / "xl.safetensors", "sdxl")
    catalog.scan()
    frugality = Frugality(any_model=general, sdxl=sdxl)  # type: ignore[arg-type]
    assert (frugality.of(info(catalog, "a")), frugality.of(info(catalog, "xl"))) == wanted
