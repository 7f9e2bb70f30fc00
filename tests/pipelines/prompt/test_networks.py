import time
from dataclasses import replace
from pathlib import Path

import pytest

from models.networks.files import NetworkInfo, NetworkUse
from pipelines.prompt.networks import (
    MOST_NETWORKS,
    FoundNetworks,
    NetworkTag,
    lora_hashes,
    network_uses,
    split_networks,
)

HASHES = {"tinylora": "69993fe20637", "tinylora2": "4e98f6edc260", "unhashed": None, "a=b": "0"}
INFOS = {
    name: NetworkInfo(path=Path(f"/Lora/{name}.safetensors"), name=name, alias=name)
    for name in HASHES
}
BY_NAME = INFOS | {"tiny_alias_two": INFOS["tinylora2"]}


def asked(prompt: str) -> FoundNetworks:
    return network_uses(split_networks(prompt)[1], BY_NAME.get)


def only(prompt: str) -> NetworkUse:
    (use,) = asked(prompt).uses
    return use


def hashed(info: NetworkInfo) -> NetworkInfo:
    return replace(info, short_hash=HASHES[info.name])


def test_tags_leave_the_text_and_keep_their_order() -> None:
    text, tags = split_networks("a <lora:one:0.5:1> cat<hypernet:two>, 1 < 2 <x> <:y> <lora:a<b>")
    assert text == "a  cat, 1 < 2 <x> <:y> "
    assert tags == (
        NetworkTag("lora", ("one", "0.5", "1")),
        NetworkTag("hypernet", ("two",)),
        NetworkTag("lora", ("a<b",)),
    )
    assert [tag.name for tag in tags] == ["one", "two", "a<b"]


@pytest.mark.parametrize("prompt", ("a (cat:1.2) <b", "", "<lora:x", ">", "<lora:>", "<:>"))
def test_a_prompt_without_tags_is_itself(prompt: str) -> None:
    assert split_networks(prompt) == (prompt, ())


@pytest.mark.parametrize("prompt", ("<a:" * 100_000, "<" * 300_000, "<" + "a" * 300_000))
def test_tags_that_never_end_cost_little_time(prompt: str) -> None:
    before = time.perf_counter()
    assert split_networks(prompt) == (prompt, ())
    split_networks(prompt + ">")
    assert time.perf_counter() - before < 2


@pytest.mark.parametrize(
    ("arguments", "text_weight", "unet_weight", "dyn_dim"),
    (
        ("", 1.0, 1.0, None),
        (":0.8", 0.8, 0.8, None),
        (":0.3:1.0", 0.3, 1.0, None),
        (":0.3:1.0:4", 0.3, 1.0, 4),
        (":te=0:unet=0.9", 0.0, 0.9, None),
        (":unet=0.9", 1.0, 0.9, None),
        (":te=0.5", 0.5, 0.5, None),
        (":0.3:te=0.5", 0.5, 0.5, None),
        (":0.3:0.4:te=0.5", 0.5, 0.4, None),
        (":dyn=8:0.5", 0.5, 0.5, 8),
        (":other=7:0.5", 0.5, 0.5, None),
        (":-1:1e-3", -1.0, 0.001, None),
        (": 2 :+.5:0", 2.0, 0.5, 0),
        (":1:1:" + "9" * 30, 1.0, 1.0, 1 << 31),
        (":1:1:4:surplus", 1.0, 1.0, 4),
    ),
)
def test_weights_stand_in_order_or_by_name(
    arguments: str, text_weight: float, unet_weight: float, dyn_dim: int | None
) -> None:
    assert only(f"<lora:tinylora{arguments}>") == NetworkUse(
        network=INFOS["tinylora"],
        text_weight=text_weight,
        unet_weight=unet_weight,
        dyn_dim=dyn_dim,
    )


def test_a_name_may_hold_an_equals_sign_or_follow_the_weights() -> None:
    assert only("<lora:a=b:0.5>").network is INFOS["a=b"]
    assert only("<lora:te=0.5:tinylora>") == NetworkUse(
        network=INFOS["tinylora"], text_weight=0.5, unet_weight=0.5
    )


