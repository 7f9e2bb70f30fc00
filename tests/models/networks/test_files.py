import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from models import folders
from models.hashing import HashCache
from models.header import Header, read_header
from models.networks import files
from models.networks.files import NetworkCatalog, NetworkInfo, payload_sha256

from ..files import raw_safetensors, tensor

PAYLOAD = b"\x01" * 16


def network(path: Path, payload: bytes = PAYLOAD, **metadata: str) -> Path:
    """Write a sound file of one small tensor under some metadata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    path.write_bytes(raw_safetensors({**header, "x.alpha": tensor("F32", [4], 0, 16)}, payload))
    return path


def catalog(
    root: Path, *more: Path, hashing: bool = True, allow_pickle: bool = False
) -> NetworkCatalog:
    made = NetworkCatalog(
        (root / "Lora", *more),
        hashes=HashCache(root / "hashes.db"),
        hashing=hashing,
        allow_pickle=allow_pickle,
    )
    made.scan()
    return made


def names(made: NetworkCatalog) -> list[str]:
    return [info.name for info in made.networks()]


def found(made: NetworkCatalog, name: str) -> NetworkInfo:
    info = made.find(name)
    assert info is not None
    return info


def metadata_of(made: NetworkCatalog) -> Mapping[str, object]:
    metadata = made.listing()[0]["metadata"]
    assert isinstance(metadata, dict)
    return metadata


def test_folders_are_listed_in_natural_order_with_their_subfolders_after(tmp_path: Path) -> None:
    for name in ("sub/a", "style10", "style9", "style", "Beta"):
        network(tmp_path / "Lora" / f"{name}.safetensors")
    network(tmp_path / "more" / "other.SAFETENSORS")
    (tmp_path / "Lora" / "notes.txt").write_text("x")
    made = catalog(tmp_path, tmp_path / "more", tmp_path / "absent")
    assert names(made) == ["Beta", "style9", "style10", "style", "a", "other"]


def test_pickles_are_listed_only_when_allowed(tmp_path: Path) -> None:
    for suffix in ("pt", "ckpt", "bin", "pth"):
        network(tmp_path / "Lora" / f"{suffix}.{suffix}")
    assert names(catalog(tmp_path)) == []
    made = catalog(tmp_path, allow_pickle=True)
    assert names(made) == ["bin", "ckpt", "pt"]
    assert made.listing()[0]["metadata"] == {}
    content = (tmp_path / "Lora" / "pt.pt").read_bytes()
    assert made.hash(found(made, "pt")).short_hash == hashlib.sha256(content).hexdigest()[:12]


def test_of_two_files_of_one_name_the_last_counts(tmp_path: Path) -> None:
    network(tmp_path / "Lora" / "a.safetensors")
    network(tmp_path / "Lora" / "b.safetensors")
    last = network(tmp_path / "Lora" / "sub" / "a.safetensors")
    made = catalog(tmp_path)
    assert names(made) == ["a", "b"]
    assert found(made, "a").path == last


def test_a_name_is_a_stem_or_an_alias_exactly(tmp_path: Path) -> None:
    network(tmp_path / "Lora" / "file.safetensors", ss_output_name="given")
    network(tmp_path / "Lora" / "plain.safetensors")
    made = catalog(tmp_path)
    assert found(made, "given") is found(made, "file")
    assert found(made, "file").alias == "given"
    assert found(made, "plain").alias == "plain"
    for wrong in ("Given", "FILE", "file.safetensors", "sub/file", "../Lora/file", "", "file "):
        assert made.find(wrong) is None


def test_an_alias_claimed_twice_finds_nothing_and_a_stem_goes_first(tmp_path: Path) -> None:
    network(tmp_path / "Lora" / "one.safetensors", ss_output_name="style")
    network(tmp_path / "Lora" / "two.safetensors", ss_output_name="style")
    network(tmp_path / "Lora" / "three.safetensors", ss_output_name="one")
    network(tmp_path / "Lora" / "four.safetensors", ss_output_name="None")
    made = catalog(tmp_path)
    assert made.find("style") is None
    assert found(made, "one").name == "one"
    assert made.find("None") is None
    assert found(made, "four").alias == "None"


def test_the_hash_is_that_of_the_payload_alone(tmp_path: Path) -> None:
    path = network(tmp_path / "Lora" / "a.safetensors", ss_output_name="first")
    wanted = hashlib.sha256(PAYLOAD).hexdigest()
    assert payload_sha256(path) == wanted
    made = catalog(tmp_path)
    before = found(made, "a")
    assert before.short_hash is None
    hashed = made.hash(before)
    assert hashed.short_hash == wanted[:12]
    assert hashed == before
    assert found(made, "a").short_hash == found(made, "first").short_hash == wanted[:12]
    made.scan()
    assert found(made, "a").short_hash == wanted[:12]


def test_a_file_is_read_once_for_its_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = network(tmp_path / "Lora" / "a.safetensors")
    read: list[Path] = []

    def counted(asked: Path) -> str:
        read.append(asked)
        return payload_sha256(asked)

    monkeypatch.setattr(files, "payload_sha256", counted)
    made = catalog(tmp_path)
    stale = found(made, "a")
    assert made.hash(stale).short_hash == made.hash(stale).short_hash
    again = catalog(tmp_path)
    assert found(again, "a").short_hash == made.hash(stale).short_hash
    assert read == [path]
    first = made.hash(stale).short_hash
    network(path, b"\x02" * 16)
    os.utime(path, ns=(1, 1))
    assert found(again, "a").short_hash is None
    assert again.hash(found(again, "a")).short_hash != first
    assert read == [path, path]


def test_a_trainers_hash_needs_no_reading(tmp_path: Path) -> None:
    network(tmp_path / "Lora" / "a.safetensors", sshs_model_hash="ABCDEF0123456789")
    network(tmp_path / "Lora" / "b.safetensors", sshs_model_hash="x: <lora:evil:1>, y: z")
    made = catalog(tmp_path, hashing=False)
    assert found(made, "a").short_hash == "ABCDEF012345"
    assert found(made, "b").short_hash is None
    assert made.hash(found(made, "b")).short_hash is None


def test_a_file_that_has_gone_keeps_its_entry_and_has_no_hash(tmp_path: Path) -> None:
    path = network(tmp_path / "Lora" / "a.safetensors")
    made = catalog(tmp_path)
    info = found(made, "a")
    path.unlink()
    with capture_logs() as logs:
        assert made.hash(info).short_hash is None
    assert [entry["event"] for entry in logs] == ["network not hashed"]
    assert made.networks() == ()


HOSTILE = {
    "a pickle": b"\x80\x02}q\x00.",
    "cut off": raw_safetensors({"x": tensor("F32", [4], 0, 16)}, b"\0" * 8),
    "a huge header": (2**63).to_bytes(8, "little") + b"{}",
    "no tensors": raw_safetensors({}),
    "no file": b"",
    "offsets that overlap": raw_safetensors(
        {"x": tensor("F32", [4], 0, 16), "y": tensor("F32", [4], 8, 24)}, b"\0" * 24
    ),
    "metadata that is none": raw_safetensors(
        {"__metadata__": {"ss_output_name": 7}, "x": tensor("F32", [4], 0, 16)}, PAYLOAD
    ),
}


def test_damaged_files_cost_one_warning_each_and_the_others_are_served(tmp_path: Path) -> None:
    network(tmp_path / "Lora" / "good.safetensors")
    for name, content in HOSTILE.items():
        (tmp_path / "Lora" / f"{name}.safetensors").write_bytes(content)
    (tmp_path / "Lora" / "dangling.safetensors").symlink_to(tmp_path / "nowhere")
    with capture_logs() as logs:
        made = catalog(tmp_path)
    assert names(made) == ["good"]
    assert {entry["event"] for entry in logs} == {"network skipped"}
    assert sorted(Path(entry["path"]).stem for entry in logs) == sorted([*HOSTILE, "dangling"])
    (tmp_path / "Lora" / "dangling.safetensors").unlink()
    with capture_logs() as logs:
        made.scan()
    assert logs == []


def test_what_is_new_or_has_changed_is_seen_without_a_scan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "_UNSETTLED_NS", -(10**18))
    path = network(tmp_path / "Lora" / "a.safetensors")
    made = catalog(tmp_path)
    before = found(made, "a")
    network(tmp_path / "Lora" / "sub" / "b.safetensors")
    assert names(made) == ["a", "b"]
    network(path, ss_output_name="renamed")
    # an alias inside a file that was written in place is seen by a scan, or once it is asked for
    assert made.find("renamed") is None
    assert found(made, "a") != before
    assert found(made, "renamed").name == "a"
    network(path, ss_output_name="renamed again")
    made.scan()
    assert found(made, "renamed again").name == "a"


def test_headers_are_read_once_across_catalogs_but_for_the_listing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network(tmp_path / "Lora" / "a.safetensors", ss_output_name="given", sshs_model_hash="ab" * 6)
    network(tmp_path / "Lora" / "b.safetensors", ss_output_name="")
    network(tmp_path / "Lora" / "c.safetensors")
    catalog(tmp_path)
    read: list[str] = []

    def counted(path: Path) -> Header:
        read.append(path.stem)
        return read_header(path)

    monkeypatch.setattr(files, "read_header", counted)
    made = catalog(tmp_path)
    assert [info.alias for info in made.networks()] == ["given", "", "c"]
    assert [info.short_hash for info in made.networks()] == ["ab" * 6, None, None]
    assert read == []
    assert made.listing() == made.listing()
    assert read == ["a", "b", "c"]


def test_unhashed_tells_what_no_hash_is_known_of_and_none_is_claimed(tmp_path: Path) -> None:
    network(tmp_path / "Lora" / "a.safetensors", sshs_model_hash="ab" * 6)
    path = network(tmp_path / "Lora" / "b.safetensors")
    made = catalog(tmp_path)
    (left,) = made.unhashed()
    assert left.path == path
    assert left.read(path, lambda count: None) == payload_sha256(path)
    assert catalog(tmp_path, hashing=False).unhashed() == ()


@given(
    name=st.one_of(
        st.text(max_size=30),
        st.sampled_from(["../../x", "/etc/passwd", "..\\a", "a\0", "./a", "sub/../a", "a/", "*"]),
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_name_leads_to_what_is_not_listed(tmp_path: Path, name: str) -> None:
    network(tmp_path / "Lora" / "a.safetensors")
    network(tmp_path / "x.safetensors")
    made = catalog(tmp_path)
    wanted = made.networks()[0] if name == "a" else None
    assert made.find(name) == wanted


def test_the_listing_unfolds_metadata_and_shows_the_telling_part_first(tmp_path: Path) -> None:
    tags = {"10_tiny": {"1girl": 3, "sky \N{CLOUD}": 2}}
    path = network(
        tmp_path / "Lora" / "a.safetensors",
        ss_network_dim="4",
        ss_tag_frequency=json.dumps(tags),
        ss_output_name="given",
        ss_sd_model_name="tiny-sd15.safetensors",
    )
    assert catalog(tmp_path).listing() == (
        {
            "name": "a",
            "alias": "given",
            "path": str(path),
            "metadata": {
                "ss_sd_model_name": "tiny-sd15.safetensors",
                "ss_tag_frequency": tags,
                "ss_network_dim": "4",
                "ss_output_name": "given",
            },
        },
    )
    assert list(metadata_of(catalog(tmp_path))) == [
        "ss_sd_model_name",
        "ss_tag_frequency",
        "ss_network_dim",
        "ss_output_name",
    ]


@pytest.mark.parametrize(
    "text",
    (
        "{broken",
        '{"a": NaN}',
        '{"a": 1e999}',
        '{"a": "\\ud800"}',
        '{"a": ' + "9" * 5000 + "}",
        '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}",
    ),
    ids=("broken", "nan", "infinity", "surrogate", "digits", "depth"),
)
def test_metadata_that_no_reply_could_hold_stays_text(tmp_path: Path, text: str) -> None:
    network(tmp_path / "Lora" / "a.safetensors", ss_tag_frequency=text)
    assert metadata_of(catalog(tmp_path)) == {"ss_tag_frequency": text}


def test_half_a_surrogate_pair_does_not_reach_a_reply(tmp_path: Path) -> None:
    network(tmp_path / "Lora" / "a.safetensors", ss_output_name="x\ud800")
    made = catalog(tmp_path)
    assert found(made, "x?").name == "a"
    assert json.dumps(made.listing(), ensure_ascii=False).encode()
