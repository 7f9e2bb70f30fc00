"""Only the word's vectors are learnt, and only where the word stands."""

from __future__ import annotations

from pathlib import Path

from models.demo.train.captions import CaptionTokens
from models.demo.train.loop import Pace
from models.demo.train.train_embedding import VECTORS, EmbeddingRecipe, train_embedding
from models.demo.world.caption import Caption

from .painters import PLAIN, given_back


def test_the_vectors_leave_their_first_word_and_nothing_else_is_changed(tmp_path: Path) -> None:
    recipe = EmbeddingRecipe(batch=2, pace=Pace(steps=2, rate=0.1, ema=0.1))
    with given_back(seed=4) as painter:
        vectors = train_embedding(painter, PLAIN, CaptionTokens(), recipe, tmp_path)
    assert vectors.shape == (VECTORS, 40)
    word = int(CaptionTokens()([Caption.plain(recipe.first_word)]).ids[0, 1])
    first = painter.state_dict()["text.embeddings.token_embedding.weight"][word]
    assert 0.001 < (vectors - first).abs().max() < 0.5
