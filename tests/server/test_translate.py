"""Requests become plans: every default and alias of the wire."""

from pathlib import Path
from typing import Any

import pytest

from models.catalog import Catalog
from models.hashing import HashCache
from pipelines.plan import GuidanceSpec
from server.errors import ApiError
from server.options import BadOption, Options
from server.schemas.txt2img import Txt2ImgRequest
from server.translate import Translated, txt2img


@pytest.fixture(scope="module")
def catalog(reference_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    found = Catalog(
        [reference_models / "Stable-diffusion"],
        explicit=None,
        hashes=HashCache(tmp_path_factory.mktemp("cache") / "hashes.sqlite3"),
        hashing=True,
        allow_pickle=False,
        demo=Path("/nowhere"),
    )
    found.scan()
    return found


def translated(catalog: Catalog, /, **fields: Any) -> Translated:
    return txt2img(Txt2ImgRequest.model_validate(fields), Options.defaults(), catalog)


def test_defaults_of_the_wire(catalog: Catalog) -> None:
    plan = translated(catalog, prompt="1 girl").plan
    assert (plan.sampler.name, plan.sampler.schedule, plan.sampler.steps) == (
        "Euler",
        "automatic",
        50,
    )
    assert (plan.width, plan.height, plan.batch_size) == (512, 512, 1)
    assert plan.guidance == GuidanceSpec(scale=7.0)
    assert plan.prompts == ("1 girl",)
    assert plan.negative_prompts == ("",)
    assert plan.checkpoint.name == "tiny-sd15.safetensors"
    assert plan.seeds.source == "GPU"
    assert 0 <= plan.seeds.seeds[0] <= 4294967293
    assert plan.encoding.clip_skip == 1


def test_sampler_name_wins_over_sampler_index(catalog: Catalog) -> None:
    for name, index, used in (("Heun", "DDIM", "Heun"), ("", "DDIM", "DDIM")):
        both = translated(catalog, sampler_name=name, sampler_index=index)
        assert both.plan.sampler.name == used
    assert translated(catalog, sampler_name=None).plan.sampler.name == "Euler"


def test_seeds_count_over_the_whole_job(catalog: Catalog) -> None:
    plan = translated(catalog, seed=5, subseed=9, batch_size=2, n_iter=2).plan
    assert plan.seeds.seeds == (5, 6, 7, 8)
    assert plan.seeds.subseeds == (9, 10, 11, 12)
    assert [batch.seeds.seeds for batch in plan.batches()] == [(5, 6), (7, 8)]


def test_variations_share_the_seed(catalog: Catalog) -> None:
    plan = translated(catalog, seed=5, subseed=9, subseed_strength=0.5, batch_size=2).plan
    assert plan.seeds.seeds == (5, 5)
    assert plan.seeds.subseeds == (9, 10)


def test_random_seeds_differ_from_request_to_request(catalog: Catalog) -> None:
    seeds = {translated(catalog, seed=-1).plan.seeds.seeds[0] for _ in range(8)}
    assert len(seeds) == 8


@pytest.mark.parametrize(("width", "height", "wanted"), [(64, 32, (64, 32)), (64, 0, None)])
def test_seed_resizing_needs_both_sides(
    catalog: Catalog, width: int, height: int, wanted: tuple[int, int] | None
) -> None:
    plan = translated(catalog, seed_resize_from_w=width, seed_resize_from_h=height).plan
    assert plan.seeds.resize_from == wanted


def test_the_schedule_is_told_where_it_is_not_the_models(catalog: Catalog) -> None:
    told = translated(catalog, sampler_name="DPM++ SDE", eta=0.5)
    assert told.plan.sampler.schedule == "karras"
    assert told.plan.sampler.eta == 0.5
    assert told.extra == {"Schedule type": "Karras", "Eta": 0.5}
    assert told.schedule_label == "Automatic"
    assert translated(catalog, sampler_name="Euler").extra == {}
    assert translated(catalog, scheduler="sgm_uniform").schedule_label == "SGM Uniform"


def test_an_unknown_sampler_is_said(catalog: Catalog) -> None:
    chosen = translated(catalog, sampler_name="k_lcm")
    assert chosen.plan.sampler.name == "DPM++ 2M"
    assert chosen.warnings == ("unknown sampler 'k_lcm': used DPM++ 2M",)


@pytest.mark.parametrize(
    ("fields", "spec", "extra"),
    [
        ({"cfg_scale": 3}, GuidanceSpec(scale=3), {}),
        ({"s_min_uncond": 2}, GuidanceSpec(scale=7, s_min_uncond=2), {"NGMS": 2.0}),
        (
            {"override_settings": {"s_min_uncond": 1, "s_min_uncond_all": True}},
            GuidanceSpec(scale=7, s_min_uncond=1, s_min_uncond_all=True),
            {"NGMS": 1, "NGMS all steps": True},
        ),
        (
            {"s_min_uncond": 0, "override_settings": {"s_min_uncond": 1}},
            GuidanceSpec(scale=7),
            {},
        ),
        (
            {"override_settings": {"skip_early_cond": 0.3, "pad_cond_uncond": True}},
            GuidanceSpec(scale=7, skip_early=0.3, pad=True),
            {"Skip Early CFG": 0.3, "Pad conds": True},
        ),
    ],
)
def test_guidance_is_told_where_it_is_not_plain(
    catalog: Catalog, fields: dict[str, Any], spec: GuidanceSpec, extra: dict[str, object]
) -> None:
    found = translated(catalog, **fields)
    assert found.plan.guidance == spec
    assert list(found.extra.items()) == list(extra.items())
    assert found.warnings == ()


@pytest.mark.parametrize("old", [False, True])
def test_the_old_rule_of_editing_is_a_setting(catalog: Catalog, old: bool) -> None:
    found = translated(catalog, override_settings={"use_old_scheduling": old})
    assert found.plan.encoding.old_editing == old


def test_comments_are_removed(catalog: Catalog) -> None:
    plan = translated(catalog, prompt="a cat # not shown\n# a whole line\na dog").plan
    assert plan.prompts == ("a cat \na dog",)
    between = translated(catalog, prompt="a\n# one\nb # two", negative_prompt="# three\nbad").plan
    assert between.prompts == ("a\nb \n",)
    assert between.negative_prompts == ("\nbad",)
    kept = translated(catalog, prompt="a#b", override_settings={"enable_prompt_comments": False})
    assert kept.plan.prompts == ("a#b",)


@pytest.mark.parametrize(
    "alias", ["tiny-vpred.safetensors", "tiny-vpred", "TINY-VPRED", "tiny-vpred [0123456789]"]
)
def test_the_override_chooses_the_checkpoint(catalog: Catalog, alias: str) -> None:
    chosen = translated(catalog, override_settings={"sd_model_checkpoint": alias})
    assert chosen.plan.checkpoint.name == "tiny-vpred.safetensors"
    assert chosen.warnings == ()


def test_an_unknown_checkpoint_is_said(catalog: Catalog) -> None:
    chosen = translated(catalog, override_settings={"sd_model_checkpoint": "bra_v5 [ac68270450]"})
    assert chosen.plan.checkpoint.name == "tiny-sd15.safetensors"
    assert any("bra_v5" in warning for warning in chosen.warnings)


def test_overrides_touch_this_request_only(catalog: Catalog) -> None:
    overridden = translated(
        catalog, override_settings={"CLIP_stop_at_last_layers": "2", "no_such_key": 1}
    )
    assert overridden.plan.encoding.clip_skip == 2
    assert overridden.warnings == ("unknown setting 'no_such_key' ignored",)
    assert translated(catalog).plan.encoding.clip_skip == 1
    with pytest.raises(BadOption, match="CLIP_stop_at_last_layers"):
        translated(catalog, override_settings={"CLIP_stop_at_last_layers": "two"})


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"enable_hr": True, "hr_checkpoint_name": "x"}, 501, "hr_checkpoint_name"),
        ({"sampler_name": "Euler a", "eta": -1}, 422, "eta -1.0: allowed are 0"),
        ({"tiling": True}, 501, "tiling"),
        ({"refiner_checkpoint": "some"}, 501, "refiner_checkpoint"),
        ({"script_name": "x/y/z plot"}, 422, "Script 'x/y/z plot' not found"),
        ({"alwayson_scripts": {"roop": {"args": []}}}, 422, "Script 'roop' not found"),
    ],
)
def test_what_cannot_be_done_is_refused(
    catalog: Catalog, fields: dict[str, Any], status: int, message: str
) -> None:
    with pytest.raises(ApiError, match=message) as refused:
        translated(catalog, **fields)
    assert refused.value.status == status


