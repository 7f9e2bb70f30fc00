"""`POST /sdapi/v1/create/*` and `/train/*`: embeddings can be begun here, and not trained."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Body
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from models.embeddings.files import BadCreation, NewEmbedding
from models.errors import CheckpointError

from ..arguments import missing
from ..choosing import configured_checkpoint
from ..errors import ApiError
from ..schemas.embeddings import CreateResponse, EmbeddingArgs, TrainResponse
from ..schemas.lax import LaxDict
from ..services import ServicesDep

router = APIRouter()

Args = Annotated[LaxDict, Body(title="Args")]

_EMBEDDING = ("name", "num_vectors_per_token", "overwrite_old")
_HYPERNETWORK = ("name", "enable_sizes", "overwrite_old")
_DATA = (
    "learn_rate batch_size gradient_step data_root log_directory training_width training_height"
    " varsize steps clip_grad_mode clip_grad_value shuffle_tags tag_drop_out"
    " latent_sampling_method use_weight create_image_every"
)
_PREVIEW = (
    "preview_from_txt2img preview_prompt preview_negative_prompt preview_steps"
    " preview_sampler_name preview_cfg_scale preview_seed preview_width preview_height"
)
_TRAIN_EMBEDDING = (
    f"id_task embedding_name {_DATA} save_embedding_every template_filename"
    f" save_image_with_stored_embedding {_PREVIEW}"
)
_TRAIN_HYPERNETWORK = (
    f"id_task hypernetwork_name {_DATA} save_hypernetwork_every template_filename {_PREVIEW}"
)
"""What the reference's functions require, in their order."""


@router.post("/sdapi/v1/create/embedding", response_model=CreateResponse)
async def create_embedding(args: Args, services: ServicesDep) -> CreateResponse:
    """Write a textual inversion that begins as the words of `init_text`; train it elsewhere."""
    _require("create_embedding", _EMBEDDING, args)
    asked = _embedding_args(args)
    wanted = NewEmbedding(
        name=asked.name,
        count=asked.num_vectors_per_token,
        text=asked.init_text,
        overwrite=asked.overwrite_old,
    )
    checkpoint = configured_checkpoint(services.options.current, services.library.checkpoints)
    if checkpoint is None:
        return CreateResponse(info="create embedding error: there is no checkpoint")
    try:
        path = await services.jobs.create_embedding(wanted, checkpoint)
    except (BadCreation, CheckpointError) as error:
        return CreateResponse(info=f"create embedding error: {error}")
    return CreateResponse(info=f"create embedding filename: {path}")


@router.post("/sdapi/v1/create/hypernetwork", response_model=CreateResponse)
async def create_hypernetwork(args: Args) -> CreateResponse:
    """Refuse: prompts cannot use hypernetworks here."""
    _require("create_hypernetwork", _HYPERNETWORK, args)
    raise ApiError(501, "hypernetworks are not offered by this server")


@router.post("/sdapi/v1/train/embedding", response_model=TrainResponse)
async def train_embedding(args: Args) -> TrainResponse:
    """Refuse, in the reply's `info`: this server trains nothing."""
    return _untrained("embedding", _TRAIN_EMBEDDING, args)


@router.post("/sdapi/v1/train/hypernetwork", response_model=TrainResponse)
async def train_hypernetwork(args: Args) -> TrainResponse:
    """Refuse, in the reply's `info`: this server trains nothing."""
    return _untrained("hypernetwork", _TRAIN_HYPERNETWORK, args)


def _require(function: str, required: tuple[str, ...], args: Mapping[str, Any]) -> None:
    fault = missing(function, required, args)
    if fault is not None:
        raise ApiError(500, error="TypeError", errors=fault)


def _embedding_args(args: Mapping[str, Any]) -> EmbeddingArgs:
    try:
        return EmbeddingArgs.model_validate(args)
    except ValidationError as error:
        details = [{**each, "loc": ("body", *each["loc"])} for each in error.errors()]
        raise RequestValidationError(details) from None


def _untrained(kind: str, required: str, args: Mapping[str, Any]) -> TrainResponse:
    fault = missing(f"train_{kind}", required.split(), args)
    if fault is not None:
        # so the reference words it, for hypernetworks too
        return TrainResponse(info=f"train embedding complete: filename:  error: {fault}")
    return TrainResponse(info=f"train {kind} error: this server trains nothing")
