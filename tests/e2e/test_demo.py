"""What each feature does to the demo's pictures, asked as a client asks.

The measures are the card's (`models/demo/measures.py`), with fewer questions; that a server without
the feature fails them is tested beside them (`tests/models/demo/test_measures.py`).
"""

from collections.abc import Iterator

import numpy as np
import pytest

from models.demo import measures
from models.demo.client import Client, Picture
from models.demo.judge import KINDS, judge, questions, silhouette
from models.demo.world.single import Subject, canonical

from .launched import Launched

QUESTIONS = 5


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("demo")
    launched = Launched(
        folder / "log", "--data-dir", str(folder), *measures.FLAGS, "--use-cpu", "all", "--api"
    )
    yield Client(url=f"http://127.0.0.1:{launched.port}")
    launched.process.kill()
    launched.process.wait()


def place_of(picture: Picture) -> tuple[float, float]:
    """The centre of what stands on the ground, in pixels."""
    rows, columns = np.nonzero(silhouette(picture))
    return float(rows.mean()), float(columns.mean())


def test_a_prompt_is_drawn_in_english_and_in_chinese(client: Client) -> None:
    every = questions()
    kinds = ([one for one in every if one.kind == kind][:4] for kind in KINDS)
    asked = [one for kind in kinds for one in kind]
    verdicts = [
        judge(client.txt2img(question.prompt, seed), question.subject, question.count)
        for seed, question in enumerate(asked)
    ]
    assert sum(verdict.both for verdict in verdicts) >= 10
    assert sum(verdict.shape for verdict in verdicts) >= 8
    assert sum(verdict.count for verdict in verdicts) >= 8


def test_words_for_places_are_followed(client: Client) -> None:
    left, right, top, bottom = (
        place_of(client.txt2img(f"a blue circle {where} on a yellow background", 5))
        for where in ("on the left", "on the right", "at the top", "at the bottom")
    )
    assert left[1] < 52 < 76 < right[1]
    assert top[0] < 52 < 76 < bottom[0]


def test_a_negative_prompt_removes(client: Client) -> None:
    shares = measures.negative(client, QUESTIONS)
    assert shares["the named ground goes"] >= 0.8
    assert shares["the shape's colour stays"] >= 0.6


def test_emphasis_shows(client: Client) -> None:
    shares = measures.emphasis(client, QUESTIONS)
    assert min(shares.values()) >= 0.6


def test_a_seed_is_one_picture_and_another_seed_another_of_the_same(client: Client) -> None:
    prompt = "a yellow star on a purple background"
    first, again, other = (client.txt2img(prompt, seed) for seed in (41, 41, 42))
    assert np.array_equal(first, again)
    assert np.abs(first.astype(int) - other.astype(int)).max() > 100
    subject = Subject(shape="star", foreground="yellow", background="purple")
    assert all(judge(picture, subject).both for picture in (first, other))


def test_img2img_s_strength_is_how_far_it_goes(client: Client) -> None:
    shares = measures.img2img(client, QUESTIONS)
    assert min(shares.values()) >= 0.8
    given = canonical(Subject(shape="heart", foreground="red", background="white")).draw(128)
    asked = "a blue heart on a yellow background"
    moved = [
        measures.distance(client.img2img(given, asked, 9, denoising_strength=strength), given)
        for strength in (0.1, 0.5, 0.9)
    ]
    assert 3 * moved[0] < moved[1] < moved[2] + 5


def test_inpainting_paints_inside_the_mask_alone(client: Client) -> None:
    shares = measures.inpainting(client, QUESTIONS)
    assert shares["both colours"] >= 0.6
    assert shares["the rest untouched"] == 1


def test_the_inpainting_model_fills_a_hole_without_a_seam(client: Client) -> None:
    shares = measures.inpainting_variant(client, QUESTIONS)
    assert min(shares.values()) >= 0.8


def test_a_lora_adds_its_frame(client: Client) -> None:
    shares = measures.lora(client, QUESTIONS)
    assert min(shares.values()) >= 0.8


def test_a_textual_inversion_means_its_picture(client: Client) -> None:
    shares = measures.embedding(client, QUESTIONS)
    assert shares["the learnt colours"] >= 0.8
    assert shares["the learnt shape"] >= 0.6


def test_the_hires_fix_keeps_what_was_asked(client: Client) -> None:
    shares = measures.hires(client, 3)
    assert min(shares.values()) >= 0.6
