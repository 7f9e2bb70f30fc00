"""`GET /sdapi/v1/embeddings`, `POST /sdapi/v1/create/*` and `/train/*`."""

from pydantic import Field

from .base import Reply, WireRequest
from .lax import LaxBool, LaxInt, LaxStr


class EmbeddingItem(Reply):
    """A textual inversion; `shape` is the width of a vector, over all text encoders."""

    step: int | None = Field(
        default=None,
        description="The number of steps that were used to train this embedding, if available",
    )
    sd_checkpoint: str | None = Field(
        default=None,
        title="SD Checkpoint",
        description="The hash of the checkpoint this embedding was trained on, if available",
    )
    sd_checkpoint_name: str | None = Field(
        default=None,
        title="SD Checkpoint Name",
        description="The name of the checkpoint this embedding was trained on, if available. "
        "Note that this is the name that was used by the trainer; for a stable identifier, "
        "use `sd_checkpoint` instead",
    )
    shape: int = Field(description="The length of each individual vector in the embedding")
    vectors: int = Field(description="The number of vectors in the embedding")


class EmbeddingsResponse(Reply):
    """The textual inversions there are, by name, by whether the model in use can take them."""

    loaded: dict[str, EmbeddingItem] = Field(description="Embeddings loaded for the current model")
    skipped: dict[str, EmbeddingItem] = Field(
        description="Embeddings skipped for the current model "
        "(likely due to architecture incompatibility)"
    )


class EmbeddingArgs(WireRequest):
    """A new textual inversion."""

    name: LaxStr
    num_vectors_per_token: LaxInt
    overwrite_old: LaxBool
    init_text: LaxStr = "*"


class CreateResponse(Reply):
    """What became of it."""

    info: str = Field(
        title="Create info",
        description="Response string from create embedding or hypernetwork task.",
    )


class TrainResponse(Reply):
    """What became of it."""

    info: str = Field(
        title="Train info",
        description="Response string from train embedding or hypernetwork task.",
    )
