"""How each family reads its text encoders, against transformers' own outputs."""

import pytest
import torch
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from models.errors import ClipSkipOutOfRange
from models.families.text import ClipEncoder

END = 49
LAYERS = 4


def config(act: str = "gelu") -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=50,
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        max_position_embeddings=77,
        projection_dim=6,
        hidden_act=act,
        bos_token_id=48,
        eos_token_id=END,
        pad_token_id=0,
    )


@pytest.fixture(scope="module")
def plain() -> CLIPTextModel:
    torch.manual_seed(1)
    made = CLIPTextModel(config("quick_gelu"))
    made.train(False)
    return made


@pytest.fixture(scope="module")
def projected() -> CLIPTextModelWithProjection:
    torch.manual_seed(2)
    made = CLIPTextModelWithProjection(config())
    made.train(False)
    return made


def ids(*words: tuple[int, ...]) -> Tensor:
    """Rows of tokens between the marks, ended again and again as chunks are."""
    return torch.tensor([[48, *row, *[END] * (76 - len(row))] for row in words])


def test_sd1_takes_the_layer_of_the_clip_skip_and_norms_it(plain: CLIPTextModel) -> None:
    tokens = ids((3, 4), (5,))
    states = plain(input_ids=tokens, output_hidden_states=True).hidden_states
    encoder = ClipEncoder(module=plain)
    for skip in range(1, LAYERS + 2):
        found = encoder.encode(tokens, end=END, clip_skip=skip)
        torch.testing.assert_close(found.states, plain.final_layer_norm(states[-skip]))
        assert found.pooled is None
    with pytest.raises(ClipSkipOutOfRange):
        encoder.encode(tokens, end=END, clip_skip=LAYERS + 2)


@pytest.mark.parametrize("skip", [1, 3, 50])
def test_sd2_takes_the_last_but_one_layer_whatever_the_clip_skip(
    plain: CLIPTextModel, skip: int
) -> None:
    tokens = ids((3, 4))
    states = plain(input_ids=tokens, output_hidden_states=True).hidden_states
    encoder = ClipEncoder(module=plain, layer="penultimate")
    found = encoder.encode(tokens, end=END, clip_skip=skip, always_skip=True)
    torch.testing.assert_close(found.states, plain.final_layer_norm(states[-2]))


@pytest.mark.parametrize(
    ("skip", "asked", "layer"), [(1, False, 2), (3, False, 2), (1, True, 1), (3, True, 3)]
)
def test_sdxl_s_first_encoder_counts_the_clip_skip_on_request_and_norms_nothing(
    plain: CLIPTextModel, skip: int, asked: bool, layer: int
) -> None:
    tokens = ids((3, 4))
    states = plain(input_ids=tokens, output_hidden_states=True).hidden_states
    encoder = ClipEncoder(module=plain, layer="penultimate or skip", normed=False)
    found = encoder.encode(tokens, end=END, clip_skip=skip, always_skip=asked)
    assert torch.equal(found.states, states[-layer])
    assert not torch.equal(found.states, plain.final_layer_norm(states[-layer]))


def test_open_clip_pads_with_zeros_after_the_first_end_and_pools_there(
    projected: CLIPTextModelWithProjection,
) -> None:
    tokens = ids((3, 4, 5), (6,))
    zeros = torch.tensor([[48, *row, END, *[0] * (75 - len(row))] for row in ((3, 4, 5), (6,))])
    own = projected(input_ids=zeros, output_hidden_states=True)
    encoder = ClipEncoder(module=projected, layer="penultimate", normed=False, pad=0)
    found = encoder.encode(tokens, end=END)
    torch.testing.assert_close(found.states, own.hidden_states[-2])
    assert found.pooled is not None
    torch.testing.assert_close(found.pooled, own.text_embeds)
    unpadded = ClipEncoder(module=projected, layer="penultimate", normed=False)
    assert not torch.allclose(unpadded.encode(tokens, end=END).states, found.states)


def test_inserted_vectors_stand_for_tokens_in_any_encoder(
    projected: CLIPTextModelWithProjection,
) -> None:
    encoder = ClipEncoder(module=projected, layer="penultimate", normed=False, pad=0)
    assert encoder.width == 8
    weight = projected.get_input_embeddings().get_parameter("weight")
    vectors = weight[[7, 9]].detach().clone()
    expected = encoder.encode(ids((3, 7, 9)), end=END)
    found = encoder.encode(ids((3, 0, 0)), end=END, inserted=[[(2, vectors)]])
    assert torch.equal(found.states, expected.states)
    assert found.pooled is not None
    assert expected.pooled is not None
    assert torch.equal(found.pooled, expected.pooled)
