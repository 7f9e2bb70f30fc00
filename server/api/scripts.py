"""What scripts there are: `GET /sdapi/v1/scripts` and `/script-info`."""

from collections.abc import Iterable, Mapping

from fastapi import APIRouter

from extensions.binding import describe
from extensions.protocol import Extension
from extensions.registry import always_on, scripts
from extensions.wanted import Mode

from ..extension_choice import enabled
from ..names import names
from ..schemas.scripts import ScriptArg, ScriptInfo, ScriptsList
from ..services import ServicesDep
from ..stock_scripts import STOCK_SCRIPTS

router = APIRouter()


@router.get("/sdapi/v1/scripts", response_model=ScriptsList)
async def get_scripts_list(services: ServicesDep) -> ScriptsList:
    """The titles of all scripts, in lower case."""
    return ScriptsList(txt2img=_titles("txt2img", services), img2img=_titles("img2img", services))


@router.get("/sdapi/v1/script-info", response_model=list[ScriptInfo])
async def get_script_info(services: ServicesDep) -> list[ScriptInfo]:
    """Every script of each mode, with its arguments."""
    return [*_infos("txt2img", services), *_infos("img2img", services)]


def _titles(mode: Mode, services: ServicesDep) -> list[str]:
    own = [each.title.lower() for each in _own(mode, services)]
    return own + [each.title for each in STOCK_SCRIPTS if each.listed and mode in each.modes]


def _own(mode: Mode, services: ServicesDep) -> list[Extension]:
    among = enabled(services)
    return [*scripts(mode, among), *always_on(mode, among)]


def _infos(mode: Mode, services: ServicesDep) -> list[ScriptInfo]:
    there = names(services.library, services.tools)
    own = [
        _info(each.title.lower(), each.run is None, mode, describe(each, mode, there))
        for each in _own(mode, services)
    ]
    stock = [
        _info(each.title, True, mode, each.args(there))
        for each in STOCK_SCRIPTS
        if each.described and mode in each.modes
    ]
    return own + stock


def _info(title: str, always: bool, mode: Mode, args: Iterable[Mapping[str, object]]) -> ScriptInfo:
    return ScriptInfo(
        name=title,
        is_alwayson=always,
        is_img2img=mode == "img2img",
        args=[ScriptArg.model_validate(arg) for arg in args],
    )
