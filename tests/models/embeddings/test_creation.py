"""New embeddings begin as the tokens of a text, and are read back as any other."""

import errno
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from models.embeddings.creation import create_embedding
from models.embeddings.files import BadCreation, NewEmbedding, find_files
from models.embeddings.reading import read_embedding
from models.errors import CheckpointError
from models.families.tokenizer import ClipTokenizer

from ..families.tiny_xl import write_tiny
from ..files import REFERENCE

CHECKPOINT = REFERENCE / "Stable-diffusion" / "tiny-sd15.safetensors"
TABLE = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"


def create(folder: Path, checkpoint: Path = CHECKPOINT, **wanted: object) -> Path:
    asked = NewEmbedding(**({"name": "made", "count": 2} | wanted))  # type: ignore[arg-type]
    return create_embedding(folder, asked, checkpoint, allow_pickle=False)


def vectors(folder: Path) -> torch.Tensor:
    (file,) = find_files([folder])
    read = read_embedding(file, hashing=False)
    assert read is not None
    (tensor,) = read.tensors
    return tensor


def rows(text: str) -> torch.Tensor:
    return load_file(CHECKPOINT)[TABLE][ClipTokenizer().encode(text)].float()


def test_tokens_are_spread_over_the_vectors(tmp_path: Path) -> None:
    path = create(tmp_path, count=5, text="a cat")
    first, second = rows("a cat")
    assert path == tmp_path / "made.pt"
    assert torch.equal(vectors(tmp_path), torch.stack([first, first, first, second, second]))


def test_a_text_longer_than_the_vectors_is_cut(tmp_path: Path) -> None:
    create(tmp_path, count=2, text="one two three four")
    assert torch.equal(vectors(tmp_path), rows("one two"))


def test_no_text_begins_at_zero(tmp_path: Path) -> None:
    create(tmp_path, count=3, text=" ")
    assert torch.equal(vectors(tmp_path), torch.zeros(3, 16))


def test_what_trainers_look_for_is_written(tmp_path: Path) -> None:
    content = torch.load(create(tmp_path, name="my ñ-name_1.0"), weights_only=True)
    assert content.pop("string_to_param")["*"].shape == (2, 16)
    assert content == {
        "string_to_token": {"*": 265},
        "name": "my ñ-name_1.0",
        "step": 0,
        "sd_checkpoint": None,
        "sd_checkpoint_name": None,
    }


def test_an_embedding_is_replaced_only_when_asked(tmp_path: Path) -> None:
    create(tmp_path, text="cat")
    with pytest.raises(BadCreation, match=r"^file .*/made.pt already exists$"):
        create(tmp_path, text="dog")
    assert torch.equal(vectors(tmp_path)[0], rows("cat")[0])
    create(tmp_path, text="dog", overwrite=True)
    assert torch.equal(vectors(tmp_path)[0], rows("dog")[0])
    assert [path.name for path in tmp_path.iterdir()] == ["made.pt"]


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "ev\0il", "evil\n", "<evil>"])
def test_a_name_stays_in_the_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "a" / "b"
    assert create(folder, name=name).parent == folder
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == list(folder.iterdir())


@pytest.mark.parametrize("name", ["", "..", "/", "   ", "\0", "n" * 201, "ñ" * 101])
def test_a_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadCreation, match=r"allowed are letters|at most 200 bytes"):
        create(tmp_path, name=name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("count", [0, -1, 76])
def test_only_what_fits_a_chunk_can_be_made(tmp_path: Path, count: int) -> None:
    with pytest.raises(BadCreation, match=f"{count} vectors for a token: allowed are 1 to 75"):
        create(tmp_path, count=count)


@pytest.mark.parametrize("kind", ["sdxl", "refiner", "sd2"])
def test_every_family_begins_as_its_own_tokens(tmp_path: Path, kind: str) -> None:
    checkpoint = write_tiny(tmp_path / "models" / "m.safetensors", kind)
    folder = tmp_path / "embeddings"
    create(folder, checkpoint, count=2, text="a cat")
    (file,) = find_files([folder])
    read = read_embedding(file, hashing=False)
    assert read is not None
    state = load_file(checkpoint)
    names = sorted(name for name in state if name.endswith("token_embedding.weight"))
    wanted = [state[name][ClipTokenizer().encode("a cat")].float() for name in names]
    assert len(names) == (2 if kind == "sdxl" else 1)
    assert [each.tolist() for each in read.tensors] == [each.tolist() for each in wanted]
    assert read.fits({"sdxl": (64, 128)}.get(kind, (128,)))


@pytest.mark.parametrize(("count", "words"), [(0, 49408), (3, 49408), (1, 49407)])
def test_a_checkpoint_must_have_the_tokens(tmp_path: Path, count: int, words: int) -> None:
    path = tmp_path / "odd.safetensors"
    state = {f"{n}.token_embedding.weight": torch.zeros(words, 1) for n in range(count)}
    save_file({"other": torch.zeros(1), **state}, path)
    with pytest.raises(BadCreation, match=rf"odd\.safetensors: {count} tables of tokens; known"):
        create(tmp_path, path)
    with pytest.raises(CheckpointError):
        create(tmp_path, tmp_path / "none.safetensors")


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadCreation, match="cannot be written"):
        create(tmp_path / "file" / "folder")


def test_a_disk_that_is_full_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(BadCreation, match=r"made\.pt cannot be written \(No space left"):
        create(tmp_path)
    assert list(tmp_path.iterdir()) == []
