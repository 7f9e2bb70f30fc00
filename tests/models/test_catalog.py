import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

import models.catalog
from models import folders
from models.catalog import Catalog, CheckpointInfo
from models.errors import CheckpointNotFound, CorruptCheckpoint
from models.folders import Stamp
from models.hashing import HashCache, sha256
from models.header import Header, read_header

from .files import one_tensor

EMPTY_LEGACY = hashlib.sha256(b"").hexdigest()[:8]


def catalog(
    tmp_path: Path,
    *roots: Path,
    explicit: Path | None = None,
    hashing: bool = True,
    allow_pickle: bool = False,
    demo: Path = Path("/absent/darkroom-demo.safetensors"),
) -> Catalog:
    made = Catalog(
        roots or (tmp_path / "models",),
        explicit=explicit,
        hashes=HashCache(tmp_path / "hashes.db"),
        hashing=hashing,
        allow_pickle=allow_pickle,
        demo=demo,
    )
    made.scan()
    return made


def names(made: Catalog) -> list[str]:
    return [info.name for info in made.checkpoints()]


def found(made: Catalog, alias: str) -> CheckpointInfo:
    info = made.find(alias)
    assert info is not None
    return info


def test_folders_are_listed_naturally_and_without_case(tmp_path: Path) -> None:
    for name in ("b.safetensors", "A.safetensors", "v10.SAFETENSORS", "v2.safetensors"):
        one_tensor(tmp_path / "models" / name)
    one_tensor(tmp_path / "models" / "sub" / "a.safetensors")
    one_tensor(tmp_path / "more" / "0.safetensors")
    made = catalog(tmp_path, tmp_path / "models", tmp_path / "more", tmp_path / "absent")
    assert names(made) == [
        "A.safetensors",
        "b.safetensors",
        "v2.safetensors",
        "v10.SAFETENSORS",
        "sub/a.safetensors",
        "0.safetensors",
    ]
    assert made.default() == made.checkpoints()[0]
    assert found(made, "sub/a.safetensors").model_name == "sub_a"


def test_what_is_no_checkpoint_is_not_listed(tmp_path: Path) -> None:
    for name in ("good.safetensors", "x.vae.safetensors", ".hid.safetensors", ".h/a.safetensors"):
        one_tensor(tmp_path / "models" / name)
    (tmp_path / "models" / "old.ckpt").write_bytes(b"pickle")
    (tmp_path / "models" / "x.vae.ckpt").write_bytes(b"pickle")
    (tmp_path / "models" / "notes.txt").write_text("x")
    assert names(catalog(tmp_path)) == ["good.safetensors"]
    assert names(catalog(tmp_path, allow_pickle=True)) == ["good.safetensors", "old.ckpt"]


def test_a_damaged_file_costs_one_warning_and_the_others_are_served(tmp_path: Path) -> None:
    one_tensor(tmp_path / "models" / "good.safetensors")
    (tmp_path / "models" / "bad.safetensors").write_bytes(b"\x80\x02}q\x00.")
    (tmp_path / "models" / "dangling.safetensors").symlink_to(tmp_path / "nowhere")
    with capture_logs() as logs:
        made = catalog(tmp_path)
    assert names(made) == ["good.safetensors"]
    assert [(Path(str(log["path"])).name, log["log_level"]) for log in logs] == [
        ("bad.safetensors", "warning"),
        ("dangling.safetensors", "warning"),
    ]
    assert "pickle" in logs[0]["reason"]


def test_a_name_that_is_not_utf8_is_skipped(tmp_path: Path) -> None:
    one_tensor(tmp_path / "models" / "good.safetensors")
    os.link(
        tmp_path / "models" / "good.safetensors",
        os.fsencode(tmp_path) + b"/models/\xff.safetensors",
    )
    with capture_logs() as logs:
        assert names(catalog(tmp_path)) == ["good.safetensors"]
    assert logs[0]["reason"] == "its name is not UTF-8"


