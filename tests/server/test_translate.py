"""Requests become plans: every default and alias of the wire."""

from pathlib import Path
from typing import Any

import pytest

from models.approx_files import ApproxFiles, Approximations
from models.catalog import Catalog
from models.hashing import HashCache
from models.library import Library
from models.networks.files import NetworkUse
from pipelines.effects import Effects
from pipelines.plan import GuidanceSpec, VaeMethods
from server import reply
from server.errors import ApiError
from server.options import BadOption, Options
from server.schemas.txt2img import Txt2ImgRequest
from server.translate import Translated, txt2img

from ..models.files import one_tensor
from .fakes import library


@pytest.fixture(scope="module")
def files(reference_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Library:
    """The reference checkpoints, and two VAEs and two networks."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("VAE/sharp.safetensors", "VAE/tiny-vpred.vae.safetensors"):
        one_tensor(folder / name)
    for name in ("Lora/style.safetensors", "Lora/light.safetensors"):
        one_tensor(folder / name)
    return library(scanned(folder, reference_models / "Stable-diffusion"), folder)


def scanned(cache: Path, root: Path) -> Catalog:
    found = Catalog(
        [root],
        explicit=None,
        hashes=HashCache(cache / "checkpoints.sqlite3"),
        hashing=True,
        allow_pickle=False,
        demo=Path("/nowhere"),
    )
    found.scan()
    return found


def translated(files: Library, /, **fields: Any) -> Translated:
    return txt2img(Txt2ImgRequest.model_validate(fields), Options.defaults(), files)


def told(found: Translated, **effects: Any) -> dict[str, object]:
    """The extra parameters once the plan has run, and had these effects."""
    known = reply.Known(
        checkpoint=found.plan.model.checkpoint,
        vae=None,
        refiner=found.plan.refiner.model.checkpoint if found.plan.refiner else None,
        effects=Effects(**effects),
    )
    return reply.extra_parameters(found, known)


def test_defaults_of_the_wire(files: Library) -> None:
    plan = translated(files, prompt="1 girl").plan
    assert (plan.sampler.name, plan.sampler.schedule, plan.sampler.steps) == (
        "Euler",
        "automatic",
        50,
    )
    assert (plan.width, plan.height, plan.batch_size) == (512, 512, 1)
    assert plan.guidance == GuidanceSpec(scale=7.0)
    assert plan.prompts == ("1 girl",)
    assert plan.negative_prompts == ("",)
    assert plan.model.checkpoint.name == "tiny-sd15.safetensors"
    assert plan.seeds.source == "GPU"
    assert 0 <= plan.seeds.seeds[0] <= 4294967293
    assert plan.encoding.clip_skip == 1


def test_sampler_name_wins_over_sampler_index(files: Library) -> None:
    for name, index, used in (("Heun", "DDIM", "Heun"), ("", "DDIM", "DDIM")):
        both = translated(files, sampler_name=name, sampler_index=index)
        assert both.plan.sampler.name == used
    assert translated(files, sampler_name=None).plan.sampler.name == "Euler"


def test_seeds_count_over_the_whole_job(files: Library) -> None:
    plan = translated(files, seed=5, subseed=9, batch_size=2, n_iter=2).plan
    assert plan.seeds.seeds == (5, 6, 7, 8)
    assert plan.seeds.subseeds == (9, 10, 11, 12)
    assert [batch.seeds.seeds for batch in plan.batches()] == [(5, 6), (7, 8)]


def test_variations_share_the_seed(files: Library) -> None:
    plan = translated(files, seed=5, subseed=9, subseed_strength=0.5, batch_size=2).plan
    assert plan.seeds.seeds == (5, 5)
    assert plan.seeds.subseeds == (9, 10)


def test_random_seeds_differ_from_request_to_request(files: Library) -> None:
    seeds = {translated(files, seed=-1).plan.seeds.seeds[0] for _ in range(8)}
    assert len(seeds) == 8


@pytest.mark.parametrize(("width", "height", "wanted"), [(64, 32, (64, 32)), (64, 0, None)])
def test_seed_resizing_needs_both_sides(
    files: Library, width: int, height: int, wanted: tuple[int, int] | None
) -> None:
    plan = translated(files, seed_resize_from_w=width, seed_resize_from_h=height).plan
    assert plan.seeds.resize_from == wanted


def test_the_schedule_is_told_where_it_is_not_the_models(files: Library) -> None:
    told = translated(files, sampler_name="DPM++ SDE", eta=0.5)
    assert told.plan.sampler.schedule == "karras"
    assert told.plan.sampler.eta == 0.5
    assert told.extra == {"Schedule type": "Karras", "Eta": 0.5}
    assert told.schedule_label == "Automatic"
    assert translated(files, sampler_name="Euler").extra == {}
    assert translated(files, scheduler="sgm_uniform").schedule_label == "SGM Uniform"


def test_an_unknown_sampler_is_said(files: Library) -> None:
    chosen = translated(files, sampler_name="k_lcm")
    assert chosen.plan.sampler.name == "DPM++ 2M"
    assert chosen.warnings == ("unknown sampler 'k_lcm': used DPM++ 2M",)


@pytest.mark.parametrize(
    ("fields", "spec", "effects", "extra"),
    [
        ({"cfg_scale": 3}, GuidanceSpec(scale=3), [], {}),
        (
            {"s_min_uncond": 2},
            GuidanceSpec(scale=7, s_min_uncond=2),
            ["skipped_small_sigma"],
            {"NGMS": 2.0},
        ),
        (
            {"override_settings": {"s_min_uncond": 1, "s_min_uncond_all": True}},
            GuidanceSpec(scale=7, s_min_uncond=1, s_min_uncond_all=True),
            ["skipped_small_sigma"],
            {"NGMS": 1, "NGMS all steps": True},
        ),
        (
            {"s_min_uncond": 0, "override_settings": {"s_min_uncond": 1}},
            GuidanceSpec(scale=7),
            [],
            {},
        ),
        (
            {"override_settings": {"skip_early_cond": 0.3, "pad_cond_uncond": True}},
            GuidanceSpec(scale=7, skip_early=0.3, pad=True),
            ["skipped_early", "padded"],
            {"Skip Early CFG": 0.3, "Pad conds": True},
        ),
        (
            {"override_settings": {"pad_cond_uncond_v0": True}},
            GuidanceSpec(scale=7, match=True),
            ["matched"],
            {"Pad conds v0": True},
        ),
        (
            {"override_settings": {"inpainting_mask_weight": 0.5}},
            GuidanceSpec(scale=7, mask_weight=0.5),
            [],
            {},
        ),
    ],
)
def test_guidance_is_told_where_it_was_not_plain(
    files: Library,
    fields: dict[str, Any],
    spec: GuidanceSpec,
    effects: list[str],
    extra: dict[str, object],
) -> None:
    found = translated(files, **fields)
    assert found.plan.guidance == spec
    assert list(told(found, **dict.fromkeys(effects, True)).items()) == list(extra.items())
    # what was asked for and never came about is not told
    assert told(found) == {}
    assert found.warnings == ()


@pytest.mark.parametrize("old", [False, True])
def test_the_old_rule_of_editing_is_a_setting(files: Library, old: bool) -> None:
    found = translated(files, override_settings={"use_old_scheduling": old})
    assert found.plan.encoding.old_editing == old


def test_comments_are_removed(files: Library) -> None:
    plan = translated(files, prompt="a cat # not shown\n# a whole line\na dog").plan
    assert plan.prompts == ("a cat \na dog",)
    between = translated(files, prompt="a\n# one\nb # two", negative_prompt="# three\nbad").plan
    assert between.prompts == ("a\nb \n",)
    assert between.negative_prompts == ("\nbad",)
    kept = translated(files, prompt="a#b", override_settings={"enable_prompt_comments": False})
    assert kept.plan.prompts == ("a#b",)


@pytest.mark.parametrize(
    "alias", ["tiny-vpred.safetensors", "tiny-vpred", "TINY-VPRED", "tiny-vpred [0123456789]"]
)
def test_the_override_chooses_the_checkpoint(files: Library, alias: str) -> None:
    chosen = translated(files, override_settings={"sd_model_checkpoint": alias})
    assert chosen.plan.model.checkpoint.name == "tiny-vpred.safetensors"
    assert chosen.warnings == ()


def test_an_unknown_checkpoint_is_said(files: Library) -> None:
    chosen = translated(files, override_settings={"sd_model_checkpoint": "bra_v5 [ac68270450]"})
    assert chosen.plan.model.checkpoint.name == "tiny-sd15.safetensors"
    assert any("bra_v5" in warning for warning in chosen.warnings)


def test_overrides_touch_this_request_only(files: Library) -> None:
    overridden = translated(
        files, override_settings={"CLIP_stop_at_last_layers": "2", "no_such_key": 1}
    )
    assert overridden.plan.encoding.clip_skip == 2
    assert overridden.warnings == ("unknown setting 'no_such_key' ignored",)
    assert translated(files).plan.encoding.clip_skip == 1
    with pytest.raises(BadOption, match="CLIP_stop_at_last_layers"):
        translated(files, override_settings={"CLIP_stop_at_last_layers": "two"})


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"enable_hr": True, "hr_checkpoint_name": "x"}, 500, "checkpoint with name x"),
        ({"sampler_name": "Euler a", "eta": -1}, 422, "eta -1.0: allowed are 0"),
        ({"refiner_checkpoint": "some"}, 500, "Could not find checkpoint with name some"),
    ],
)
def test_what_cannot_be_done_is_refused(
    files: Library, fields: dict[str, Any], status: int, message: str
) -> None:
    with pytest.raises(ApiError, match=message) as refused:
        translated(files, **fields)
    assert refused.value.status == status


@pytest.mark.parametrize("unset", ["", "None", "none", "string", None])
def test_placeholders_are_no_wishes(files: Library, unset: str | None) -> None:
    found = translated(files, prompt="x", script_name="string", refiner_checkpoint=unset)
    assert found.plan.prompts == ("x",)
    assert found.plan.refiner is None
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("fields", "warning"),
    [
        ({"prompt": "a <lora:x:0.5> cat"}, "lora not found: x"),
    ],
)
def test_what_has_no_effect_yet_is_said(
    files: Library, fields: dict[str, Any], warning: str
) -> None:
    assert translated(files, **fields).warnings == (warning,)


@pytest.mark.parametrize(
    "prompt",
    [
        *("(a:1.2), [b]", "BRAND", "a <b", "1:2", "a [lot] of: things"),
        *("[a:b:3]", "[a|b]", "[b:0.5]", "[a::2]", "a AND b"),
    ],
)
def test_what_prompts_can_say_is_heeded(files: Library, prompt: str) -> None:
    assert translated(files, prompt=prompt, styles=["None"]).warnings == ()


def test_no_checkpoint_at_all(tmp_path: Path) -> None:
    empty = library(scanned(tmp_path, tmp_path), tmp_path)
    with pytest.raises(ApiError, match="no checkpoint"):
        translated(empty)


@pytest.mark.parametrize(
    ("tiling", "setting", "expected"),
    [(None, False, False), (None, True, True), (True, False, True), (False, True, False)],
)
def test_tiling_is_the_request_s_else_the_setting_s(
    files: Library, tiling: bool | None, setting: bool, expected: bool
) -> None:
    found = translated(files, tiling=tiling, override_settings={"tiling": setting})
    assert found.plan.model.tiling is expected


@pytest.mark.parametrize(
    ("setting", "checkpoint", "name", "warned"),
    [
        ("Automatic", "tiny-sd15", None, False),
        ("Automatic", "tiny-vpred", "tiny-vpred.vae.safetensors", False),
        ("sharp.safetensors", "tiny-sd15", "sharp.safetensors", False),
        ("sharp.safetensors", "tiny-vpred", "sharp.safetensors", False),
        ("None", "tiny-sd15", None, False),
        ("gone.safetensors", "tiny-sd15", None, True),
    ],
)
def test_the_setting_chooses_the_vae(
    files: Library, setting: str, checkpoint: str, name: str | None, warned: bool
) -> None:
    found = translated(
        files, override_settings={"sd_vae": setting, "sd_model_checkpoint": checkpoint}
    )
    vae = found.plan.model.vae
    assert (None if vae is None else vae.name) == name
    assert [bool("gone" in warning) for warning in found.warnings] == [True] * warned


def test_how_the_vae_is_used_is_a_setting(files: Library, tmp_path: Path) -> None:
    methods = {"sd_vae_decode_method": "Approx cheap", "sd_vae_encode_method": "TAESD"}
    lacking = translated(files, override_settings=methods)
    assert lacking.plan.vae_methods == VaeMethods(decode="Approx cheap", encode="Full")
    (warning,) = lacking.warnings
    assert "TAESD" in warning
    approx: Approximations = {"SD1": ApproxFiles(taesd_encoder=tmp_path)}
    there = library(files.checkpoints, tmp_path, approx)
    found = translated(there, override_settings=methods)
    assert found.plan.vae_methods == VaeMethods(decode="Approx cheap", encode="TAESD")
    assert found.warnings == ()


def test_a_refiner_takes_over_by_the_settings(files: Library) -> None:
    found = translated(files, refiner_checkpoint="tiny-vpred", refiner_switch_at=0.8, tiling=True)
    refiner = found.plan.refiner
    assert refiner is not None
    assert refiner.model.checkpoint.name == "tiny-vpred.safetensors"
    assert refiner.model.tiling
    assert refiner.model.vae is not None
    assert (refiner.at, refiner.by_steps, refiner.hires) == (0.8, False, "second pass")
    assert told(found)["Refiner switch at"] == 0.8
    settings = {"refiner_switch_by_sample_steps": True, "hires_fix_refiner_pass": "both passes"}
    other = translated(files, refiner_checkpoint="vpred", override_settings=settings).plan.refiner
    assert other is not None
    assert (other.at, other.by_steps, other.hires) == (None, True, "both passes")


def test_a_refiner_that_is_the_model_itself_is_none(files: Library) -> None:
    assert translated(files, refiner_checkpoint="tiny-sd15").plan.refiner is None


def uses(found: tuple[NetworkUse, ...]) -> list[tuple[str, float, float]]:
    return [(use.network.name, use.text_weight, use.unet_weight) for use in found]


def test_networks_of_the_prompt_are_put_on_every_image(files: Library) -> None:
    found = translated(
        files, prompt="a <lora:style:0.5> b<lora:light:1:0.25>", batch_size=2, n_iter=2
    )
    assert len(found.plan.networks) == 4
    for each in found.plan.networks:
        assert uses(each) == [("style", 0.5, 0.5), ("light", 1.0, 0.25)]
    # the tags stay in the text, which infotexts show
    assert found.plan.prompts[0] == "a <lora:style:0.5> b<lora:light:1:0.25>"
    hashes = str(found.first["Lora hashes"])
    assert [part.partition(": ")[0] for part in hashes.split(", ")] == ["style", "light"]
    assert found.warnings == ()


@pytest.mark.parametrize("fields", [{"negative_prompt": "<lora:style:1>"}, {"prompt": "<style:1>"}])
def test_other_tags_put_nothing_on(files: Library, fields: dict[str, str]) -> None:
    assert all(uses == () for uses in translated(files, **fields).plan.networks)


def test_networks_can_be_left_off(files: Library) -> None:
    found = translated(files, prompt="<lora:style:1>", disable_extra_networks=True)
    assert found.plan.networks == ()
    assert "Lora hashes" not in found.first


def test_a_network_can_be_in_every_prompt(files: Library) -> None:
    settings = {"sd_lora": "style", "extra_networks_default_multiplier": 0.5}
    found = translated(files, prompt="a", override_settings=settings)
    assert found.plan.prompts == ("a<lora:style:0.5>",)
    assert uses(found.plan.networks[0]) == [("style", 0.5, 0.5)]
    there = translated(files, prompt="a <lora:style:1>", override_settings=settings)
    assert there.plan.prompts == ("a <lora:style:1>",)


def test_a_network_that_came_since_is_found(files: Library, tmp_path: Path) -> None:
    own = library(files.checkpoints, tmp_path)
    assert translated(own, prompt="<lora:new:1>").warnings == ("lora not found: new",)
    one_tensor(tmp_path / "Lora" / "new.safetensors")
    found = translated(own, prompt="<lora:new:1>")
    assert found.warnings == ()
    assert uses(found.plan.networks[0]) == [("new", 1.0, 1.0)]


@pytest.mark.parametrize(("share", "merged"), [(0, 0.0), (0.5, 0.5), (5, 0.9)])
def test_tokens_may_be_merged(files: Library, share: float, merged: float) -> None:
    found = translated(files, override_settings={"token_merging_ratio": share})
    assert found.plan.model.token_merging == merged


def test_extra_noise_belongs_to_passes_from_pictures(files: Library) -> None:
    settings = {"img2img_extra_noise": 0.2}
    plain = translated(files, override_settings=settings)
    assert plain.plan.extra_noise == 0.2
    assert "Extra noise" not in plain.extra
    hires = translated(files, override_settings=settings, enable_hr=True)
    assert hires.extra["Extra noise"] == 0.2


def test_what_comes_first_in_infotexts_is_the_second_pass(files: Library) -> None:
    found = translated(files, prompt="<lora:style:1>", enable_hr=True, hr_upscaler="Latent")
    names = list(found.first)
    assert (names[0], names[-1]) == ("Denoising strength", "Lora hashes")
