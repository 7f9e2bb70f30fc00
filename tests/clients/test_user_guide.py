"""The user's own calls, word for word from his guide of 2023 (webui v1.4.0), but for sizes.

His pictures are 512x512 and 560x912, minutes each on the processor that runs these tests; sizes,
and steps where he leaves 50, are smaller here. Weights of roop and rembg are not here.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from .calls import (
    IMG2IMG,
    SD15_HASH,
    TXT2IMG,
    encoded,
    info,
    is_drawn,
    levels,
    noise,
    opened,
    posted,
)

#: where his checkpoints are named, ours stand in under the same names
BRA, COUNTERFEIT = "bra_v5", "CounterfeitV30_v30"
ENDS = ("safetensors", "yaml")

FULL_TXT2IMG: dict[str, Any] = {
    "enable_hr": False,
    "denoising_strength": 0,
    "firstphase_width": 0,
    "firstphase_height": 0,
    "hr_scale": 2,
    "hr_upscaler": "string",
    "hr_second_pass_steps": 0,
    "hr_resize_x": 0,
    "hr_resize_y": 0,
    "hr_sampler_name": "string",
    "hr_prompt": "",
    "hr_negative_prompt": "",
    "prompt": "1 girl",
    "styles": ["string"],
    "seed": -1,
    "subseed": -1,
    "subseed_strength": 0,
    "seed_resize_from_h": -1,
    "seed_resize_from_w": -1,
    "sampler_name": "string",
    "batch_size": 1,
    "n_iter": 1,
    "steps": 50,
    "cfg_scale": 7,
    "width": 64,
    "height": 64,
    "restore_faces": False,
    "tiling": False,
    "do_not_save_samples": False,
    "do_not_save_grid": False,
    "negative_prompt": "string",
    "eta": 0,
    "s_min_uncond": 0,
    "s_churn": 0,
    "s_tmax": 0,
    "s_tmin": 0,
    "s_noise": 1,
    "override_settings": {"sd_model_checkpoint": f"{COUNTERFEIT}.safetensors [cbfba64e66]"},
    "override_settings_restore_afterwards": True,
    "script_args": [],
    "sampler_index": "DPM++ 2M SDE",
    "script_name": "string",
    "send_images": True,
    "save_images": False,
    "alwayson_scripts": {},
}

PROMPT = (
    "(1 boy :1.5), (90 age:1.5),(photo realistic:1.4), (hyper realistic:1.4), (realistic:1.3),"
    "(increase cinematic lighting quality:0.9), 32K,(suit: 1.5), (black top :1),"
    " (photo fidelity :1.4), white background"
)
NEGATIVE = (
    "NSFW,(worst quality:2),(low quality:2),(normal quality:2),lowres,normal quality,"
    "((monochrome)),((grayscale)),skin spots,acne,skin blemishes,age spot,(ugly:1.331),"
    "(duplicate:1.331),(morbid:1.21),(mutilated:1.21),(tranny:1.331),mutated hands,"
    "(poorly drawn hands:1.5),blurry,(bad anatomy:1.21),(bad proportion:1.331),extra limbs,"
    "(disfigured:1.331),(missing arm:1.331),(extra Legs:1.331),(fusion fingers:1.61051),"
    "(too many figers:1.61051),(unclear eyes:1.331),lowers,bad hands,missing fingers,extra digit,"
    "bad hand,missing fingers,((extra arms and legs))"
)
PORTRAIT: dict[str, Any] = {
    "resize_mode": 1,
    "prompt": PROMPT,
    "negative_prompt": NEGATIVE,
    "sampler_index": "DPM++ SDE Karras",
    "restore_faces": True,
    "width": 80,
    "height": 128,
    "cfg_scale": 8,
    "override_settings": {"sd_model_checkpoint": f"{BRA}.safetensors [ac68270450]"},
    "denoising_strength": 0.1,
}

#: what his replies have under `parameters`, of txt2img and of img2img
COMMON = set(FULL_TXT2IMG) - {key for key in FULL_TXT2IMG if key.startswith(("hr_", "firstphase"))}
OF_IMG2IMG = (COMMON - {"enable_hr"}) | {
    "init_images",
    "resize_mode",
    "image_cfg_scale",
    "mask",
    "mask_blur",
    "mask_blur_x",
    "mask_blur_y",
    "inpainting_fill",
    "inpaint_full_res",
    "inpaint_full_res_padding",
    "inpainting_mask_invert",
    "initial_noise_multiplier",
    "include_init_images",
}


@pytest.fixture(scope="module")
def his(http: httpx.Client, models: Path) -> Iterator[httpx.Client]:
    """A server that has just found checkpoints of the names that he has; none is hashed yet."""
    shelf = models / "Stable-diffusion"
    copies = [(f"tiny-vpred.{end}", f"{BRA}.{end}") for end in ENDS]
    copies += [(f"tiny-sd15.{end}", f"{COUNTERFEIT}.{end}") for end in ENDS]
    for ours, named in copies:
        shutil.copy(shelf / ours, shelf / named)
    assert http.post("/sdapi/v1/refresh-checkpoints").status_code == 200
    yield http
    for _, named in copies:
        (shelf / named).unlink()
    assert http.post("/sdapi/v1/refresh-checkpoints").status_code == 200


def test_a_checkpoint_is_listed_before_it_has_a_hash(his: httpx.Client) -> None:
    listed = his.get("/sdapi/v1/sd-models").json()

    for each in (found for found in listed if found["model_name"] in (BRA, COUNTERFEIT)):
        assert each["title"] == f"{each['model_name']}.safetensors"
        assert each["filename"].endswith(f"Stable-diffusion/{each['title']}")
        assert (each["hash"], each["sha256"]) == (None, None)
    assert {BRA, COUNTERFEIT} < {each["model_name"] for each in listed}


def test_the_full_body_of_swagger_draws(his: httpx.Client) -> None:
    """The word string where nothing was meant, and a checkpoint with the hash of another file."""
    answer = posted(his, TXT2IMG, FULL_TXT2IMG)

    assert is_drawn(answer["images"][0])
    assert FULL_TXT2IMG.keys() <= answer["parameters"].keys()
    assert answer["parameters"]["steps"] == 50
    told = info(answer)
    assert told["sd_model_name"] == COUNTERFEIT
    assert told["sd_model_hash"] == SD15_HASH
    assert told["negative_prompt"] == "string"
    # sampler_name wins over sampler_index, and "string" is no sampler: the first of the list
    assert told["sampler_name"] == "DPM++ 2M"


def test_a_prompt_alone_is_enough(his: httpx.Client) -> None:
    """`{"prompt": "1 girl"}`, with a size."""
    answer = posted(his, TXT2IMG, {"prompt": "1 girl", "width": 64, "height": 64})

    told = info(answer)
    assert is_drawn(answer["images"][0])
    assert answer["parameters"]["sampler_index"] == "Euler"
    assert (told["sampler_name"], told["steps"], told["cfg_scale"]) == ("Euler", 50, 7.0)
    assert told["infotexts"][0].startswith("1 girl\nSteps: 50, Sampler: Euler,")
    assert opened(answer["images"][0]).info["parameters"] == told["infotexts"][0]
    assert len(answer["images"]) == 1


def test_a_negative_prompt_is_told(his: httpx.Client) -> None:
    body = {"prompt": "1 girl", "negative_prompt": "nsfw", "width": 64, "height": 64, "steps": 3}

    told = info(posted(his, TXT2IMG, body))

    assert told["infotexts"][0].startswith("1 girl\nNegative prompt: nsfw\nSteps: 3,")


def test_the_portrait_before_and_after_its_checkpoint_is_hashed(his: httpx.Client) -> None:
    """img2img by a title whose hash is another's; the hash becomes known on the way."""
    body = {**PORTRAIT, "init_images": [encoded(noise(80, 128), "WEBP")], "seed": 5}

    first, second = (posted(his, IMG2IMG, body) for _ in range(2))

    told, again = info(first), info(second)
    assert is_drawn(first["images"][0], (80, 128))
    assert first["images"] == second["images"]
    assert first["parameters"].keys() >= OF_IMG2IMG
    assert first["parameters"]["init_images"] is first["parameters"]["mask"] is None
    assert first["parameters"]["sampler_index"] == "DPM++ SDE Karras"
    assert first["parameters"]["override_settings"] == PORTRAIT["override_settings"]
    assert (told["sampler_name"], told["steps"], told["seed"]) == ("DPM++ SDE", 50, 5)
    assert (told["sd_model_name"], told["denoising_strength"]) == (BRA, 0.1)
    assert (told["restore_faces"], told["face_restoration_model"]) == (True, "CodeFormer")
    assert told["all_prompts"] == [PROMPT]
    assert told["all_negative_prompts"] == [NEGATIVE]
    assert "Schedule type: Karras, CFG scale: 8.0, Seed: 5" in told["infotexts"][0]
    assert len(told["sd_model_hash"]) == 10
    assert told["sd_model_hash"] == again["sd_model_hash"] != SD15_HASH


