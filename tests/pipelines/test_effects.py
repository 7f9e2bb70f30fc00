"""What a generation notes of its prompts."""

from pipelines.effects import Effects


def test_nothing_is_noted_at_first() -> None:
    effects = Effects()
    assert effects.embeddings == ()
    assert effects.refined == set()
    flags = ("skipped_early", "skipped_small_sigma", "padded", "inpainting_model", "edit_model")
    assert not any(getattr(effects, flag) for flag in flags)


def test_two_generations_do_not_share_their_notes() -> None:
    one, other = Effects(), Effects()
    one.refined.add(0)
    one.encoded("prompt", "a", [("style", "1")])
    assert other.refined == set()
    other.encoded("prompt", "a", [("style", "1")])
    assert other.embeddings == (("style", "1"),)


def test_the_newest_prompt_s_embeddings_come_first_each_prompt_s_in_its_order() -> None:
    effects = Effects()
    effects.encoded("negative", "n", [("a", "1"), ("b", "2")])
    effects.encoded("prompt", "p", [("c", "3"), ("a", "1")])
    assert effects.embeddings == (("c", "3"), ("a", "1"), ("a", "1"), ("b", "2"))


def test_a_prompt_is_noted_once_for_each_thing_it_is() -> None:
    effects = Effects()
    for kind in ("prompt", "negative", "prompt", "negative"):
        effects.encoded(kind, "p", [("a", "1")])
    assert effects.embeddings == (("a", "1"), ("a", "1"))


def test_an_embedding_without_a_hash_is_not_noted() -> None:
    effects = Effects()
    effects.encoded("prompt", "p", [("a", None), ("b", "2"), ("c", None)])
    assert effects.embeddings == (("b", "2"),)