def test_links_are_followed_but_not_round_and_round(tmp_path: Path) -> None:
    one_tensor(tmp_path / "elsewhere" / "far.safetensors")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "models")
    (tmp_path / "models" / "self").symlink_to(tmp_path / "models")
    assert names(catalog(tmp_path)) == ["linked/far.safetensors"]


def test_a_file_in_two_roots_is_listed_once_and_a_second_of_its_name_not_at_all(
    tmp_path: Path,
) -> None:
    one_tensor(tmp_path / "models" / "a.safetensors", fill=1)
    one_tensor(tmp_path / "more" / "a.safetensors", fill=2)
    with capture_logs() as logs:
        made = catalog(tmp_path, tmp_path / "models", tmp_path / "models", tmp_path / "more")
    assert [info.path for info in made.checkpoints()] == [tmp_path / "models" / "a.safetensors"]
    assert [log["path"] for log in logs] == [str(tmp_path / "more" / "a.safetensors")]


def test_the_explicit_file_comes_first(tmp_path: Path) -> None:
    one_tensor(tmp_path / "models" / "a.safetensors")
    outside = one_tensor(tmp_path / "outside" / "z.safetensors")
    made = catalog(tmp_path, explicit=outside)
    assert names(made) == ["z.safetensors", "a.safetensors"]
    inside = one_tensor(tmp_path / "models" / "sub" / "z.safetensors")
    made = catalog(tmp_path, explicit=inside)
    assert names(made) == ["sub/z.safetensors", "a.safetensors"]
    assert made.default() == found(made, "sub/z.safetensors")


