import hashlib
import json
import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from models import folders, vae_files
from models.catalog import CheckpointInfo
from models.errors import CheckpointNotFound, CorruptCheckpoint
from models.folders import Stamp
from models.hashing import HashCache
from models.vae_files import VaeCatalog, VaeInfo

from .files import one_tensor


def catalog(
    tmp_path: Path,
    *,
    explicit: Path | None = None,
    hashing: bool = True,
    allow_pickle: bool = False,
) -> VaeCatalog:
    made = VaeCatalog(
        (tmp_path / "more", tmp_path / "VAE"),
        (tmp_path / "models",),
        hashes=HashCache(tmp_path / "hashes.db"),
        hashing=hashing,
        allow_pickle=allow_pickle,
        explicit=explicit,
    )
    made.scan()
    return made


def checkpoint(tmp_path: Path, name: str = "model.safetensors") -> CheckpointInfo:
    path = tmp_path / "models" / name
    return CheckpointInfo(path=path, name=name, model_name=path.stem)


def chosen(
    made: VaeCatalog, setting: str, model: CheckpointInfo, *, overrides: bool = True
) -> str | None:
    info, warnings = made.choose(setting, model, overrides_preferences=overrides)
    assert warnings == ()
    return None if info is None else info.name


def prefer(model: CheckpointInfo, content: object) -> None:
    model.path.parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    model.path.with_suffix(".json").write_text(text)


def test_every_file_of_the_folders_and_the_marked_ones_beside_models_are_listed(
    tmp_path: Path,
) -> None:
    for name in ("VAE/v10.safetensors", "VAE/sub/v2.safetensors", "more/A.vae.safetensors"):
        one_tensor(tmp_path / name)
    for name in ("models/m.safetensors", "models/sub/m.vae.SAFETENSORS", "VAE/.h.safetensors"):
        one_tensor(tmp_path / name)
    for name in ("VAE/p.pt", "VAE/p.ckpt", "models/q.vae.pt", "VAE/notes.txt", "models/q.pt"):
        (tmp_path / name).write_bytes(b"x")
    names = [info.name for info in catalog(tmp_path).vaes()]
    assert names == ["A.vae.safetensors", "m.vae.SAFETENSORS", "v2.safetensors", "v10.safetensors"]
    with_pickles = catalog(tmp_path, allow_pickle=True)
    assert {info.name for info in with_pickles.vaes()} - set(names) == {
        "p.pt",
        "p.ckpt",
        "q.vae.pt",
    }


def test_of_two_of_one_name_the_first_folders_is_taken(tmp_path: Path) -> None:
    for folder in ("models", "VAE", "more"):
        one_tensor(tmp_path / folder / "a.vae.safetensors")
    with capture_logs() as logs:
        (info,) = catalog(tmp_path).vaes()
    assert info.path == tmp_path / "more" / "a.vae.safetensors"
    assert [log["log_level"] for log in logs] == ["warning", "warning"]


def test_damaged_files_cost_one_warning_each(tmp_path: Path) -> None:
    one_tensor(tmp_path / "VAE" / "good.safetensors")
    (tmp_path / "VAE" / "bad.safetensors").write_bytes(b"\x80\x02}q\x00.")
    (tmp_path / "VAE" / "gone.safetensors").symlink_to(tmp_path / "nowhere")
    os.link(tmp_path / "VAE" / "good.safetensors", os.fsencode(tmp_path) + b"/VAE/\xff.safetensors")
    with capture_logs() as logs:
        assert [info.name for info in catalog(tmp_path).vaes()] == ["good.safetensors"]
    assert len(logs) == 3


def test_what_changes_is_seen_without_a_scan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "_UNSETTLED_NS", -(10**18))
    made = catalog(tmp_path)
    assert made.vaes() == ()
    path = one_tensor(tmp_path / "VAE" / "new.safetensors")
    before = made.find("new.safetensors")
    assert before is not None
    assert made.find("new") is None
    one_tensor(path, name="longer")
    after = made.find("new.safetensors")
    assert after is not None
    assert after != before
    path.write_bytes(b"x")
    assert made.find("new.safetensors") is None


def test_headers_are_read_once_across_catalogs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_tensor(tmp_path / "VAE" / "a.safetensors")
    catalog(tmp_path)
    monkeypatch.setattr(vae_files, "check_file", lambda *_, **__: pytest.fail("read again"))
    assert [info.name for info in catalog(tmp_path).vaes()] == ["a.safetensors"]


def test_unhashed_tells_what_no_hash_is_known_of(tmp_path: Path) -> None:
    for name in ("a", "b"):
        one_tensor(tmp_path / "VAE" / f"{name}.safetensors")
    made = catalog(tmp_path)
    made.hash(made.vaes()[0])
    assert [left.path.stem for left in made.unhashed()] == ["b"]
    assert catalog(tmp_path, hashing=False).unhashed() == ()


