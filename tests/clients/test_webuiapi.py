"""webuiapi 0.9.17 as its users call it: every method that has a route here."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import webuiapi
from PIL import Image

from tests.e2e.launched import Launched

from .calls import SD15_HASH, beside, noise, right_half, until

SMALL = {"prompt": "1 girl", "steps": 3, "width": 64, "height": 64, "seed": 1}


@pytest.fixture
def api(server: Launched) -> webuiapi.WebUIApi:
    return webuiapi.WebUIApi(host="127.0.0.1", port=server.port)


def test_txt2img_sends_every_field(api: webuiapi.WebUIApi) -> None:
    result = api.txt2img(**SMALL, batch_size=2, n_iter=2)

    assert [image.size for image in result.images] == [(64, 64)] * 4
    assert result.info["all_seeds"] == [1, 2, 3, 4]
    assert result.info["sampler_name"] == "Euler a"
    assert result.parameters["scheduler"] == "automatic"
    assert result.parameters["eta"] == 1.0
    assert result.image.info["parameters"] == result.info["infotexts"][0]
    assert "Schedule type: Automatic" in result.info["infotexts"][0]


def test_txt2img_twice_as_large_by_hires_fix(api: webuiapi.WebUIApi) -> None:
    result = api.txt2img(**SMALL, enable_hr=True, hr_scale=2, denoising_strength=0.5)

    assert result.image.size == (128, 128)
    assert result.info["extra_generation_params"]["Hires upscaler"] == "Latent"


def test_txt2img_with_styles_and_another_sampler(api: webuiapi.WebUIApi) -> None:
    result = api.txt2img(**SMALL, styles=["Tiny wrap"], sampler_name="DPM++ 2M", scheduler="karras")

    assert result.info["prompt"] == "photo of 1 girl, highly detailed, (sharp:1.2)"
    assert result.info["styles"] == ["Tiny wrap"]
    assert result.info["sampler_name"] == "DPM++ 2M"


def test_a_seed_draws_the_same_again(api: webuiapi.WebUIApi) -> None:
    one, other = api.txt2img(**SMALL), api.txt2img(**SMALL)

    apart = np.asarray(one.image, np.int16) - np.asarray(other.image)
    assert np.abs(apart).max() <= 1


def test_img2img_keeps_what_is_not_masked(api: webuiapi.WebUIApi) -> None:
    result = api.img2img(
        images=[Image.fromarray(noise())],
        mask_image=Image.fromarray(right_half()),
        mask_blur=0,
        inpaint_full_res=False,
        **SMALL,
    )

    drawn = np.asarray(result.image)
    assert np.array_equal(drawn[:, :32], noise()[:, :32])
    assert np.abs(drawn[:, 32:].astype(int) - noise()[:, 32:]).mean() > 10
    assert result.parameters["init_images"] is None
    assert result.parameters["mask"] is None


def test_extras_enlarge_a_picture_and_a_batch(api: webuiapi.WebUIApi) -> None:
    picture = Image.fromarray(noise())

    one = api.extra_single_image(picture, upscaler_1="Lanczos", upscaling_resize=2)
    batch = api.extra_batch_images([picture, picture], upscaler_1="Nearest", upscaling_resize=3)

    assert one.image.size == (128, 128)
    assert [image.size for image in batch.images] == [(192, 192)] * 2
    assert np.array_equal(np.asarray(batch.images[0])[1::3, 1::3], noise())


def test_png_info_gives_the_text_of_a_picture_drawn(api: webuiapi.WebUIApi) -> None:
    drawn = api.txt2img(**SMALL)

    told = api.png_info(drawn.image)

    assert told.info == drawn.info["infotexts"][0]


def test_an_error_is_raised_with_its_status_and_text(api: webuiapi.WebUIApi) -> None:
    with pytest.raises(RuntimeError) as caught:
        api.txt2img(**SMALL, script_name="nothing")

    assert caught.value.args[0] == 422
    assert "Script 'nothing' not found" in caught.value.args[1]


def test_interrogation_without_its_weights_is_refused(api: webuiapi.WebUIApi) -> None:
    with pytest.raises(RuntimeError) as caught:
        api.interrogate(Image.fromarray(noise()), model="clip")

    assert caught.value.args[0] in (404, 503)


def test_options_are_read_and_changed(api: webuiapi.WebUIApi) -> None:
    assert api.get_options()["send_seed"] is True

    assert api.set_options({"send_seed": False}) is None

    assert api.get_options()["send_seed"] is False


def _names(key: str = "name") -> Callable[[Any], list[str]]:
    return lambda listed: [each[key] for each in listed]


LISTS: tuple[tuple[str, Callable[[Any], Any], Any], ...] = (
    ("get_sd_models", lambda listed: _names("model_name")(listed)[0], "tiny-sd15"),
    ("get_sd_vae", _names("model_name"), []),
    ("get_upscalers", lambda listed: _names()(listed)[:3], ["None", "Lanczos", "Nearest"]),
    ("get_latent_upscale_modes", lambda listed: _names()(listed)[0], "Latent"),
    ("get_loras", lambda listed: sorted(_names()(listed)), ["tinylora", "tinylora2"]),
    ("get_hypernetworks", _names(), []),
    ("get_face_restorers", _names(), ["CodeFormer", "GFPGAN"]),
    ("get_realesrgan_models", len, 6),
    ("get_prompt_styles", _names(), ["Tiny wrap", "Tiny append", "Negative only"]),
    ("get_embeddings", lambda told: sorted(told["loaded"]), ["tinyemb", "tinypt"]),
    ("get_samplers", len, 20),
    ("get_schedulers", lambda listed: _names()(listed)[:3], ["automatic", "uniform", "karras"]),
    ("get_scripts", sorted, ["img2img", "txt2img"]),
    ("get_memory", sorted, ["cuda", "ram"]),
    ("get_cmd_flags", lambda flags: (flags["api"], flags["xformers"]), (True, True)),
    ("get_artists", lambda answer: answer, {"detail": "Not Found"}),
    ("get_artist_categories", lambda answer: answer, {"detail": "Not Found"}),
    ("refresh_checkpoints", lambda answer: answer, None),
    ("interrupt", lambda answer: answer, {}),
    ("skip", lambda answer: answer, None),
    ("util_get_scheduler_names", len, 12),
    ("util_get_sampler_names", lambda names: names[0], "DDIM"),
)


@pytest.mark.parametrize(("method", "part", "wanted"), LISTS, ids=[row[0] for row in LISTS])
def test_lists(
    api: webuiapi.WebUIApi, method: str, part: Callable[[Any], Any], wanted: object
) -> None:
    assert part(getattr(api, method)()) == wanted


def test_a_route_without_a_method_of_its_own(api: webuiapi.WebUIApi) -> None:
    assert api.custom_get("internal/ping") == {}
    assert api.custom_get("progress", baseurl=True)["progress"] == 0.0
    posted = api.custom_post("txt2img", payload=dict(SMALL), baseurl=True)
    assert posted.image.size == (64, 64)


def test_scripts_named_like_missing_extensions_are_not_claimed(api: webuiapi.WebUIApi) -> None:
    assert not (api.has_controlnet or api.has_adetailer or api.has_animatediff)


def test_the_model_is_switched_by_half_a_name(api: webuiapi.WebUIApi) -> None:
    assert api.util_get_current_model() == f"tiny-sd15.safetensors [{SD15_HASH}]"

    api.util_set_model("vpred")

    current = api.util_get_current_model()
    assert current.startswith("tiny-vpred.safetensors")
    assert current in api.util_get_model_names()
    told = api.txt2img(**SMALL).info
    assert told["sd_model_name"] == "tiny-vpred"
    assert current == f"tiny-vpred.safetensors [{told['sd_model_hash']}]"


def test_progress_while_drawing_and_interrupt(api: webuiapi.WebUIApi) -> None:
    job = beside(lambda: api.txt2img(**{**SMALL, "steps": 1000}, n_iter=9))
    until(lambda: api.get_progress()["state"]["sampling_step"] > 0)

    assert 0.0 < api.get_progress()["progress"] < 1.0
    assert api.interrupt() == {}

    assert [image.size for image in job.result().images] == [(64, 64)]
    api.util_wait_for_ready(check_interval=0.05)


def test_the_model_is_put_away_and_fetched_again(api: webuiapi.WebUIApi) -> None:
    for path in ("unload-checkpoint", "reload-checkpoint"):
        assert api.session.post(f"{api.baseurl}/{path}").json() == {}
    assert api.txt2img(**SMALL).image.size == (64, 64)


def test_calls_of_absent_extensions_fail_as_on_a_bare_webui(api: webuiapi.WebUIApi) -> None:
    assert api.custom_get("controlnet/version") == {"detail": "Not Found"}
    with pytest.raises(RuntimeError) as caught:
        api.txt2img(**SMALL, controlnet_units=[webuiapi.ControlNetUnit()])
    assert caught.value.args[0] == 422
