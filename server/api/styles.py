"""`GET /sdapi/v1/prompt-styles`: the styles that requests may name."""

from fastapi import APIRouter

from ..schemas.tools import PromptStyleItem
from ..services import ServicesDep
from ..styles import list_styles

router = APIRouter()


@router.get("/sdapi/v1/prompt-styles", response_model=list[PromptStyleItem])
def get_prompt_styles(services: ServicesDep) -> list[PromptStyleItem]:
    """Every style of the files as they are now; on a worker thread, since they are read.

    Where there are several files, a divider without prompts stands before the styles of each.
    """
    return [
        PromptStyleItem(
            name=name,
            prompt=style.prompt if style else None,
            negative_prompt=style.negative_prompt if style else None,
        )
        for name, style in list_styles(services.settings.styles_file).items()
    ]