def test_a_missing_or_damaged_explicit_file_is_an_error(tmp_path: Path) -> None:
    one_tensor(tmp_path / "models" / "a.safetensors")
    with pytest.raises(CheckpointNotFound, match=r"gone\.safetensors: no such file"):
        catalog(tmp_path, explicit=tmp_path / "gone.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"short")
    with pytest.raises(CorruptCheckpoint, match="5 bytes"):
        catalog(tmp_path, explicit=tmp_path / "bad.safetensors")
    (tmp_path / "old.ckpt").write_bytes(b"x")
    with pytest.raises(CorruptCheckpoint, match="pickle"):
        catalog(tmp_path, explicit=tmp_path / "old.ckpt")


def test_an_explicit_file_that_goes_is_no_longer_listed(tmp_path: Path) -> None:
    one_tensor(tmp_path / "models" / "a.safetensors")
    explicit = one_tensor(tmp_path / "b.safetensors")
    made = catalog(tmp_path, explicit=explicit)
    explicit.unlink()
    made.scan()
    assert names(made) == ["a.safetensors"]
    one_tensor(explicit)
    assert names(made) == ["b.safetensors", "a.safetensors"]


def test_every_alias_of_an_unhashed_and_of_a_hashed_file(tmp_path: Path) -> None:
    path = one_tensor(tmp_path / "models" / "sub" / "Model.safetensors")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    made = catalog(tmp_path)
    early = ["sub_Model", "sub/Model.safetensors", "Model", EMPTY_LEGACY]
    early.append(f"sub/Model.safetensors [{EMPTY_LEGACY}]")
    info = made.checkpoints()[0]
    assert set(info.aliases()) == set(early)
    assert (info.title, info.sha256, info.short_hash) == ("sub/Model.safetensors", None, None)

    hashed = made.hash(info)
    short = digest[:10]
    assert (hashed.sha256, hashed.short_hash) == (digest, short)
    assert hashed.title == f"sub/Model.safetensors [{short}]"
    late = [*early, digest, short, f"sub/Model.safetensors [{short}]", f"Model [{short}]"]
    assert set(hashed.aliases()) == set(late)
    assert [made.find(alias) for alias in late] == [hashed] * len(late)
    assert made.checkpoints() == (hashed,)


def test_a_hash_is_known_to_the_next_catalog(tmp_path: Path) -> None:
    one_tensor(tmp_path / "models" / "a.safetensors")
    first = catalog(tmp_path)
    hashed = first.hash(first.checkpoints()[0])
    assert catalog(tmp_path).checkpoints() == (hashed,)
    one_tensor(tmp_path / "models" / "a.safetensors", name="changed")
    first.scan()
    assert first.checkpoints()[0].sha256 is None


def test_no_hashing_keeps_the_hash_unknown(tmp_path: Path) -> None:
    one_tensor(tmp_path / "models" / "a.safetensors")
    catalog(tmp_path).hash(catalog(tmp_path).checkpoints()[0])
    made = catalog(tmp_path, hashing=False)
    info = made.checkpoints()[0]
    assert info.sha256 is None
    assert made.hash(info) == info


def test_hashing_a_file_that_has_gone(tmp_path: Path) -> None:
    path = one_tensor(tmp_path / "models" / "a.safetensors")
    made = catalog(tmp_path)
    info = made.checkpoints()[0]
    path.unlink()
    with pytest.raises(CheckpointNotFound, match="cannot be read"):
        made.hash(info)


def test_the_forgiving_look_up_drops_a_hash_and_ignores_case(tmp_path: Path) -> None:
    one_tensor(tmp_path / "models" / "Model.safetensors")
    made = catalog(tmp_path)
    info = made.checkpoints()[0]
    for alias in ("Model.safetensors [0123456789]", "Model [x]", "mOdEl", "MODEL.safetensors [a]"):
        assert made.find(alias) == info, alias


@pytest.mark.parametrize(
    "alias",
    ["", "[x]", "Mod", "Model2", "../models/Model.safetensors", "/etc/passwd", "Model\x00", "None"],
)
def test_the_forgiving_look_up_never_guesses(tmp_path: Path, alias: str) -> None:
    one_tensor(tmp_path / "models" / "Model.safetensors")
    assert catalog(tmp_path).find(alias) is None


def test_a_stem_that_two_files_share_finds_neither_in_another_case(tmp_path: Path) -> None:
    one_tensor(tmp_path / "models" / "x" / "model.safetensors")
    one_tensor(tmp_path / "models" / "y" / "model.safetensors")
    made = catalog(tmp_path)
    assert made.find("MODEL") is None
    assert found(made, "model").name == "x/model.safetensors"


@pytest.mark.parametrize(
    "alias",
    [
        "SUB/MODEL",
        "sub\\model.safetensors [0123456789]",
        "Sub/Model.SafeTensors",
        "modèle",
        "MODE\N{COMBINING GRAVE ACCENT}LE",
    ],
)
def test_names_are_forgiven_their_case_slashes_and_accents(tmp_path: Path, alias: str) -> None:
    one_tensor(tmp_path / "models" / "sub" / "Model.safetensors")
    one_tensor(tmp_path / "models" / "Mod\N{LATIN SMALL LETTER E WITH GRAVE}le.safetensors")
    made = catalog(tmp_path)
    assert found(made, alias).stem == ("Model" if "ub" in alias.lower() else "Modèle")


def test_a_path_finds_the_file_that_is_listed_there(tmp_path: Path) -> None:
    path = one_tensor(tmp_path / "models" / "sub" / "Model.safetensors")
    one_tensor(tmp_path / "secret.safetensors")
    made = catalog(tmp_path)
    assert found(made, str(path)).path == path
    assert made.find(str(tmp_path / "secret.safetensors")) is None
    assert made.find(str(tmp_path / "models" / ".." / "models" / "sub" / "Model")) is None


PIECES = (
    *("..", "/", "\\", "secret", "Model", "model", "sub", ".safetensors", "\0", "[x]", " ", "~"),
    *("\N{FULLWIDTH SOLIDUS}", "\N{ONE DOT LEADER}", "\N{KELVIN SIGN}", "%2e%2e", "*", "file://"),
    *("/etc/passwd", "\N{RIGHT-TO-LEFT OVERRIDE}", "\ud800", "<lora:", ":1>"),
)
HOSTILE = st.one_of(
    st.text(max_size=40), st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
)


@given(name=HOSTILE)
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_name_leads_to_what_is_not_listed(shelf: Catalog, name: str) -> None:
    listed = (None, *shelf.checkpoints())
    assert shelf.find(name) in listed
    assert shelf.closest(name) in listed


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    folder = tmp_path_factory.mktemp("shelf")
    one_tensor(folder / "secret.safetensors")
    one_tensor(folder / "models" / "Model.safetensors")
    one_tensor(folder / "models" / "sub" / "other.safetensors")
    return catalog(folder)


def test_what_comes_goes_and_changes_is_noticed_without_a_scan(tmp_path: Path) -> None:
    path = one_tensor(tmp_path / "models" / "a.safetensors")
    made = catalog(tmp_path)
    before = found(made, "a")
    one_tensor(tmp_path / "models" / "sub" / "new.safetensors")
    assert found(made, "new").name == "sub/new.safetensors"
    path.with_suffix(".yaml").write_text("model: {}")
    assert found(made, "a").config == path.with_suffix(".yaml")
    path.unlink()
    assert made.find("a") is None
    assert names(made) == ["sub/new.safetensors"]
    assert before.stamp is not None


def test_a_file_written_in_place_is_another_when_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "_UNSETTLED_NS", -(10**18))
    path = one_tensor(tmp_path / "models" / "a.safetensors", fill=1)
    one_tensor(tmp_path / "models" / "b.safetensors")
    made = catalog(tmp_path)
    hashed = made.hash(found(made, "a"))
    short = str(hashed.short_hash)
    one_tensor(path, fill=2, name="longer")
    changed = found(made, "a")
    assert changed != hashed
    assert (changed.sha256, changed.stamp) == (None, Stamp.of(path))
    assert made.find(short) is None
    assert made.hash(changed).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(b"no longer a checkpoint")
    assert made.find("a") is None
    assert names(made) == ["b.safetensors"]


