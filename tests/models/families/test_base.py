from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from structlog.testing import capture_logs
from torch import Tensor, nn

from models.errors import ClipSkipOutOfRange, NansException
from models.families import Checkpoint
from models.families.text import Inserted

from .variants import reference


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return reference("tiny-vpred")


class FragileVae(nn.Module):
    """Overflows in half precision, and in float32 too where it is broken."""

    def __init__(self, *, broken: bool) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, dtype=torch.float16), requires_grad=False)
        self.broken = broken

    def decode(self, z: Tensor, return_dict: bool) -> tuple[Tensor]:
        assert z.dtype == self.scale.dtype
        overflow = self.broken or self.scale.dtype == torch.float16
        return (z * float("nan") if overflow else z * self.scale,)


def ids(checkpoint: Checkpoint, text: str) -> Tensor:
    tokens = checkpoint.traits.tokenizer.encode(text)
    padding = [checkpoint.traits.tokenizer.eos] * (76 - len(tokens))
    return torch.tensor([[checkpoint.traits.tokenizer.bos, *tokens, *padding]])


def encode(
    checkpoint: Checkpoint,
    tokens: Tensor,
    clip_skip: int = 1,
    inserted: Sequence[Sequence[Inserted]] = (),
) -> Tensor:
    (encoder,) = checkpoint.encoders
    end = checkpoint.traits.tokenizer.eos
    return encoder.encode(tokens, end=end, clip_skip=clip_skip, inserted=inserted).states


def rescaled(checkpoint: Checkpoint, latent_scale: float) -> Checkpoint:
    return replace(checkpoint, traits=replace(checkpoint.traits, latent_scale=latent_scale))


def test_rows_of_a_prediction_do_not_depend_on_each_other(checkpoint: Checkpoint) -> None:
    x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    steps = torch.tensor([3.25, 900.5])
    context = torch.cat([encode(checkpoint, ids(checkpoint, t), 1) for t in ("cat", "")])
    both = checkpoint.predict(x, steps, context)
    assert both.shape == (2, 4, 8, 8)
    assert both.dtype == torch.float32
    for row in range(2):
        rows = slice(row, row + 1)
        alone = checkpoint.predict(x[rows], steps[rows], context[rows])
        torch.testing.assert_close(alone, both[rows], atol=1e-5, rtol=1e-5)


def test_a_fraction_of_a_timestep_counts(checkpoint: Checkpoint) -> None:
    x = torch.ones(1, 4, 8, 8)
    context = encode(checkpoint, ids(checkpoint, "cat"), 1)
    whole, half, following = (
        checkpoint.predict(x, torch.tensor([t]), context) for t in (500.0, 500.5, 501.0)
    )
    assert (whole - half).abs().max() > 1e-3
    assert (following - half).abs().max() > 1e-3
    torch.testing.assert_close(half, (whole + following) / 2, atol=0.02, rtol=0)


def test_inputs_of_another_dtype_are_cast(checkpoint: Checkpoint) -> None:
    context = encode(checkpoint, ids(checkpoint, "cat"), 1)
    x = torch.ones(1, 4, 8, 8)
    expected = checkpoint.predict(x, torch.tensor([7.0]), context)
    given = checkpoint.predict(x.double(), torch.tensor([7]), context.double())
    assert torch.equal(expected, given)


def test_clip_skip_counts_layers_from_the_end(checkpoint: Checkpoint) -> None:
    encoder, tokens = checkpoint.encoders[0].text_model, ids(checkpoint, "a red circle")
    states = encoder(input_ids=tokens, output_hidden_states=True).hidden_states
    for skip in (2, 3, 13):
        expected = encoder.final_layer_norm(states[-skip])
        assert torch.equal(encode(checkpoint, tokens, skip), expected)
    last = encode(checkpoint, tokens, 1)
    assert last.shape == (1, 77, 16)
    assert torch.equal(encode(checkpoint, tokens, 0), last)
    assert not torch.equal(encode(checkpoint, tokens, 2), last)
    with pytest.raises(ClipSkipOutOfRange, match="clip skip 14"):
        encode(checkpoint, tokens, 14)


def with_words(checkpoint: Checkpoint, vectors: Tensor) -> nn.Embedding:
    """The text encoder's own token embedding with `vectors` as words after its last."""
    own: Tensor = checkpoint.encoders[0].module.get_input_embeddings().state_dict()["weight"]
    weight = torch.cat([own, vectors.to(own)])
    return nn.Embedding(len(weight), weight.shape[1], _weight=weight).requires_grad_(False)


