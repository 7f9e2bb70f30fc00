"""One embedding from each kind of file; what is none is refused in one line."""

import base64
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from torch import Tensor

from models.embeddings.files import EmbeddingFile
from models.embeddings.reading import BadEmbedding, read_embedding
from models.embeddings.table import Embedding

from .made import TINY, VECTORS, pickled, trained
from .test_pictures import as_json, compressed, in_pixels, picture, saved, with_text


def read(path: Path, content: bytes | None = None, *, hashing: bool = True) -> Embedding:
    if content is not None:
        path.write_bytes(content)
    stat = path.stat()
    file = EmbeddingFile(path=path, size=stat.st_size, mtime_ns=stat.st_mtime_ns)
    found = read_embedding(file, hashing=hashing)
    assert found is not None
    return found


def refused(path: Path, content: bytes) -> str:
    with pytest.raises(BadEmbedding) as caught:
        read(path, content)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_reference_s_files_and_their_hashes() -> None:
    emb, pt = read(TINY / "tinyemb.safetensors"), read(TINY / "tinypt.pt")
    assert (emb.name, emb.count, emb.widths, emb.step) == ("tinyemb", 3, (16,), None)
    assert (pt.name, pt.count, pt.widths, pt.step) == ("tinypt", 2, (16,), 500)
    assert (emb.short_hash, pt.short_hash) == ("fb3af83e4419", "9c721d426ec6")
    assert pt.tensors[0][0, :2].tolist() == pytest.approx([-0.2745, -0.7091], abs=1e-4)
    assert emb.tensors[0][0, 0].item() == pytest.approx(-0.5946, abs=1e-4)


def test_without_hashing_there_is_no_hash() -> None:
    assert read(TINY / "tinypt.pt", hashing=False).short_hash is None


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.pt", lambda: pickled(trained())),
        ("a.PT", lambda: pickled(trained(), archive=False)),
        ("a.bin", lambda: pickled({"<cat>": VECTORS})),
        ("a.bin", lambda: pickled({"<cat>": torch.nn.Parameter(VECTORS)})),
        ("a.pt", lambda: pickled(trained(torch.nn.Parameter(VECTORS)))),
        ("a.pt", lambda: pickled({"string_to_param": torch.nn.ParameterDict({"*": VECTORS})})),
        ("a.safetensors", lambda: save({"emb_params": VECTORS})),
        ("a.safetensors", lambda: save({"<cat>": VECTORS}, {"format": "pt"})),
        ("a.png", lambda: with_text(base64.b64encode(as_json(trained())).decode())),
        ("a.webp", lambda: saved(in_pixels(compressed(trained()), picture()), "WEBP", lossless=1)),
    ],
)
def test_every_kind_of_file_is_read(
    tmp_path: Path, name: str, content: Callable[[], bytes]
) -> None:
    found = read(tmp_path / name, content())
    assert (found.name, found.path) == ("a", tmp_path / name)
    (vectors,) = found.tensors
    assert torch.equal(vectors, VECTORS)
    assert found.short_hash == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()[:12]


def test_sdxl_files_have_vectors_for_both_encoders(tmp_path: Path) -> None:
    both = {"clip_g": torch.ones(2, 1280), "clip_l": torch.zeros(2, 768)}
    for name, content in (("a.safetensors", save(both)), ("a.pt", pickled(both))):
        found = read(tmp_path / name, content)
        assert (found.count, found.widths) == (2, (768, 1280))
        assert [tensor.mean().item() for tensor in found.tensors] == [0, 1]
    both["clip_l"] = torch.zeros(3, 768)
    assert "not as many vectors" in refused(tmp_path / "a.safetensors", save(both))


def test_one_vector_may_stand_alone(tmp_path: Path) -> None:
    found = read(tmp_path / "a.bin", pickled({"<cat>": VECTORS[0]}))
    assert found.tensors[0].shape == (1, 16)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_vectors_become_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    for name, content in (
        ("a.pt", pickled({"a": VECTORS.to(dtype)})),
        ("a.safetensors", save({"a": VECTORS.to(dtype)})),
    ):
        (vectors,) = read(tmp_path / name, content).tensors
        assert vectors.dtype == torch.float32
        assert torch.equal(vectors, VECTORS)


def test_a_view_into_more_is_copied(tmp_path: Path) -> None:
    (vectors,) = read(tmp_path / "a.pt", pickled({"a": torch.zeros(100, 32)[:2, ::2]})).tensors
    assert vectors.shape == (2, 16)
    assert vectors.untyped_storage().nbytes() == 2 * 16 * 4