@pytest.mark.parametrize(
    "tag",
    (
        "<lora:tinylora:abc>",
        "<lora:tinylora:>",
        "<lora:tinylora:1:x>",
        "<lora:tinylora:1:1:2.5>",
        "<lora:tinylora:nan>",
        "<lora:tinylora:te=1e999>",
        "<lora:te=1>",
    ),
)
def test_a_number_that_is_none_takes_all_networks_off(tag: str) -> None:
    found = asked(f"a cat <lora:tinylora2:1> {tag}")
    assert replace(found, problem=None) == FoundNetworks()
    assert found.problem is not None
    assert tag in found.problem


def test_lyco_is_lora_and_other_kinds_are_nothing() -> None:
    found = asked("<lyco:tinylora2> <hypernet:tinylora:x> <lora:tinylora> <lyco:nope> <LORA:x>")
    assert found.names == ("tinylora2", "tinylora")
    assert found.missing == ("nope",)
    assert found.problem is None
    other_way = asked("<lora:tinylora> <lyco:nope> <lora:tinylora2>")
    assert (other_way.names, other_way.missing) == (("tinylora", "tinylora2"), ("nope",))
    mixed = asked("<lora:tinylora> <lyco:unhashed> <lora:tinylora2>")
    assert mixed.names == ("tinylora", "tinylora2", "unhashed")


def test_unknown_names_are_missing_and_the_others_are_used() -> None:
    found = asked("<lora:nope:1> <lora:../../x:1> <lora:tinylora:1> <lora:TinyLora:1>")
    assert found.names == ("tinylora",)
    assert found.missing == ("nope", "../../x", "TinyLora")


def test_a_name_that_comes_twice_counts_twice_with_the_last_weights() -> None:
    found = asked("<lora:tinylora:0.2> <lora:tinylora2:0.5> <lora:tinylora:0.9:0.1>")
    assert [(use.network.name, use.text_weight, use.unet_weight) for use in found.uses] == [
        ("tinylora", 0.9, 0.1),
        ("tinylora2", 0.5, 0.5),
        ("tinylora", 0.9, 0.1),
    ]
    by_alias = asked("<lora:tinylora2:0.2> <lora:tiny_alias_two:0.9>")
    assert [use.text_weight for use in by_alias.uses] == [0.2, 0.9]


def test_a_thousand_networks_are_too_many() -> None:
    found = asked("<lora:tinylora>" * 1000)
    assert len(found.uses) == MOST_NETWORKS
    assert found.problem is not None
    assert "1000 networks" in found.problem


@pytest.mark.parametrize(
    ("prompts", "wanted"),
    (
        (["a cat <lora:tinylora:0.8>"], "tinylora: 69993fe20637"),
        (
            ["a cat <lora:tinylora:0.5> <lora:tinylora2:0.7>"],
            "tinylora: 69993fe20637, tinylora2: 4e98f6edc260",
        ),
        (["a cat <lora:tiny_alias_two:0.7>"], "tiny_alias_two: 4e98f6edc260"),
        (
            ["a cat <lora:tinylora:0.8>", "a dog <lora:tinylora2:0.6>"],
            "tinylora: 69993fe20637, tinylora2: 4e98f6edc260",
        ),
        (["<lora:tinylora:1> <lora:tinylora:2>"] * 2, "tinylora: 69993fe20637"),
        (
            ["<lora:tinylora2> <lora:tinylora>", "<lora:tinylora2> <lora:tiny_alias_two>"],
            "tinylora2: 4e98f6edc260, tinylora: 69993fe20637, tiny_alias_two: 4e98f6edc260",
        ),
        (["a cat <lora:nope:1>"], None),
        (["a cat"], None),
        (["<lora:unhashed>"], None),
    ),
)
def test_hashes_stand_under_the_names_as_typed(prompts: list[str], wanted: str | None) -> None:
    assert lora_hashes([asked(prompt) for prompt in prompts], hashed) == wanted


def test_a_comma_in_a_name_does_not_split_the_hashes() -> None:
    info = INFOS["tinylora"]
    found = FoundNetworks(uses=(NetworkUse(network=info),), names=("a, b",))
    assert lora_hashes([found], hashed) == "a b: 69993fe20637"