def test_the_hash_is_read_once_and_remembered(tmp_path: Path) -> None:
    path = one_tensor(tmp_path / "VAE" / "a.safetensors")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    made = catalog(tmp_path)
    (fresh,) = made.vaes()
    hashed = made.hash(fresh)
    assert (fresh.short_hash, hashed.sha256, hashed.short_hash) == (None, digest, digest[:10])
    assert hashed == fresh
    assert HashCache(tmp_path / "hashes.db").get(path) == digest
    assert catalog(tmp_path, hashing=False).hash(fresh).sha256 is None
    path.unlink()
    with pytest.raises(CheckpointNotFound, match="cannot be read"):
        made.hash(fresh)


@pytest.mark.parametrize("setting", ["Automatic", "auto"])
def test_automatic_is_the_file_named_like_the_checkpoint(tmp_path: Path, setting: str) -> None:
    for name in ("model-b.safetensors", "model.vae.safetensors", "other.safetensors"):
        one_tensor(tmp_path / "VAE" / name)
    made = catalog(tmp_path)
    assert chosen(made, setting, checkpoint(tmp_path)) == "model.vae.safetensors"
    assert chosen(made, setting, checkpoint(tmp_path, "mod.safetensors")) == "model-b.safetensors"
    assert chosen(made, setting, checkpoint(tmp_path, "Model.safetensors")) is None
    assert chosen(made, setting, checkpoint(tmp_path, "else.safetensors")) is None


def test_a_setting_that_names_a_file_overrides_preferences_unless_told_not_to(
    tmp_path: Path,
) -> None:
    for name in ("model.vae.safetensors", "other.safetensors", "third.safetensors"):
        one_tensor(tmp_path / "VAE" / name)
    made, model = catalog(tmp_path), checkpoint(tmp_path)
    assert chosen(made, "other.safetensors", model) == "other.safetensors"
    assert chosen(made, "None", model) is None
    assert chosen(made, "other.safetensors", model, overrides=False) == "model.vae.safetensors"
    assert chosen(made, "None", model, overrides=False) == "model.vae.safetensors"
    other = checkpoint(tmp_path, "elsewhere.safetensors")
    assert chosen(made, "other.safetensors", other, overrides=False) == "other.safetensors"
    assert chosen(made, "None", other, overrides=False) is None
    prefer(model, {"vae": "third.safetensors"})
    assert chosen(made, "other.safetensors", model) == "other.safetensors"
    assert chosen(made, "other.safetensors", model, overrides=False) == "third.safetensors"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"vae": "third.safetensors"}, "third.safetensors"),
        ({"vae": "None"}, None),
        ({"vae": "Automatic"}, "model.vae.safetensors"),
        ({"vae": "gone.safetensors"}, "model.vae.safetensors"),
        ({"vae": 5}, "model.vae.safetensors"),
        ([1], "model.vae.safetensors"),
        ("{", "model.vae.safetensors"),
        ("[" * 100_000, "model.vae.safetensors"),
    ],
)
def test_the_json_beside_the_checkpoint_goes_before_its_namesake(
    tmp_path: Path, content: object, expected: str | None
) -> None:
    for name in ("model.vae.safetensors", "third.safetensors"):
        one_tensor(tmp_path / "VAE" / name)
    model = checkpoint(tmp_path)
    prefer(model, content)
    assert chosen(catalog(tmp_path), "Automatic", model) == expected


def test_a_name_that_no_file_has_is_the_checkpoints_own_with_a_warning(tmp_path: Path) -> None:
    model = checkpoint(tmp_path)
    info, warnings = catalog(tmp_path).choose("x.pt", model, overrides_preferences=True)
    assert (info, warnings) == (None, ("unknown VAE 'x.pt': used the checkpoint's own",))


def test_the_file_of_the_flag_goes_with_everything(tmp_path: Path) -> None:
    one_tensor(tmp_path / "VAE" / "a.safetensors")
    explicit = one_tensor(tmp_path / "far" / "flag.safetensors")
    made, model = catalog(tmp_path, explicit=explicit), checkpoint(tmp_path)
    for setting in ("None", "a.safetensors", "Automatic", "unknown"):
        info, warnings = made.choose(setting, model, overrides_preferences=True)
        stamp = Stamp.of(explicit)
        wanted = VaeInfo(path=explicit, name="flag.safetensors", stamp=stamp)
        assert (info, warnings) == (wanted, ())
    assert [info.name for info in made.vaes()] == ["a.safetensors"]


def test_an_unusable_file_of_the_flag_is_refused_at_the_scan(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(b"x")
    (tmp_path / "a.txt").write_bytes(b"x")
    with pytest.raises(CorruptCheckpoint, match="only when allowed"):
        catalog(tmp_path, explicit=tmp_path / "a.pt")
    with pytest.raises(CorruptCheckpoint, match="none of"):
        catalog(tmp_path, explicit=tmp_path / "a.txt")
    with pytest.raises(CheckpointNotFound):
        catalog(tmp_path, explicit=tmp_path / "b.safetensors")
