"""A finished generation in the wire's words."""

import base64
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.vae_files import VaeInfo
from pipelines.effects import Effects
from pipelines.plan import Encoding, GuidanceSpec, Refining, SamplerSpec
from server import reply
from server.options import Options
from server.schemas.txt2img import Txt2ImgRequest
from server.translate import Translated

from ..pipelines.test_hires import hires_pass
from .fakes import CHECKPOINT, MODEL, image, plan
from .wire import CIRCLES

HASHED = replace(CHECKPOINT, sha256="0123456789abcdef" * 4)
VAE = VaeInfo(path=Path("/v.safetensors"), name="v.safetensors", sha256="a" * 64)


def translated(options: Options | None = None, /, **changes: Any) -> Translated:
    return Translated(
        plan=replace(plan(images=2), **changes),
        options=options or Options.defaults(),
        schedule_label="Automatic",
        first={},
        extra={},
        restore_faces=False,
        warnings=(),
    )


def known(**changes: Any) -> reply.Known:
    """A plan that ran on the hashed checkpoint, and did nothing worth telling."""
    plain: dict[str, Any] = {"vae": None, "refiner": None, "effects": Effects()}
    return reply.Known(checkpoint=HASHED, **{**plain, **changes})


def under(**settings: Any) -> Options:
    return Options.defaults().with_overrides(settings)[0]