def test_what_the_trainer_wrote_down_is_kept(tmp_path: Path) -> None:
    said: dict[str, Any] = {
        "step": 12,
        "sd_checkpoint": "0a1b",
        "sd_checkpoint_name": "modèle",
        "name": "inner",
    }
    found = read(tmp_path / "outer.pt", pickled(trained(**said)))
    assert (found.step, found.sd_checkpoint, found.sd_checkpoint_name) == (12, "0a1b", "modèle")
    assert found.name == "outer", "a file of weights is called as the file is"


@pytest.mark.parametrize("value", [[1], 1.5, True, -1, 2**60, b"x", "", "\ud800", "x" * 1001])
def test_what_json_could_not_carry_is_left_out(tmp_path: Path, value: Any) -> None:
    said = {"step": value, "sd_checkpoint": value, "sd_checkpoint_name": value}
    found = read(tmp_path / "a.pt", pickled(trained(**said)))
    assert (found.step, found.sd_checkpoint, found.sd_checkpoint_name) == (None, None, None)


@pytest.mark.parametrize(("inner", "name"), [("said", "said"), ("", "file"), (7, "file")])
def test_a_picture_s_own_name_goes_first(tmp_path: Path, inner: object, name: str) -> None:
    text = base64.b64encode(as_json(trained(name=inner, step=3))).decode()
    found = read(tmp_path / "file.png", with_text(text))
    assert (found.name, found.step) == (name, 3)


def test_a_plain_picture_is_no_embedding(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(saved(picture()))
    file = EmbeddingFile(path=path, size=path.stat().st_size, mtime_ns=0)
    assert read_embedding(file, hashing=True) is None


@pytest.mark.parametrize(
    ("vectors", "reason"),
    [
        (torch.zeros(2, 16, dtype=torch.int64), "torch.int64"),
        (torch.zeros(2, 16, dtype=torch.complex64), "torch.complex64"),
        (torch.zeros(2, 16, 1), "shape (2, 16, 1)"),
        (torch.tensor(1.0), "shape ()"),
        (torch.zeros(0, 16), "shape (0, 16)"),
        (torch.zeros(2, 0), "shape (2, 0)"),
        (torch.full((1, 16), float("nan")), "not numbers"),
        (torch.full((1, 16), 1e300, dtype=torch.float64), "infinite"),
        (torch.zeros(1).expand(2**40, 16), "shape (1099511627776, 16) in"),
        (torch.zeros(2, 16).to_sparse(), "no tensor of numbers"),
        (torch.empty(2, 16, device="meta"), "no tensor of numbers"),
    ],
)
def test_odd_tensors_are_refused(tmp_path: Path, vectors: Tensor, reason: str) -> None:
    assert reason in refused(tmp_path / "a.pt", pickled({"a": vectors}))
    assert reason in refused(tmp_path / "a.pt", pickled(trained(vectors)))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({}, "0 terms"),
        ({"a": 1, "b": "x"}, "0 terms"),
        ({"a": VECTORS, "b": VECTORS}, "2 terms"),
        ({"string_to_param": {"*": VECTORS, "+": VECTORS}}, "2 terms"),
        ({"string_to_param": {}}, "0 terms"),
        ({"string_to_param": 3}, "0 terms"),
        ({"string_to_param": {"*": "x"}}, "no tensor"),
        ({"clip_l": VECTORS, "clip_g": 1}, "no tensor"),
        ([VECTORS], "no table"),
        (VECTORS, "no table"),
    ],
)
def test_other_contents_are_refused(tmp_path: Path, content: object, reason: str) -> None:
    assert reason in refused(tmp_path / "a.pt", pickled(content))


def test_other_safetensors_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    assert "I64" in refused(path, save({"a": torch.zeros(2, 16, dtype=torch.int64)}))
    assert "2 terms" in refused(path, save({"a": VECTORS, "b": VECTORS + 1}))
    assert "cut off" in refused(path, save({"a": VECTORS})[:-1])
    assert "pickle" in refused(path, pickled(trained()))


def test_large_files_are_not_read(tmp_path: Path) -> None:
    for name in ("a.pt", "a.safetensors", "a.png"):
        path = tmp_path / name
        with path.open("wb") as file:
            file.truncate(2**40)
        with pytest.raises(BadEmbedding, match="1099511627776 bytes; at most"):
            read(path)


def test_a_file_that_has_gone_or_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "b.pt").mkdir()
    for name in ("a.pt", "a.safetensors", "a.png", "b.pt"):
        file = EmbeddingFile(path=tmp_path / name, size=9, mtime_ns=0)
        with pytest.raises(BadEmbedding):
            read_embedding(file, hashing=True)


def test_a_name_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.pt"))
    assert "UTF-8" in refused(path, pickled(trained()))
