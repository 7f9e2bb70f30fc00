"""Requests become plans: every default and alias of the wire."""

from pathlib import Path
from typing import Any

import pytest

from models.catalog import Catalog
from models.hashing import HashCache
from server.errors import ApiError
from server.options import BadOption, Options
from server.schemas.txt2img import Txt2ImgRequest
from server.translate import Translated, resolve_sampler, txt2img


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


@pytest.mark.parametrize(
    ("name", "scheduler", "sampler", "schedule"),
    [
        ("Euler", None, "Euler", "automatic"),
        ("Euler", "Karras", "Euler", "karras"),
        ("Euler", "karras", "Euler", "karras"),
        ("Euler", "KARRAS", "Euler", "automatic"),
        ("Euler", "automatic", "Euler", "automatic"),
        ("DPM++ 2M Karras", None, "DPM++ 2M", "automatic"),
        ("DPM++ SDE Karras", None, "DPM++ SDE", "automatic"),
        ("DPM++ 2M SDE Karras", None, "DPM++ 2M SDE", "karras"),
        ("DPM++ 2M", "Exponential", "DPM++ 2M", "exponential"),
        ("Euler a Exponential", "Karras", "Euler a", "exponential"),
        ("Euler SGMUniform", None, "Euler", "sgm_uniform"),
        ("Euler SGM Uniform", None, "Euler", "sgm_uniform"),
        ("DDIM", None, "DDIM", "automatic"),
        ("k_euler", None, "DPM++ 2M", "automatic"),
        ("string", None, "DPM++ 2M", "automatic"),
    ],
)
def test_sampler_names(name: str, scheduler: str | None, sampler: str, schedule: str) -> None:
    found, chosen, warnings = resolve_sampler(name, scheduler)
    assert (found.name, chosen.name) == (sampler, schedule)
    assert bool(warnings) == (name in ("k_euler", "string"))


def test_a_sampler_that_is_not_offered_is_refused_by_name() -> None:
    with pytest.raises(ApiError, match=r"Sampler not found: 'UniPC'.*DPM\+\+ 2M, ") as refused:
        resolve_sampler("UniPC Karras", None)
    assert refused.value.status == 400


def test_defaults_of_the_wire(catalog: Catalog) -> None:
    plan = translated(catalog, prompt="1 girl").plan
    assert (plan.sampler.name, plan.sampler.schedule, plan.sampler.steps) == (
        "Euler",
        "automatic",
        50,
    )
    assert (plan.width, plan.height, plan.cfg_scale, plan.batch_size) == (512, 512, 7.0, 1)
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


def test_eta(catalog: Catalog) -> None:
    assert translated(catalog, sampler_name="Euler a").plan.sampler.eta == 1.0
    assert translated(catalog, sampler_name="DDIM").plan.sampler.eta == 0.0
    assert translated(catalog, sampler_name="Euler", eta=0.5).plan.sampler.eta == 0.0
    told = translated(catalog, sampler_name="Euler a", eta=0)
    assert told.plan.sampler.eta == 0.0
    assert told.extra == {"Eta": 0.0}
    assert translated(catalog, sampler_name="DDIM", eta=1).extra == {"Eta DDIM": 1.0}


def test_churn_of_the_request_yields_to_a_changed_setting(catalog: Catalog) -> None:
    asked = translated(catalog, s_churn=10, s_tmax=0)
    assert (asked.plan.sampler.s_churn, asked.plan.sampler.s_tmax) == (10, float("inf"))
    assert asked.extra == {}
    overridden = translated(catalog, s_churn=10, override_settings={"s_churn": 15})
    assert overridden.plan.sampler.s_churn == 15
    assert overridden.extra == {"Sigma churn": 15}
    assert translated(catalog, sampler_name="DPM++ 2M", s_churn=10).plan.sampler.s_churn == 0


def test_the_schedule_is_told_where_it_is_not_the_models(catalog: Catalog) -> None:
    told = translated(catalog, sampler_name="DPM++ SDE")
    assert told.plan.sampler.schedule == "karras"
    assert told.extra == {"Schedule type": "Karras"}
    assert told.schedule_label == "Automatic"
    assert translated(catalog, sampler_name="Euler").extra == {}
    ranged = translated(
        catalog, scheduler="Karras", override_settings={"sigma_min": 0.1, "sigma_max": 10, "rho": 5}
    )
    assert dict(ranged.extra) == {
        "Schedule type": "Karras",
        "Schedule min sigma": 0.1,
        "Schedule max sigma": 10.0,
        "Schedule rho": 5.0,
    }


def test_comments_are_removed(catalog: Catalog) -> None:
    plan = translated(catalog, prompt="a cat # not shown\n# a whole line\na dog").plan
    assert plan.prompts == ("a cat \na dog",)
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
        ({"enable_hr": True}, 501, "enable_hr"),
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
        ({"s_min_uncond": 1.5}, "s_min_uncond is not supported yet"),
        ({"styles": ["mine"]}, "styles are not supported yet"),
        ({"save_images": True}, "save_images is not supported yet"),
        ({"prompt": "a <lora:x:0.5> cat"}, "lora not found: x"),
        *(
            ({"prompt": p}, "prompt scheduling, alternation and AND are not supported yet")
            for p in ("[a:b:3]", "[a|b]", "[b:0.5]", "[a::2]", "a AND b")
        ),
    ],
)
def test_what_has_no_effect_yet_is_said(
    catalog: Catalog, fields: dict[str, Any], warning: str
) -> None:
    assert translated(catalog, **fields).warnings == (warning,)


@pytest.mark.parametrize("prompt", ["(a:1.2), [b]", "BRAND", "a <b", "1:2", "a [lot] of: things"])
def test_plain_prompts_are_no_wishes(catalog: Catalog, prompt: str) -> None:
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
