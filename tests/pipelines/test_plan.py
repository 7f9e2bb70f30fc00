"""Plans: how images fall into batches."""

import dataclasses
import math

import pytest

from pipelines.plan import Batch, Encoding, GuidanceSpec, SamplerSpec, VaeMethods

from .drawn import redrawing
from .test_hires import hires_pass
from .toy import choice, plan, seeds


def batches(count: int, size: int) -> list[Batch]:
    prompts = [f"picture {i}" for i in range(count)]
    return list(plan(*prompts, first_seed=100, batch_size=size).batches())


@pytest.mark.parametrize(
    ("count", "size", "lengths"),
    [(1, 1, [1]), (4, 2, [2, 2]), (5, 2, [2, 2, 1]), (3, 8, [3]), (3, 1, [1, 1, 1])],
)
def test_batches_are_full_but_for_the_last(count: int, size: int, lengths: list[int]) -> None:
    assert [len(batch.prompts) for batch in batches(count, size)] == lengths
    assert plan(*["x"] * count, batch_size=size).batch_count == len(lengths)


def test_batches_hold_every_image_s_own_prompts_and_seeds_in_order() -> None:
    made = batches(5, 2)
    assert [batch.index for batch in made] == [0, 1, 2]
    assert [p for batch in made for p in batch.prompts] == [f"picture {i}" for i in range(5)]
    assert [s for batch in made for s in batch.seeds.seeds] == [100, 101, 102, 103, 104]
    assert [s for batch in made for s in batch.seeds.subseeds] == [1100, 1101, 1102, 1103, 1104]
    assert made[2].negative_prompts == ("bad",)


def test_a_slice_keeps_how_noise_is_drawn() -> None:
    whole = seeds(1, 2, 3, subseed_strength=0.5, eta_delta=7, resize_from=(64, 32))
    part = whole.slice(1, 3)
    assert (part.seeds, part.subseeds) == ((2, 3), (1002, 1003))
    assert dataclasses.replace(part, seeds=whole.seeds, subseeds=whole.subseeds) == whole


def test_a_plan_of_no_images_has_no_batches() -> None:
    assert list(plan(batch_size=4).batches()) == []


def test_a_plan_cannot_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan("x").width = 0  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan("x").guidance.scale = math.inf  # type: ignore[misc]


def test_the_encoding_s_defaults_are_the_webui_s() -> None:
    assert Encoding() == Encoding(clip_skip=1, emphasis="Original", comma_backtrack=20)
    assert not Encoding().old_editing


def test_plain_guidance_never_leaves_the_uncond_out() -> None:
    plain = GuidanceSpec(scale=7.0)
    assert (plain.s_min_uncond, plain.s_min_uncond_all, plain.skip_early) == (0.0, False, 0.0)
    assert not plain.pad


def test_unipc_s_defaults_are_the_webui_s() -> None:
    plain = SamplerSpec(name="UniPC", schedule="automatic", steps=1)
    assert (plain.unipc_order, plain.unipc_bh2, plain.unipc_spacing) == (3, False, "time_uniform")
    assert plain.unipc_lower_order_final


def test_a_batch_starts_on_the_plan_s_model() -> None:
    made = batches(5, 2)
    assert [batch.model for batch in made] == [choice()] * 3
    assert [batch.start for batch in made] == [0, 2, 4]


def test_a_batch_wears_the_networks_of_its_first_image() -> None:
    worn = tuple(choice("toy", name).networks for name in "abcde")
    whole = plan(*["x"] * 5, batch_size=2, networks=worn, model=choice(tiling=True))
    found = [batch.model for batch in whole.batches()]
    assert found == [choice("toy", name, tiling=True) for name in "ace"]


def test_without_networks_the_model_stays_as_it_is() -> None:
    worn = choice("toy", "style")
    assert plan("x").wearing(worn, (), 0) is worn


def test_a_hires_fix_is_a_second_pass() -> None:
    assert plan("x").passes == 1
    assert plan("x", hires=hires_pass("Latent", 64, 32)).passes == 2
    assert redrawing("x").passes == 1


def test_plans_of_pictures_fall_into_batches_too() -> None:
    whole = redrawing("a", "b", "c", batch_size=2)
    assert whole.batch_count == 2
    assert [batch.prompts for batch in whole.batches()] == [("a", "b"), ("c",)]


def test_the_whole_autoencoder_is_used_unless_asked_otherwise() -> None:
    assert plan("x").vae_methods == VaeMethods(decode="Full", encode="Full")
