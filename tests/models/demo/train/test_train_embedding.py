"""Only the word's vectors are learnt, and only where the word stands."""

from __future__ import annotations

from pathlib import Path

import torch

from models.demo.train.captions import CaptionTokens
from models.demo.train.latents import Normalisation
from models.demo.train.loop import Pace
from models.demo.train.train_embedding import VECTORS, EmbeddingRecipe, train_embedding
from models.demo.train.train_unet import Painter
from models.demo.world.caption import Caption

PLAIN = Normalisation(mean=torch.zeros(4), deviation=torch.ones(4))


def test_the_vectors_leave_their_first_word_and_nothing_else_is_changed(tmp_path: Path) -> None:
    torch.manual_seed(4)
    painter = Painter()
    before = {name: value.clone() for name, value in painter.state_dict().items()}
    recipe = EmbeddingRecipe(batch=2, pace=Pace(steps=2, rate=0.1, ema=0.1))
    vectors = train_embedding(painter, PLAIN, CaptionTokens(), recipe, tmp_path)
    assert vectors.shape == (VECTORS, 40)
    after = painter.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    word = int(CaptionTokens()([Caption.plain(recipe.first_word)]).ids[0, 1])
    first = before["text.embeddings.token_embedding.weight"][word]
    assert 0.001 < (vectors - first).abs().max() < 0.5