def test_the_checkpoint_of_one_call_is_not_that_of_the_next(his: httpx.Client) -> None:
    body = {"prompt": "1 girl", "width": 64, "height": 64, "steps": 3}
    posted(his, TXT2IMG, {**body, "override_settings": {"sd_model_checkpoint": BRA}})

    assert info(posted(his, TXT2IMG, body))["sd_model_name"] == "tiny-sd15"


def test_what_was_drawn_is_read_back_and_drawn_again(his: httpx.Client) -> None:
    """The way of a user's scripts: draw, ask png-info, draw by the text."""
    body = {"prompt": "1 girl", "width": 64, "height": 64, "steps": 3, "sampler_index": "DDIM"}
    first = posted(his, TXT2IMG, body)

    text = posted(his, "/sdapi/v1/png-info", {"image": first["images"][0]})["info"]
    again = posted(his, TXT2IMG, {"infotext": text})

    assert info(again)["all_seeds"] == info(first)["all_seeds"]
    apart = levels(again["images"][0]) - levels(first["images"][0])
    assert np.abs(apart).max() <= 1


@pytest.mark.parametrize("path", [TXT2IMG, IMG2IMG])
def test_roop_without_its_weights_draws_and_tells(his: httpx.Client, path: str) -> None:
    """`[b64, true]`: a face without its prefix, and that it is on."""
    body = {
        **PORTRAIT,
        "seed": 5,
        "init_images": [encoded(noise(80, 128))],
        "alwayson_scripts": {"roop": {"args": [encoded(noise(), "WEBP"), True]}},
    }

    answer = posted(his, path, body)

    assert is_drawn(answer["images"][0], (80, 128))
    assert answer["parameters"]["alwayson_scripts"] == body["alwayson_scripts"]
    reason = info(answer)["extra_generation_params"]["Roop"]
    assert reason.startswith("not swapped: det_10g.onnx")
    assert "insightface/models/buffalo_l" in reason


def test_rembg_names_the_weights_that_it_lacks(his: httpx.Client) -> None:
    """With weights the same body is a test of tests/server/test_rembg.py."""
    body = {"image": encoded(noise()), "model": "u2net_human_seg"}

    answer = his.post("/rembg", json=body)

    assert answer.status_code == 404
    assert "put u2net_human_seg.onnx into " in answer.json()["errors"]


def test_info_is_one_text_as_python_writes_it(his: httpx.Client) -> None:
    answer = posted(his, TXT2IMG, {"prompt": "女孩", "width": 64, "height": 64, "steps": 2})

    assert json.dumps(json.loads(answer["info"])) == answer["info"]
    assert "\\u5973" in answer["info"]
