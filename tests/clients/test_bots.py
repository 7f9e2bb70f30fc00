"""AIYA, koishi and small fleets: bots and balancers in front of the server.

runpod's worker is in `conftest.server`.
"""

from typing import Any

import httpx
import pytest

from .calls import (
    IMG2IMG,
    OPTIONS,
    SD15_HASH,
    SMALL,
    TXT2IMG,
    data_uri,
    encoded,
    info,
    is_drawn,
    noise,
    posted,
)


def test_aiya_starts(http: httpx.Client) -> None:
    """What it asks for before it takes its first order."""

    def listed(path: str) -> Any:
        return http.get(f"/sdapi/v1/{path}").json()

    assert http.get("/").status_code == http.head("/").status_code == 200
    assert listed("cmd-flags")["api"] is True
    login = http.post("/login", data={"username": "", "password": ""})
    assert (login.status_code, login.json()) == (200, {"success": True})
    assert {each["name"] for each in listed("samplers")} > {"Euler a", "DDIM"}
    assert listed("prompt-styles")[0]["name"] == "Tiny wrap"
    assert [each["name"] for each in listed("face-restorers")] == ["CodeFormer", "GFPGAN"]
    shapes = {each["shape"] for kind in listed("embeddings").values() for each in kind.values()}
    assert shapes == {16}
    assert listed("hypernetworks") == []
    assert listed("upscalers")[0]["name"] == "None"
    assert {each["model_name"] for each in listed("sd-models")} == {"tiny-sd15", "tiny-vpred"}


def test_aiya_reads_networks_and_upscalers_from_the_layout_of_the_page(http: httpx.Client) -> None:
    layout = http.get("/config").json()
    choices = {
        each["props"].get("elem_id"): each["props"].get("choices") for each in layout["components"]
    }

    networks, upscalers = choices["setting_sd_lora"], choices["txt2img_hr_upscaler"]
    networks.remove("")
    networks.remove("None")
    assert sorted(networks) == ["tinylora", "tinylora2"]
    assert {"Latent", "Lanczos", "None"} <= set(upscalers)


AIYA = {
    "prompt": "1 girl",
    "negative_prompt": "",
    "steps": 3,
    "width": 64,
    "height": 64,
    "cfg_scale": "7.0",
    "sampler_index": "Euler a",
    "seed": 7,
    "seed_resize_from_h": -1,
    "seed_resize_from_w": -1,
    "denoising_strength": None,
    "tiling": False,
    "n_iter": 2,
    "styles": ["None"],
    "override_settings": {"CLIP_stop_at_last_layers": 2, "face_restoration_model": "None"},
}


def test_aiya_draws_and_asks_what_it_has_drawn(http: httpx.Client) -> None:
    assert http.post(OPTIONS, json={"sd_model_checkpoint": "tiny-sd15"}).status_code == 200

    drawn = posted(http, TXT2IMG, AIYA)

    assert [is_drawn(each) for each in drawn["images"]] == [True, True]
    assert info(drawn)["all_seeds"] == [7, 8]
    assert info(drawn)["prompt"] == "1 girl"
    assert info(drawn)["clip_skip"] == 2
    for i, picture in enumerate(drawn["images"]):
        told = posted(http, "/sdapi/v1/png-info", {"image": f"data:image/png;base64,{picture}"})
        assert told["info"] == info(drawn)["infotexts"][i]
        assert told["parameters"]["Seed"] == str(7 + i)


def test_aiya_draws_in_a_style_and_from_a_picture(http: httpx.Client) -> None:
    styled = {**AIYA, "styles": ["Tiny append"], "n_iter": 1}
    init = {"init_images": [data_uri(noise())], "denoising_strength": 0.6}

    assert info(posted(http, TXT2IMG, styled))["prompt"] == "1 girl, oil painting, vivid"
    drawn = posted(http, IMG2IMG, styled | init)
    assert is_drawn(drawn["images"][0])
    assert info(drawn)["denoising_strength"] == 0.6


def test_aiya_enlarges(http: httpx.Client) -> None:
    body = {"resize_mode": 0, "upscaling_resize": "2.0", "upscaler_1": "Lanczos"}

    answer = posted(http, "/sdapi/v1/extra-single-image", {**body, "image": data_uri(noise())})

    assert is_drawn(answer["image"], (128, 128))


