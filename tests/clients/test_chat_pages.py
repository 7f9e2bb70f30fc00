"""Open WebUI, SillyTavern, LibreChat and text-generation-webui: pages that chat and draw."""

import base64
from contextlib import closing
from http.client import HTTPConnection

import httpx
import pytest

from tests.e2e.launched import Launched

from .calls import (
    OPTIONS,
    SD15,
    SMALL,
    TXT2IMG,
    beside,
    info,
    is_drawn,
    is_idle,
    is_sampling,
    posted,
    until,
)

#: what these clients send as Authorization to a server that asks for none
NO_CREDENTIALS = ("", "Basic ", "Basic Og==", "Bearer undefined")


@pytest.mark.parametrize("header", NO_CREDENTIALS)
def test_credentials_that_nobody_asked_for_are_ignored(server: Launched, header: str) -> None:
    """By the standard library, because httpx refuses to send some of them."""
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        connection.request("GET", OPTIONS, headers={"Authorization": header})
        assert connection.getresponse().status == 200


def test_open_webui_verifies_posts_all_settings_back_and_draws(http: httpx.Client) -> None:
    headers = {"authorization": ""}
    assert http.get(OPTIONS, headers=headers).status_code == 200
    models = http.get("/sdapi/v1/sd-models", headers=headers).json()
    wanted = {"title", "model_name", "hash", "sha256", "filename", "config"}
    assert all(wanted == each.keys() for each in models)
    other = next(each for each in models if each["model_name"] == "tiny-vpred")

    settings = http.get(OPTIONS, headers=headers).json()
    settings["sd_model_checkpoint"] = other["title"]
    answer = http.post(OPTIONS, json=settings, headers=headers)

    assert (answer.status_code, answer.json()) == (200, None)
    after = http.get(OPTIONS, headers=headers).json()
    assert after["sd_model_checkpoint"].startswith("tiny-vpred.safetensors [")
    unchanged = settings.keys() - {"sd_model_checkpoint", "sd_checkpoint_hash"}
    assert {key: after[key] for key in unchanged} == {key: settings[key] for key in unchanged}
    body = {"prompt": "1 girl", "batch_size": 2, "width": 64, "height": 64, "steps": 3}
    drawn = posted(http, TXT2IMG, {**body, "negative_prompt": ""})
    assert [is_drawn(each) for each in drawn["images"]] == [True, True]
    assert info(drawn)["sd_model_name"] == "tiny-vpred"
    assert f"[{info(drawn)['sd_model_hash']}]" in after["sd_model_checkpoint"]


def test_silly_tavern_fills_its_lists(http: httpx.Client) -> None:
    def listed(path: str, key: str) -> list[str]:
        answer = http.get(f"/sdapi/v1/{path}", headers={"Authorization": "Basic Og=="})
        return [each[key] for each in answer.json()]

    upscalers = listed("upscalers", "name")
    upscalers[1:1] = listed("latent-upscale-modes", "name")
    assert upscalers[:2] == ["None", "Latent"]
    assert listed("sd-vae", "model_name") == []
    assert "Euler a" in listed("samplers", "name")
    assert {"karras", "automatic", "sgm_uniform"} <= set(listed("schedulers", "name"))
    assert any(title.startswith(SD15) for title in listed("sd-models", "title"))


def test_silly_tavern_switches_the_model_and_draws_with_what_it_has(http: httpx.Client) -> None:
    auth = {"Authorization": "Basic " + base64.b64encode(b":").decode()}
    assert http.post(OPTIONS, json={"sd_model_checkpoint": SD15}, headers=auth).status_code == 200
    until(lambda: is_idle(http))
    body = {
        "url": "http://127.0.0.1:7860",
        "auth": "",
        "prompt": "1 girl",
        "negative_prompt": "bad",
        "sampler_name": "DPM++ 2M",
        "scheduler": "karras",
        "steps": 3,
        "cfg_scale": 7,
        "width": 64,
        "height": 64,
        "restore_faces": False,
        "enable_hr": True,
        "hr_upscaler": "Latent (nearest)",
        "hr_scale": 1.5,
        "denoising_strength": 0.7,
        "hr_second_pass_steps": 0,
        "override_settings": {"CLIP_stop_at_last_layers": 2, "sd_vae": "Automatic"},
        "override_settings_restore_afterwards": True,
        "clip_skip": 2,
        "save_images": True,
        "send_images": True,
        "do_not_save_grid": False,
        "do_not_save_samples": False,
    }

    drawn = http.post(TXT2IMG, json=body, headers=auth).json()

    assert is_drawn(drawn["images"][0], (96, 96))
    assert info(drawn)["clip_skip"] == 2
    assert "Hires upscaler: Latent (nearest)" in info(drawn)["infotexts"][0]
    assert "Schedule type: Karras" in info(drawn)["infotexts"][0]
    assert not {"url", "auth", "clip_skip"} & drawn["parameters"].keys()
    assert http.get(OPTIONS).json()["CLIP_stop_at_last_layers"] == 1


def test_silly_tavern_stops_a_picture(http: httpx.Client) -> None:
    job = beside(lambda: posted(http, TXT2IMG, {**SMALL, "steps": 1000, "n_iter": 9}))
    until(lambda: is_sampling(http))

    assert http.post("/sdapi/v1/interrupt").json() == {}

    assert len(job.result()["images"]) == 1
    until(lambda: is_idle(http))


def test_libre_chat_reads_what_was_drawn_from_info(http: httpx.Client) -> None:
    """Its body but for the size, which is 1024x1024."""
    body = {"prompt": "1 girl", "negative_prompt": "bad", "cfg_scale": 4.5, "steps": 22}

    told = info(posted(http, TXT2IMG, {**body, "width": 64, "height": 64}))

    first, *_, last = told["infotexts"][0].split("\n")
    assert first == "1 girl"
    assert last.startswith("Steps: 22, Sampler: Euler, Schedule type: Automatic, CFG scale: 4.5,")
    assert (told["width"], told["height"]) == (64, 64)
    assert f"Seed: {told['seed']}, Size: 64x64" in last


def test_text_generation_webui_frees_the_memory_around_a_picture(http: httpx.Client) -> None:
    """The body of both calls is an empty text; hr_scale may be a text too."""
    body = {
        "prompt": "(a cat:1)",
        "seed": -1,
        "sampler_name": "DPM++ 2M Karras",
        "enable_hr": True,
        "hr_scale": "1.5",
        "hr_upscaler": "Latent",
        "denoising_strength": 0.61,
        "cfg_scale": 7,
        "width": 64,
        "height": 64,
        "steps": 3,
        "restore_faces": False,
        "override_settings_restore_afterwards": True,
    }
    assert http.post("/sdapi/v1/reload-checkpoint", json="").json() == {}

    drawn = posted(http, TXT2IMG, body)

    assert http.post("/sdapi/v1/unload-checkpoint", json="").json() == {}
    assert is_drawn(drawn["images"][0], (96, 96))
    assert drawn["parameters"]["hr_scale"] == 1.5
    assert info(drawn)["sampler_name"] == "DPM++ 2M"
    assert is_drawn(posted(http, TXT2IMG, SMALL)["images"][0])
