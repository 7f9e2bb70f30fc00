"""Captions of a small stand-in against transformers' own, and damaged weights."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BlipForConditionalGeneration
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from models.captioning.blip import Captioner, open_captioner
from models.captioning.files import find_blip
from models.captioning.wording import BadWording, Wording
from models.errors import CheckpointError, CorruptCheckpoint, UnsupportedCheckpoint

from .standins import SIDE, VOCABULARY, blip, picture, rewrite, tokenizer

SHORT = Wording(shortest=10, longest=30)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with a small BLIP in it."""
    models = tmp_path_factory.mktemp("models")
    blip(models / "BLIP")
    return models


@pytest.fixture
def models(saved: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may damage."""
    shutil.copytree(saved, tmp_path / "models")
    return tmp_path / "models"


def opened(models: Path, *, allow_pickle: bool = False) -> Captioner:
    return open_captioner(find_blip(models, allow_pickle=allow_pickle))


def theirs(models: Path, seed: int, **how: Any) -> str:
    """What transformers makes of the folder by itself, without the words it was begun with."""
    model: Any = BlipForConditionalGeneration.from_pretrained(
        models / "BLIP", local_files_only=True
    )
    words = models / "words.txt"
    words.write_text("\n".join(VOCABULARY), "utf-8")
    tokens = tokenizer(words)
    pixels = BlipImageProcessorPil(size={"height": SIDE, "width": SIDE})(
        images=picture(seed), return_tensors="pt"
    )
    begun = tokens("a picture of", return_tensors="pt").input_ids
    ids = model.generate(pixels["pixel_values"], input_ids=begun, do_sample=False, **how)
    text: str = tokens.decode(ids[0], skip_special_tokens=True)
    assert text.startswith("a picture of")
    return text.removeprefix("a picture of").removeprefix(" ")


@pytest.mark.parametrize("beams", [1, 3])
def test_a_caption_is_what_transformers_writes(saved: Path, beams: int) -> None:
    captioner = opened(saved)
    wording = Wording(beams=beams, shortest=10, longest=30)
    captions = [captioner.caption(picture(seed), wording) for seed in range(3)]
    assert captions == [
        theirs(saved, seed, num_beams=beams, min_length=10, max_length=30) for seed in range(3)
    ]
    assert len(set(captions)) == 3
    assert all(captions)


def test_the_length_is_kept_to(saved: Path) -> None:
    captioner = opened(saved)
    tokens = tokenizer(saved / "words.txt")
    shorter, longer = (
        captioner.caption(picture(1), Wording(shortest=1, longest=longest)) for longest in (8, 40)
    )
    # the four that it begins with count
    assert len(tokens(shorter, add_special_tokens=False).input_ids) <= 4
    assert longer.startswith(shorter)
    assert len(longer) > len(shorter)


def test_a_caption_ends_where_it_is_told_to(saved: Path) -> None:
    captioner = opened(saved)
    asked = iter([False, False, True, True, True])
    whole = captioner.caption(picture(1), SHORT)
    begun = captioner.caption(picture(1), SHORT, lambda: next(asked))
    assert whole.startswith(begun)
    assert 0 < len(begun) < len(whole)


def test_colours_alone_are_looked_at(saved: Path) -> None:
    captioner = opened(saved)
    clear = picture(1).convert("RGBA")
    clear.putalpha(0)
    assert captioner.caption(clear, SHORT) == captioner.caption(picture(1), SHORT)


def test_what_the_model_has_no_room_for_is_refused(saved: Path) -> None:
    with pytest.raises(BadWording, match="max_length is 65; allowed are 5 to 64"):
        opened(saved).caption(picture(), Wording(longest=65))


def test_half_precision_and_pickled_weights_are_read(models: Path) -> None:
    path = models / "BLIP" / "model.safetensors"
    tensors = {name: value.half() for name, value in load_file(path).items()}
    save_file(tensors, path)
    caption = opened(models).caption(picture(1), SHORT)
    path.unlink()
    torch.save(tensors, models / "BLIP" / "pytorch_model.bin")
    assert opened(models, allow_pickle=True).caption(picture(1), SHORT) == caption
    assert caption


def test_of_two_tied_tensors_either_will_do(models: Path) -> None:
    path = models / "BLIP" / "model.safetensors"
    before = opened(models).caption(picture(1), SHORT)
    tensors = load_file(path)
    words = tensors.pop("text_decoder.bert.embeddings.word_embeddings.weight")
    tensors["text_decoder.cls.predictions.decoder.weight"] = words
    tensors["text_decoder.bert.embeddings.position_ids"] = torch.arange(64)[None]
    save_file(tensors, path)
    assert opened(models).caption(picture(1), SHORT) == before


NORM = "vision_model.post_layernorm.weight"


def without(tensors: dict[str, torch.Tensor]) -> None:
    del tensors[NORM]


def misshapen(tensors: dict[str, torch.Tensor]) -> None:
    tensors[NORM] = torch.ones(3)


def whole_numbers(tensors: dict[str, torch.Tensor]) -> None:
    tensors[NORM] = tensors[NORM].to(torch.int32)


def not_numbers(tensors: dict[str, torch.Tensor]) -> None:
    tensors[NORM][0] = torch.nan


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (without, f"the tensor '{NORM}' is missing"),
        (misshapen, rf"'{NORM}' is F32 \[3\]; config.json makes it \[24\]"),
        (whole_numbers, rf"'{NORM}' is I32"),
        (not_numbers, f"'{NORM}' holds NaN"),
    ],
)
def test_a_damaged_tensor_is_named(models: Path, damage: Any, reason: str) -> None:
    path = models / "BLIP" / "model.safetensors"
    tensors = load_file(path)
    damage(tensors)
    save_file(tensors, path)
    with pytest.raises(CorruptCheckpoint, match=reason) as caught:
        opened(models)
    assert caught.value.path == path


def test_a_file_that_was_cut_off_is_named(models: Path) -> None:
    path = models / "BLIP" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CorruptCheckpoint, match="cut off"):
        opened(models)


def test_dimensions_beyond_the_file_cost_no_memory(models: Path) -> None:
    rewrite(models / "BLIP" / "config.json", text_config__vocab_size=1 << 20)
    with pytest.raises(CorruptCheckpoint, match=r"config.json makes it"):
        opened(models)


def test_dimensions_that_fit_no_model_are_named(models: Path) -> None:
    rewrite(models / "BLIP" / "config.json", vision_config__num_attention_heads=7)
    with pytest.raises(UnsupportedCheckpoint, match="no model can be built"):
        opened(models)


def test_a_folder_runs_no_code(models: Path) -> None:
    (models / "BLIP" / "evil.py").write_text("raise SystemExit('ran')", "utf-8")
    for name in ("config.json", "tokenizer_config.json"):
        rewrite(models / "BLIP" / name, auto_map={"AutoModel": "evil.Model"})
    assert opened(models).caption(picture(1), SHORT)


def test_another_vocabulary_is_named(models: Path) -> None:
    rewrite(models / "BLIP" / "tokenizer.json", model__vocab={"x": 0})
    with pytest.raises(CheckpointError, match=r"tokenizer.json: the vocabulary lacks 'a'"):
        opened(models)
