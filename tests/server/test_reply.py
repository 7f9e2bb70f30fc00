"""A finished generation in the wire's words."""

import base64
import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipelines.plan import Encoding, SamplerSpec
from server import reply
from server.options import Options
from server.schemas.txt2img import Txt2ImgRequest
from server.translate import Translated

from .fakes import CHECKPOINT, image, plan

HASHED = replace(CHECKPOINT, sha256="0123456789abcdef" * 4)


def translated(options: Options | None = None, /, **changes: Any) -> Translated:
    return Translated(
        plan=replace(plan(images=2), **changes),
        options=options or Options.defaults(),
        schedule_label="Automatic",
        extra={},
        warnings=(),
    )


def test_a_plain_infotext() -> None:
    assert reply.describe(translated(), HASHED, 1) == (
        "a\nSteps: 4, Sampler: Euler, Schedule type: Automatic, CFG scale: 7.0, Seed: 1, "
        "Size: 64x64, Model hash: 0123456789, Model: some, Version: v1.10.1"
    )


def test_every_seed_parameter_is_told() -> None:
    seeds = replace(
        plan(images=2).seeds,
        subseed_strength=0.3,
        resize_from=(64, 32),
        source="NV",
        eta_delta=31337,
    )
    told = translated(
        seeds=seeds,
        sampler=SamplerSpec(name="Euler a", schedule="automatic", steps=4),
        encoding=Encoding(clip_skip=2),
        negative_prompts=("", "b"),
    )
    text = reply.describe(told, HASHED, 1)
    assert text.startswith("a\nNegative prompt: b\nSteps: 4, Sampler: Euler a, ")
    assert text.endswith(
        "Model: some, Variation seed: 1, Variation seed strength: 0.3, Seed resize from: 64x32, "
        "Clip skip: 2, ENSD: 31337, RNG: NV, Version: v1.10.1"
    )


def test_ensd_is_told_only_where_it_is_used() -> None:
    seeds = replace(plan(images=2).seeds, eta_delta=31337)
    assert "ENSD" not in reply.describe(translated(seeds=seeds), HASHED, 0)


def test_extra_parameters_keep_the_place_of_a_known_key() -> None:
    told = replace(translated(), extra={"Eta": 0.5, "Schedule type": "Karras"})
    text = reply.describe(told, HASHED, 0)
    assert "Sampler: Euler, Schedule type: Karras, CFG scale" in text
    assert "Model: some, Eta: 0.5, Version" in text


def test_settings_leave_fields_out() -> None:
    options, _ = Options.defaults().with_overrides(
        dict.fromkeys(
            ("add_model_hash_to_info", "add_model_name_to_info", "add_version_to_infotext"), False
        )
    )
    assert reply.describe(translated(options), HASHED, 0).endswith("Size: 64x64")


def test_info_is_json_text_without_a_hash_before_hashing() -> None:
    request = Txt2ImgRequest(prompt="é", styles=["x"])
    text = reply.info(request, translated(prompts=("é", "é")), CHECKPOINT, ["t", "u"], "20260101")
    assert "\\u00e9" in text
    info = json.loads(text)
    assert info["all_prompts"] == ["é", "é"]
    assert info["all_seeds"] == [0, 1]
    assert info["sd_model_hash"] is None
    assert info["styles"] == ["x"]
    assert info["infotexts"] == ["t", "u"]
    assert info["job_timestamp"] == "20260101"


@pytest.mark.parametrize(("fmt", "kind"), [("png", "PNG"), ("jpg", "JPEG"), ("webp", "WEBP")])
def test_pictures_are_written_in_the_servers_format(fmt: str, kind: str) -> None:
    writing, _ = Options.defaults().with_overrides({"samples_format": fmt})
    texts = reply.encoded([image(level=200)], ["hello"], Options.defaults(), writing)
    opened = Image.open(io.BytesIO(base64.b64decode(texts[0])))
    assert opened.format == kind
    assert abs(int(np.asarray(opened).mean()) - 200) <= 3


def test_the_infotext_can_be_left_out_of_the_picture() -> None:
    without, _ = Options.defaults().with_overrides({"enable_pnginfo": False})
    for options, wanted in ((Options.defaults(), {"parameters": "hello"}), (without, {})):
        text = reply.encoded([image()], ["hello"], options, Options.defaults())[0]
        assert Image.open(io.BytesIO(base64.b64decode(text))).info == wanted


@pytest.mark.parametrize(("grid", "size"), [(True, (16, 8)), (False, (8, 8))])
def test_a_preview_shows_the_batch(grid: bool, size: tuple[int, int]) -> None:
    options, _ = Options.defaults().with_overrides({"show_progress_grid": grid})
    pixels = np.stack([image(level=10).pixels, image(level=90).pixels])
    shown = Image.open(io.BytesIO(base64.b64decode(reply.preview(pixels, options))))
    assert shown.size == size
    assert shown.getpixel((0, 0)) == (10, 10, 10)


def test_headers_are_safe_whatever_the_client_sent() -> None:
    headers = reply.headers("a\r\nb", ["é" * 2000])
    assert headers["X-Task-Id"] == "a\\r\\nb"
    assert headers["X-Darkroom-Warning"].isascii()
    assert len(headers["X-Darkroom-Warning"]) == 1000
    assert "X-Darkroom-Warning" not in reply.headers("a", [])