def test_headers_are_read_once_across_catalogs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        one_tensor(tmp_path / "models" / f"{name}.safetensors")
    read: list[str] = []

    def counted(path: Path) -> Header:
        read.append(path.stem)
        return read_header(path)

    monkeypatch.setattr(models.catalog, "read_header", counted)
    catalog(tmp_path)
    assert names(catalog(tmp_path)) == ["a.safetensors", "b.safetensors"]
    assert read == ["a", "b"]
    one_tensor(tmp_path / "models" / "b.safetensors", name="longer")
    made = catalog(tmp_path)
    made.scan()
    assert read == ["a", "b", "b"]
    assert [info.legacy_hash for info in made.checkpoints()] == [EMPTY_LEGACY] * 2


def test_a_hash_of_another_process_is_listed(tmp_path: Path) -> None:
    path = one_tensor(tmp_path / "models" / "a.safetensors")
    made = catalog(tmp_path)
    assert made.checkpoints()[0].sha256 is None
    stamp = Stamp.of(path)
    assert stamp is not None
    HashCache(tmp_path / "hashes.db").put(path, stamp, "ab" * 32)
    assert made.checkpoints()[0].sha256 == "ab" * 32
    assert found(made, "ab" * 5).path == path


def test_what_is_no_regular_file_is_skipped_unopened(tmp_path: Path) -> None:
    one_tensor(tmp_path / "models" / "good.safetensors")
    os.mkfifo(tmp_path / "models" / "pipe.safetensors")
    (tmp_path / "models" / "zero.safetensors").symlink_to("/dev/zero")
    (tmp_path / "models" / "linked.safetensors").symlink_to(
        one_tensor(tmp_path / "far" / "away.safetensors")
    )
    with capture_logs() as logs:
        made = catalog(tmp_path)
    assert names(made) == ["good.safetensors", "linked.safetensors"]
    skipped = {Path(str(log["path"])).name: log["reason"] for log in logs}
    assert skipped == dict.fromkeys(
        ("pipe.safetensors", "zero.safetensors"), "no such file, or none that can be read"
    )


