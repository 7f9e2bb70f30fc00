"""`GET /sdapi/v1/prompt-styles`: the styles that requests may name."""

from fastapi import APIRouter

from ..schemas.tools import PromptStyleItem
from ..services import ServicesDep
from ..styles import read_styles

router = APIRouter()


@router.get("/sdapi/v1/prompt-styles", response_model=list[PromptStyleItem])
def get_prompt_styles(services: ServicesDep) -> list[PromptStyleItem]:
    """Every style of the files as they are now; on a worker thread, since they are read."""
    return [
        PromptStyleItem(name=style.name, prompt=style.prompt, negative_prompt=style.negative_prompt)
        for style in read_styles(services.settings.styles_file).values()
    ]