@pytest.mark.parametrize("clip_skip", [1, 2, 13])
def test_inserted_vectors_are_as_words_of_their_own(checkpoint: Checkpoint, clip_skip: int) -> None:
    vectors = torch.randn(3, 16, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    texts = ("a red circle", "one two three four five six", "")
    tokens = torch.cat([ids(checkpoint, text) for text in texts])
    inserted = [[(2, vectors[:1])], [(1, vectors[:2]), (74, vectors[1:])], []]
    found = encode(checkpoint, tokens, clip_skip, inserted)

    size = len(checkpoint.traits.tokenizer)
    worded = tokens.clone()
    worded[0, 2] = size
    worded[1, 1:3] = torch.tensor([size, size + 1])
    worded[1, 74:76] = torch.tensor([size + 1, size + 2])
    own = checkpoint.encoders[0].module.get_input_embeddings()
    checkpoint.encoders[0].module.set_input_embeddings(with_words(checkpoint, vectors))
    try:
        expected = encode(checkpoint, worded, clip_skip)
    finally:
        checkpoint.encoders[0].module.set_input_embeddings(own)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    plain = encode(checkpoint, tokens, clip_skip)
    torch.testing.assert_close(found[2], plain[2], atol=1e-6, rtol=0)
    torch.testing.assert_close(found[0, :2], plain[0, :2], atol=1e-6, rtol=0)
    moved = (found[0, 2:] - plain[0, 2:]).abs().amax(1) > 1e-4
    assert moved[0]
    assert moved.all() == (clip_skip < 13), "a layer carries it to all that follows"


def test_inserted_vectors_leave_nothing_behind(checkpoint: Checkpoint) -> None:
    tokens = ids(checkpoint, "a red circle")
    plain = encode(checkpoint, tokens, 1)
    vectors = torch.ones(2, 16)
    encode(checkpoint, tokens, 1, [[(1, vectors)]])
    with pytest.raises(RuntimeError):
        encode(checkpoint, tokens, 1, [[(1, torch.ones(2, 17))]])
    assert torch.equal(encode(checkpoint, tokens, 1), plain)
    assert torch.equal(vectors, torch.ones(2, 16))


def test_decode_undoes_encode_roughly_and_scales(checkpoint: Checkpoint) -> None:
    pixels = torch.linspace(-0.5, 0.5, 64)[None, None, None, :].expand(2, 3, 64, 64)
    latents = checkpoint.encode_image(pixels)
    assert latents.shape == (2, 4, 8, 8)
    assert checkpoint.decode(latents).shape == (2, 3, 64, 64)
    doubled = rescaled(checkpoint, 2 * checkpoint.traits.latent_scale)
    torch.testing.assert_close(doubled.encode_image(pixels), 2 * latents)
    torch.testing.assert_close(doubled.decode(2 * latents), checkpoint.decode(latents))


def test_images_in_company_are_as_alone(checkpoint: Checkpoint) -> None:
    latents = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    seen: list[int] = []
    hook = checkpoint.vae.decoder.register_forward_pre_hook(
        lambda _, inputs: seen.append(len(inputs[0]))
    )
    together = checkpoint.decode(latents)
    hook.remove()
    assert seen == [3]
    alone = torch.cat([checkpoint.decode(each[None]) for each in latents])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=0)
    pixels = together.clamp(-1, 1)
    means = torch.cat([checkpoint.encode_image(each[None]) for each in pixels])
    torch.testing.assert_close(checkpoint.encode_image(pixels), means, atol=1e-4, rtol=0)


def test_nans_in_half_precision_move_the_vae_to_float32_for_good(checkpoint: Checkpoint) -> None:
    fragile = rescaled(replace(checkpoint, vae=FragileVae(broken=False)), 1.0)
    assert fragile.vae_dtype == torch.float16
    latents = torch.ones(1, 4, 2, 2)
    with capture_logs() as logs:
        assert torch.equal(fragile.decode(latents), latents)
        assert fragile.vae_dtype == torch.float32
        assert torch.equal(fragile.decode(latents), latents)
    assert [log["log_level"] for log in logs] == ["warning"]


class BrittleVae(FragileVae):
    """Overflows in half precision where the latents are large, and counts what it decodes."""

    def __init__(self) -> None:
        super().__init__(broken=False)
        self.calls: list[tuple[torch.dtype, int]] = []

    def decode(self, z: Tensor, return_dict: bool) -> tuple[Tensor]:
        self.calls.append((z.dtype, len(z)))
        large = (z > 1) & (z.dtype == torch.float16)
        return (z.masked_fill(large, float("nan")),)


def test_only_the_pictures_that_came_out_wrong_are_made_again(checkpoint: Checkpoint) -> None:
    vae = BrittleVae()
    brittle = rescaled(replace(checkpoint, vae=vae), 1.0)
    latents = torch.arange(5.0)[:, None, None, None].expand(5, 4, 2, 2)
    assert torch.equal(brittle.decode(latents), latents)
    assert vae.calls == [(torch.float16, 5), (torch.float32, 3)]


def test_the_vae_is_tried_in_the_dtypes_that_the_settings_allow(checkpoint: Checkpoint) -> None:
    latents = torch.ones(1, 4, 2, 2)
    half = rescaled(replace(checkpoint, vae=FragileVae(broken=False)), 1.0)
    brain = replace(half, vae_retries=(torch.bfloat16, torch.float32))
    assert torch.equal(brain.decode(latents), latents)
    assert brain.vae_dtype == torch.bfloat16
    fixed = replace(half, vae=FragileVae(broken=False), vae_retries=())
    with pytest.raises(NansException, match="VAE"):
        fixed.decode(latents)
    assert fixed.vae_dtype == torch.float16
    broken = replace(half, vae=FragileVae(broken=True), vae_retries=brain.vae_retries)
    with pytest.raises(NansException, match="VAE"):
        broken.decode(latents)
    assert broken.vae_dtype == torch.float32


def test_nans_in_float32_are_an_error(checkpoint: Checkpoint) -> None:
    broken = replace(checkpoint, vae=FragileVae(broken=True))
    with pytest.raises(NansException, match="VAE"):
        broken.decode(torch.ones(1, 4, 2, 2))