def test_koishi_draws(http: httpx.Client) -> None:
    headers = {"Authorization": "Bearer undefined"}
    body = {
        "prompt": "1 girl",
        "seed": 12,
        "n_samples": 1,
        "uc": "bad",
        "negative_prompt": "bad",
        "sampler_index": "DPM++ 2M Karras",
        "scale": 11,
        "cfg_scale": 11,
        "steps": 3,
        "width": 64,
        "height": 64,
        "save_images": True,
    }
    drawn = http.post(TXT2IMG, json=body, headers=headers).json()
    from_picture = {"init_images": [data_uri(noise(), "JPEG")], "denoising_strength": 0.7}
    again = http.post(IMG2IMG, json=body | from_picture, headers=headers).json()

    assert is_drawn(drawn["images"][0])
    assert is_drawn(again["images"][0])
    assert info(drawn)["sampler_name"] == "DPM++ 2M"
    assert "Schedule type: Karras, CFG scale: 11.0, Seed: 12" in info(drawn)["infotexts"][0]
    assert "n_samples" not in drawn["parameters"]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_bots_send_bare_base64(http: httpx.Client, kind: str) -> None:
    body = {**SMALL, "init_images": [encoded(noise(), kind)]}

    assert is_drawn(posted(http, IMG2IMG, body)["images"][0])


#: Txt2ImgRequest of stable-diffusion-drawbridge-api 1.4, which sends each of its defaults
DRAWBRIDGE: dict[str, Any] = {
    "styles": [],
    "subseed": -1,
    "subseed_strength": 0,
    "seed_resize_from_h": -1,
    "seed_resize_from_w": -1,
    "sampler_name": "Euler a",
    "batch_size": 1,
    "n_iter": 1,
    "cfg_scale": 7,
    "restore_faces": False,
    "tiling": False,
    "do_not_save_samples": False,
    "do_not_save_grid": False,
    "eta": 0,
    "denoising_strength": 1,
    "s_min_uncond": 0,
    "s_churn": 0,
    "s_tmax": 0,
    "s_tmin": 0,
    "s_noise": 0,
    "override_settings": {},
    "override_settings_restore_afterwards": False,
    "refiner_checkpoint": "",
    "refiner_switch_at": 0,
    "disable_extra_networks": False,
    "comments": {},
    "sampler_index": "Euler a",
    "script_name": "",
    "script_args": [],
    "send_images": True,
    "save_images": True,
    "alwayson_scripts": {},
    "scheduler": "Automatic",
}
OF_TXT2IMG = {
    "enable_hr": False,
    "firstphase_width": 0,
    "firstphase_height": 0,
    "hr_scale": 2,
    "hr_upscaler": "",
    "hr_second_pass_steps": 10,
    "hr_resize_x": 0,
    "hr_resize_y": 0,
    "hr_checkpoint_name": "",
    "hr_sampler_name": "",
    "hr_prompt": "",
    "hr_negative_prompt": "",
}
OF_IMG2IMG = {
    "denoising_strength": 0.75,
    "resize_mode": 0,
    "image_cfg_scale": 0,
    "mask": None,
    "mask_blur_x": 4,
    "mask_blur_y": 4,
    "mask_blur": 0,
    "inpainting_fill": 0,
    "inpaint_full_res": True,
    "inpaint_full_res_padding": 0,
    "inpainting_mask_invert": 0,
    "initial_noise_multiplier": 0,
    "latent_mask": "",
    "include_init_images": False,
}


def test_drawbridge_sends_its_whole_model_where_empty_means_unset(http: httpx.Client) -> None:
    assert isinstance(http.get(OPTIONS).json()["sd_model_checkpoint"], str)
    assert http.get("/sdapi/v1/progress").json()["progress"] == 0.0
    body = {**DRAWBRIDGE, **OF_TXT2IMG, **SMALL}

    drawn = posted(http, TXT2IMG, body)
    enlarged = posted(http, TXT2IMG, {**body, "enable_hr": True, "denoising_strength": 0.5})
    again = posted(http, IMG2IMG, {**body, **OF_IMG2IMG, "init_images": [encoded(noise())]})

    assert is_drawn(drawn["images"][0])
    assert is_drawn(enlarged["images"][0], (128, 128))
    assert is_drawn(again["images"][0])
    assert info(drawn)["sd_model_hash"] == SD15_HASH
    assert "Refiner" not in info(drawn)["infotexts"][0]
    assert "Eta: 0" in info(drawn)["infotexts"][0]


def test_a_fleet_takes_the_measure_of_its_members(http: httpx.Client) -> None:
    """stable-diffusion-webui-distributed."""
    memory = http.get("/sdapi/v1/memory", timeout=3).json()
    assert 0 < memory["ram"]["free"] <= memory["ram"]["total"]
    assert http.get("/sdapi/v1/sd-models", timeout=5).json()
    assert {"name", "is_alwayson", "is_img2img", "args"} == http.get(
        "/sdapi/v1/script-info", timeout=5
    ).json()[0].keys()
    for path in ("refresh-checkpoints", "refresh-loras", "interrupt"):
        assert http.post(f"/sdapi/v1/{path}").status_code == 200
    assert http.post("/sdapi/v1/server-restart").status_code == 404