def test_placeholders_and_stock_scripts_are_no_wishes(catalog: Catalog) -> None:
    plan = translated(
        catalog,
        prompt="x",
        script_name="string",
        refiner_checkpoint="None",
        alwayson_scripts={"Seed": {"args": []}, "refiner": {}},
    ).plan
    assert plan.prompts == ("x",)


@pytest.mark.parametrize(
    ("fields", "warning"),
    [
        ({"restore_faces": True}, "restore_faces: no face restorer is installed"),
        ({"save_images": True}, "save_images is not supported yet"),
        ({"prompt": "a <lora:x:0.5> cat"}, "lora not found: x"),
    ],
)
def test_what_has_no_effect_yet_is_said(
    catalog: Catalog, fields: dict[str, Any], warning: str
) -> None:
    assert translated(catalog, **fields).warnings == (warning,)


@pytest.mark.parametrize(
    "prompt",
    [
        *("(a:1.2), [b]", "BRAND", "a <b", "1:2", "a [lot] of: things"),
        *("[a:b:3]", "[a|b]", "[b:0.5]", "[a::2]", "a AND b"),
    ],
)
def test_what_prompts_can_say_is_heeded(catalog: Catalog, prompt: str) -> None:
    assert translated(catalog, prompt=prompt, styles=["None"]).warnings == ()


def test_no_checkpoint_at_all(tmp_path: Path) -> None:
    empty = Catalog(
        [tmp_path],
        explicit=None,
        hashes=HashCache(tmp_path / "hashes.sqlite3"),
        hashing=True,
        allow_pickle=False,
        demo=tmp_path / "none",
    )
    with pytest.raises(ApiError, match="no checkpoint"):
        translated(empty)
