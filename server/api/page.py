"""`GET /config`: lists that clients look for in the description of webui's page."""

from fastapi import APIRouter

from extensions.registry import scripts
from extensions.wanted import Mode
from pipelines.upscalers import LATENT_UPSCALERS

from ..extension_choice import enabled
from ..schemas.diagnostics import PageComponent, PageProps, PageReply
from ..services import ServicesDep

router = APIRouter()

GRADIO = "3.41.2"
"""The version of Gradio that made the webui's page."""


@router.get("/config", response_model=PageReply)
async def get_page(services: ServicesDep) -> PageReply:
    """The controls of webui's page that clients read names from, and no others."""
    upscalers = list(services.tools.upscalers)
    loras = [info.name for info in services.library.networks.networks()]
    choices = (
        # AIYA takes "" out of the list without asking whether it is there
        ("setting_sd_lora", ["", "None", *loras]),
        ("setting_sd_hypernetwork", ["None"]),
        ("txt2img_hr_upscaler", [*LATENT_UPSCALERS, *upscalers]),
        ("extras_upscaler_1", upscalers),
        ("extras_upscaler_2", upscalers),
        ("script_list", _titles("txt2img", services)),
        ("script_list", _titles("img2img", services)),
    )
    components = [
        PageComponent(id=number, props=PageProps(elem_id=elem_id, choices=names))
        for number, (elem_id, names) in enumerate(choices, start=1)
    ]
    return PageReply(version=GRADIO, components=components)


def _titles(mode: Mode, services: ServicesDep) -> list[str]:
    return [
        "None",
        *(script.title for script in scripts(mode, enabled(services))),
    ]