def diffusers_folder(path: Path) -> Path:
    """Write a folder of diffusers' layout with one small tensor a part."""
    index = {
        "_class_name": "StableDiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
    }
    path.mkdir(parents=True)
    (path / "model_index.json").write_text(json.dumps(index))
    (path / "unet").mkdir()
    (path / "unet" / "config.json").write_text("{}")
    one_tensor(path / "unet" / "diffusion_pytorch_model.safetensors")
    return path


def test_a_folder_of_diffusers_is_one_checkpoint_and_its_parts_are_none(tmp_path: Path) -> None:
    one_tensor(tmp_path / "models" / "a.safetensors")
    folder = diffusers_folder(tmp_path / "models" / "sub" / "sd-v1.5")
    with capture_logs() as logs:
        made = catalog(tmp_path)
    assert logs == []
    assert names(made) == ["a.safetensors", "sub/sd-v1.5"]
    info = found(made, "sd-v1.5")
    assert (info.path, info.model_name, info.title) == (folder, "sub_sd-v1.5", "sub/sd-v1.5")
    assert info.short_title == "sd-v1.5"
    assert found(made, "SUB/SD-V1.5 [0123456789]") == info
    assert made.hash(info) == info
    assert [each.path.name for each in made.unhashed()] == ["a.safetensors"]
    assert made.find("diffusion_pytorch_model") is None
    one_tensor(folder / "unet" / "diffusion_pytorch_model.safetensors", name="longer")
    made.scan()
    assert found(made, "sd-v1.5").stamp != info.stamp


def test_a_folder_of_diffusers_that_is_not_complete_is_listed_when_it_is(tmp_path: Path) -> None:
    folder = diffusers_folder(tmp_path / "models" / "x")
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    content = weights.read_bytes()
    weights.unlink()
    with capture_logs() as logs:
        made = catalog(tmp_path)
        assert names(made) == names(made) == []
    assert [Path(str(log["path"])).name for log in logs] == ["x"]
    weights.write_bytes(content)
    assert names(made) == ["x"]


def test_unhashed_tells_what_no_hash_is_known_of(tmp_path: Path) -> None:
    for name in ("a", "b"):
        one_tensor(tmp_path / "models" / f"{name}.safetensors")
    made = catalog(tmp_path)
    made.hash(found(made, "a"))
    (left,) = made.unhashed()
    assert left.path == tmp_path / "models" / "b.safetensors"
    assert left.read(left.path, lambda count: None) == sha256(left.path)
    assert catalog(tmp_path, hashing=False).unhashed() == ()


def test_the_sidecar_yaml_is_found(tmp_path: Path) -> None:
    path = one_tensor(tmp_path / "models" / "a.safetensors")
    one_tensor(tmp_path / "models" / "b.safetensors")
    path.with_suffix(".yaml").write_text("model: {}")
    made = catalog(tmp_path)
    assert [info.config for info in made.checkpoints()] == [path.with_suffix(".yaml"), None]


def test_the_demo_is_listed_only_where_nothing_else_is(tmp_path: Path) -> None:
    demo = one_tensor(tmp_path / "code" / "darkroom-demo.safetensors")
    with capture_logs() as logs:
        made = catalog(tmp_path, demo=demo)
    info = made.default()
    assert info is not None
    assert (info.model_name, info.embedded, info.path) == ("darkroom-demo", True, demo)
    assert made.checkpoints() == (info,)
    assert [log["log_level"] for log in logs] == ["info"]
    assert logs[0]["put_models_in"] == [str(tmp_path / "models")]

    one_tensor(tmp_path / "models" / "real.safetensors")
    made.scan()
    assert names(made) == ["real.safetensors"]
    assert made.find("darkroom-demo") is None


def test_nothing_at_all_is_an_empty_list(tmp_path: Path) -> None:
    made = catalog(tmp_path)
    assert made.checkpoints() == ()
    assert made.default() is None


def test_the_catalog_needs_no_torch() -> None:
    program = (
        "import sys, models.catalog, models.header, models.hashing; print('torch' in sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ran.stdout == "False\n"
