"""Names of saved pictures, by their patterns and whatever clients put into those."""

import hashlib
import os
import re
import zoneinfo
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from server.naming import LONGEST_NAME, Facts, folders, name

FACTS = Facts(
    image=Image.new("RGB", (64, 48), (1, 2, 3)),
    seed=1235,
    seeds=(1234, 1235, 1236),
    prompt="a cat, sitting: on/a <lora:x:1> chair",
    negative_prompt="bad",
    raw_prompt="a cat",
    styles=("None", "Noir"),
    steps=20,
    cfg=7.0,
    sampler="DPM++ 2M",
    schedule="Karras",
    model_name="tiny sd15",
    model_hash="0123456789",
    vae_name="vae-ft.safetensors",
    clip_skip=2,
    denoising=0.5,
    position=3,
    batch_size=2,
    batch_count=2,
    job_timestamp="20240131101112",
    prompt_words=2,
    saved=datetime(2024, 1, 31, 10, 11, 12, tzinfo=UTC),
)


def sha(text: str, length: int = 8) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:length]


@pytest.mark.parametrize(
    ("pattern", "made"),
    [
        ("", ""),
        ("plain", "plain"),
        ("[seed]", "1235"),
        ("x[SEED]y", "x1235y"),
        ("[seed_first]-[seed_last]", "1234-1236"),
        ("[steps]_[cfg]_[width]x[height]", "20_7.0_64x48"),
        ("[styles]", "Noir"),
        ("[sampler]|[scheduler]|[sampler_scheduler]", "DPM++ 2M_Karras_DPM++ 2M Karras"),
        ("[model_name] [model_hash]", "tiny sd15 0123456789"),
        ("[job_timestamp]", "20240131101112"),
        ("[datetime<%Y %H.%M><UTC>]", "2024 10.11"),
        ("[datetime<><UTC>]", "20240131101112"),
        ("[datetime<%d><utc>]", "31"),
        ("[prompt]", "a_cat,_sitting__on_a__lora_x_1__chair"),
        ("[prompt_spaces]", "a cat, sitting_ on_a _lora_x_1_ chair"),
        ("[prompt_no_styles]", "a cat"),
        ("[prompt_words]", "a cat"),
        ("[prompt_hash]", sha(FACTS.prompt)),
        ("[prompt_hash<3>]", sha(FACTS.prompt, 3)),
        ("[prompt_hash<many>]", sha(FACTS.prompt)),
        ("[negative_prompt_hash]", sha("bad")),
        ("[full_prompt_hash]", sha(FACTS.prompt + " bad")),
        ("[image_hash<4>]", hashlib.sha256(FACTS.image.tobytes()).hexdigest()[:4]),
        ("[batch_number] of [batch_size]", "2 of 2"),
        ("[generation_number]", "4"),
        ("[hasprompt<Cat|no cat><dog|-no dog><chair>]", "cat-no dogchair"),
        ("[clip_skip] [denoising]", "2 0.5"),
        ("[vae_filename]", "vae-ft"),
        ("a[user]b[none]c", "abc"),
        ("[basename]", "img"),
        ("[unknown]-[seed", "[unknown]-[seed"),
        ("[seed>1]", "[seed_1]"),
        ("[unknown<1>]", "[unknown_1_]"),
        ("sub/[seed]\\x", "sub_1235_x"),
        ("..", ""),
        ("con", "_con"),
        ("NUL.txt", "_NUL.txt"),
        ("[seed]. . ", "1235"),
    ],
)
def test_patterns(pattern: str, made: str) -> None:
    assert name(pattern, FACTS) == made


def test_time_zones() -> None:
    try:
        zoneinfo.ZoneInfo("Asia/Tokyo")
    except zoneinfo.ZoneInfoNotFoundError:
        pytest.skip("this machine knows no time zones")
    assert name("[datetime<%H><Asia/Tokyo>]", FACTS) == "19"
    here = FACTS.saved.astimezone().strftime("%H")
    assert name("[datetime<%H><../etc/passwd>]-[datetime<%H><No/Where>]", FACTS) == f"{here}-{here}"


@pytest.mark.parametrize(
    ("pattern", "changes", "made"),
    [
        ("[seed]-batch [batch_number]", {"batch_size": 1}, "1235"),
        ("[seed]-no [generation_number]!", {"batch_size": 1, "batch_count": 1}, "1235!"),
        ("[seed]-no [generation_number]", {"batch_size": 1}, "1235-no 4"),
        ("d[denoising]-[steps]", {"denoising": None}, "-20"),
        ("[styles]", {"styles": ()}, "None"),
        ("[prompt_words]", {"prompt": " ,.; "}, "empty"),
        ("[vae_filename]", {"vae_name": None}, "NoneType"),
        ("[vae_filename]", {"vae_name": ".hidden.pt"}, "hidden"),
        ("[model_hash]", {"model_hash": None}, ""),
        ("[prompt]", {"prompt": "é" * 500}, "é" * 100),
        ("[prompt]", {"prompt": "x" * 500}, "x" * 128),
        ("[prompt]", {"prompt": "a\r\nb\0c\u202ed\ud800"}, "a__b_c_d_"),
        ("[prompt]", {"prompt": "../../etc/passwd"}, ".._.._etc_passwd"),
    ],
)
def test_patterns_where_something_is_missing(
    pattern: str, changes: dict[str, Any], made: str
) -> None:
    assert name(pattern, replace(FACTS, **changes)) == made


@pytest.mark.parametrize(
    ("pattern", "made"),
    [
        ("[date]", ("2024-01-31",)),
        ("[model_name]/[sampler]", ("tiny sd15", "DPM++ 2M")),
        ("/abs//./../[seed]/", ("abs", "1235")),
        ("C:\\[seed]", ("C_", "1235")),
        ("[prompt]/x", ("a_cat,_sitting__on_a__lora_x_1__chair", "x")),
        ("", ()),
        ("a/" * 20, ("a",) * 8),
    ],
)
def test_folders(pattern: str, made: tuple[str, ...]) -> None:
    assert folders(pattern, FACTS) == made


WORDS = st.sampled_from(
    ["[prompt]", "[seed]", "[hasprompt<a|", ">]", "[datetime<", "%s", "><", "..", "/", "\\", "[",
     "]", "<", ">", "[date]", "[image_hash<", "[batch_number]", "\0", "\n", " ", ".", "con", "~"]
)  # fmt: skip
PATTERNS = st.lists(st.one_of(WORDS, st.text(max_size=8)), max_size=12).map("".join)


@settings(max_examples=300, deadline=None)
@given(pattern=PATTERNS, prompt=st.text(max_size=300), batch_size=st.integers(1, 3))
def test_no_pattern_leaves_its_folder(pattern: str, prompt: str, batch_size: int) -> None:
    facts = replace(FACTS, prompt=prompt, batch_size=batch_size)
    root = Path("/data/outputs")
    for part in (*folders(pattern, facts), f"00000-{name(pattern, facts)}"):
        assert part not in ("", ".", "..")
        assert len(os.fsencode(part)) <= LONGEST_NAME + 7
        assert not re.search(r'[/\\:*?"<>|\x00-\x1f]', part)
        assert os.path.normpath(root / part) == str(root / part)