def test_a_plain_infotext() -> None:
    assert reply.describe(translated(), known(), 1) == (
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
    text = reply.describe(told, known(), 1)
    assert text.startswith("a\nNegative prompt: b\nSteps: 4, Sampler: Euler a, ")
    assert text.endswith(
        "Model: some, Variation seed: 1, Variation seed strength: 0.3, Seed resize from: 64x32, "
        "Clip skip: 2, ENSD: 31337, RNG: NV, Version: v1.10.1"
    )


def test_ensd_is_told_only_where_it_is_used() -> None:
    seeds = replace(plan(images=2).seeds, eta_delta=31337)
    assert "ENSD" not in reply.describe(translated(seeds=seeds), known(), 0)


def test_extra_parameters_keep_the_place_of_a_known_key() -> None:
    told = replace(translated(), extra={"Eta": 0.5, "Schedule type": "Karras"})
    text = reply.describe(told, known(), 0)
    assert "Sampler: Euler, Schedule type: Karras, CFG scale" in text
    assert "Model: some, Eta: 0.5, Version" in text


def test_settings_leave_fields_out() -> None:
    options, _ = Options.defaults().with_overrides(
        dict.fromkeys(
            ("add_model_hash_to_info", "add_model_name_to_info", "add_version_to_infotext"), False
        )
    )
    assert reply.describe(translated(options), known(), 0).endswith("Size: 64x64")


def test_info_is_json_text_without_a_hash_before_hashing() -> None:
    request = Txt2ImgRequest(prompt="é", styles=["x"])
    made = translated(prompts=("é", "é"))
    fresh = reply.Known(checkpoint=CHECKPOINT, vae=None, refiner=None, effects=Effects())
    said = reply.told(request, made, fresh, ["t", "u"])
    text = reply.info(request, made, fresh, said, "20260101")
    assert "\\u00e9" in text
    info = json.loads(text)
    assert info["all_prompts"] == ["é", "é"]
    assert info["all_seeds"] == [0, 1]
    assert info["sd_model_hash"] is None
    assert info["styles"] == ["x"]
    assert info["infotexts"] == ["t", "u"]
    assert info["job_timestamp"] == "20260101"


@pytest.mark.parametrize(
    ("grid", "count", "size"),
    [
        (True, 2, (16, 8)),
        (True, 4, (16, 16)),
        (True, 5, (24, 16)),
        (True, 1, (8, 8)),
        (False, 2, (8, 8)),
    ],
)
def test_a_preview_shows_the_batch(grid: bool, count: int, size: tuple[int, int]) -> None:
    options, _ = Options.defaults().with_overrides({"show_progress_grid": grid})
    pixels = np.stack([image(level=10 * (i + 1)).pixels for i in range(count)])
    shown = Image.open(io.BytesIO(base64.b64decode(reply.preview(pixels, options))))
    assert shown.size == size
    assert shown.getpixel((0, 0)) == (10, 10, 10)


def test_headers_are_safe_whatever_the_client_sent() -> None:
    headers = reply.headers("a\r\nb", ["é" * 2000])
    assert headers["X-Task-Id"] == "a\\r\\nb"
    assert headers["X-Darkroom-Warning"].isascii()
    assert len(headers["X-Darkroom-Warning"]) == 1000
    assert "X-Darkroom-Warning" not in reply.headers("a", [])


def extra(options: Options | None = None, /, *, knows: Any = None, **changes: Any) -> list[Any]:
    """The extra parameters of a plan, in order."""
    return list(reply.extra_parameters(translated(options, **changes), knows or known()).items())


def test_extra_parameters_come_in_the_order_of_the_wire() -> None:
    effects = Effects(
        embeddings=(("new", "b" * 12), ("old:er,", "a" * 12)),
        skipped_early=True,
        skipped_small_sigma=True,
        padded=True,
        matched=True,
        emphasised=True,
        refined={0},
    )
    made = replace(
        translated(
            under(sd_vae_decode_method="TAESD", refiner_switch_by_sample_steps=True),
            encoding=Encoding(emphasis="No norm"),
            guidance=GuidanceSpec(
                scale=7, skip_early=0.2, s_min_uncond=1.5, s_min_uncond_all=True, pad=True
            ),
            refiner=Refining(model=MODEL, at=0.8, by_steps=True),
        ),
        first={"Lora hashes": "x: 1"},
        extra={"Eta": 0.5},
    )
    found = reply.extra_parameters(made, known(effects=effects, refiner=CIRCLES))
    assert list(found.items()) == [
        ("Lora hashes", "x: 1"),
        ("TI hashes", f"new: {'b' * 12}, older: {'a' * 12}"),
        ("Emphasis", "No norm"),
        ("Eta", 0.5),
        ("Refiner switch by sampling steps", True),
        ("Skip Early CFG", 0.2),
        ("Refiner", "circles [c1c1c1c1c1]"),
        ("Refiner switch at", 0.8),
        ("NGMS", 1.5),
        ("NGMS all steps", True),
        ("Pad conds", True),
        ("Pad conds v0", True),
        ("VAE Decoder", "TAESD"),
    ]


def test_what_was_prepared_for_and_did_not_happen_is_not_told() -> None:
    guidance = GuidanceSpec(scale=7, skip_early=0.2, s_min_uncond=1.5, pad=True, match=True)
    refiner = Refining(model=MODEL, at=0.8)
    assert extra(guidance=guidance, refiner=refiner, encoding=Encoding(emphasis="None")) == []


def test_a_refiner_is_told_with_the_passes_it_was_in() -> None:
    hires = hires_pass("Latent", 128, 128, prompts=("a", "a"), negative_prompts=("", ""))
    for passes, said in (("second pass", False), ("first pass", True), ("both passes", True)):
        refiner = Refining(model=MODEL, at=None, hires=passes)  # type: ignore[arg-type]
        found = dict(extra(knows=known(refiner=CIRCLES), refiner=refiner, hires=hires))
        assert found.get("Hires refiner") == (passes if said else None)
        assert found["Refiner switch at"] is None
        # of one pass there is nothing to tell apart
        assert "Hires refiner" not in dict(extra(knows=known(refiner=CIRCLES), refiner=refiner))


def test_embeddings_can_be_left_untold() -> None:
    effects = Effects(embeddings=(("style", "a" * 12),))
    assert extra(knows=known(effects=effects)) == [("TI hashes", f"style: {'a' * 12}")]
    options = under(textual_inversion_add_hashes_to_infotext=False)
    assert extra(options, knows=known(effects=effects)) == []


def test_the_vae_s_methods_are_told_where_they_were_used() -> None:
    options = under(sd_vae_decode_method="TAESD", sd_vae_encode_method="TAESD")
    assert extra(options) == [("VAE Decoder", "TAESD")]
    pixels, latents = (
        hires_pass(name, 128, 128, prompts=("a", "a"), negative_prompts=("", ""))
        for name in ("Lanczos", "Latent")
    )
    assert extra(options, hires=pixels) == [("VAE Encoder", "TAESD")]
    assert extra(options, hires=latents) == []


def test_models_beside_the_checkpoint_are_told() -> None:
    text = reply.describe(
        translated(model=replace(MODEL, tiling=True, token_merging=0.5)), known(vae=VAE), 0
    )
    assert "Model: some, VAE hash: aaaaaaaaaa, VAE: v.safetensors, " in text
    assert "Token merging ratio: 0.5, Tiling: True, Version" in text
    without = under(add_vae_name_to_info=False, add_vae_hash_to_info=False)
    assert "VAE" not in reply.describe(translated(without), known(vae=VAE), 0)


def test_a_second_pass_of_other_prompts_and_merging_is_told() -> None:
    hires = hires_pass(
        "Latent",
        128,
        128,
        prompts=("a", "other"),
        negative_prompts=("", "worse"),
        model=replace(MODEL, token_merging=0.25),
    )
    made = translated(hires=hires)
    first, second = (reply.describe(made, known(), index) for index in (0, 1))
    assert "Hires prompt" not in first
    assert "Token merging ratio hr: 0.25" in first
    assert "Hires prompt: other, Hires negative prompt: worse, Version" in second


def test_what_a_model_was_shown_is_told_by_its_kind() -> None:
    made = translated(guidance=GuidanceSpec(scale=7, image_scale=1.5, mask_weight=0.5))
    plain = reply.describe(made, known(), 0)
    assert "Image CFG scale" not in plain
    assert "Conditional mask weight" not in plain
    edit = reply.describe(made, known(effects=Effects(edit_model=True)), 0)
    assert "CFG scale: 7, Image CFG scale: 1.5, Seed" in edit
    inpainting = known(effects=Effects(inpainting_model=True))
    assert "Conditional mask weight: 0.5" in reply.describe(made, inpainting, 0)
    request = Txt2ImgRequest()
    for effects in (Effects(), Effects(inpainting_model=True)):
        knows = known(effects=effects)
        text = reply.info(request, made, knows, reply.told(request, made, knows, []), "")
        assert json.loads(text)["is_using_inpainting_conditioning"] is effects.inpainting_model


def test_restored_faces_and_the_vae_are_in_info() -> None:
    made = replace(translated(under(face_restoration_model="GFPGAN")), restore_faces=True)
    request = Txt2ImgRequest()
    knows = known(vae=VAE)
    info = json.loads(reply.info(request, made, knows, reply.told(request, made, knows, []), ""))
    assert (info["restore_faces"], info["face_restoration_model"]) == (True, "GFPGAN")
    assert (info["sd_vae_name"], info["sd_vae_hash"]) == ("v.safetensors", "a" * 10)
    assert "Face restoration: GFPGAN, Size" in reply.describe(made, knows, 0)


def test_a_batch_that_shrank_tells_as_many_as_were_asked_for() -> None:
    request = Txt2ImgRequest(batch_size=4)
    said = reply.told(request, translated(), known(), ["t", "u"])
    assert list(said.seeds) == [0, 1, 2, 3]
    assert list(said.subseeds) == [0, 1, 2, 3]
    assert list(said.prompts) == ["a"] * 4
    assert list(said.negative_prompts) == [""] * 4
    assert said.infotexts == ["t", "u"]
