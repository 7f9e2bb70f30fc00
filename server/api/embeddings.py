"""Textual inversions: `GET /sdapi/v1/embeddings`, `POST /sdapi/v1/refresh-embeddings`."""

from collections.abc import Iterable

from fastapi import APIRouter

from models.embeddings.table import Embedding

from ..schemas.embeddings import EmbeddingItem, EmbeddingsResponse
from ..services import ServicesDep

router = APIRouter()


@router.get("/sdapi/v1/embeddings", response_model=EmbeddingsResponse)
async def get_embeddings(services: ServicesDep) -> EmbeddingsResponse:
    """Every embedding, by whether the model last used can take it; without a model all can."""
    found = await services.jobs.embeddings()
    return EmbeddingsResponse(loaded=_items(found.loaded), skipped=_items(found.skipped))


@router.post("/sdapi/v1/refresh-embeddings")
async def refresh_embeddings(services: ServicesDep) -> None:
    """Look at the folders of embeddings now; every job does so by itself."""
    await services.jobs.embeddings()


def _items(embeddings: Iterable[Embedding]) -> dict[str, EmbeddingItem]:
    return {
        each.name: EmbeddingItem(
            step=each.step,
            sd_checkpoint=each.sd_checkpoint,
            sd_checkpoint_name=each.sd_checkpoint_name,
            shape=sum(each.widths),
            vectors=each.count,
        )
        for each in embeddings
    }
