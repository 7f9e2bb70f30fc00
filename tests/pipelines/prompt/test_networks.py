from pipelines.prompt.networks import NetworkTag, split_networks


def test_tags_leave_the_text_and_keep_their_order() -> None:
    text, tags = split_networks("a <lora:one:0.5:1> cat<hypernet:two>, 1 < 2 <x> <:y>")
    assert text == "a  cat, 1 < 2 <x> <:y>"
    assert tags == (
        NetworkTag("lora", ("one", "0.5", "1")),
        NetworkTag("hypernet", ("two",)),
    )
    assert [tag.name for tag in tags] == ["one", "two"]


def test_a_prompt_without_tags_is_itself() -> None:
    assert split_networks("a (cat:1.2) <b") == ("a (cat:1.2) <b", ())
