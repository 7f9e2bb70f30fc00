"""`GET /internal/sysinfo` and its neighbours: what the server can tell of itself."""

import json
import time

from fastapi import APIRouter
from fastapi.responses import Response

from ..option_table import defaults
from ..reply import COMPATIBLE_VERSION
from ..schemas.diagnostics import QuicksettingsHint, StartupReply, VersionReply
from ..services import Services, ServicesDep
from ..sysinfo import product_version, report

router = APIRouter()


@router.get("/internal/sysinfo")
def sysinfo(services: ServicesDep, attachment: bool = False) -> Response:
    """A report to read, or to save with `attachment`; on a worker thread, for it takes a while."""
    return _report(services, attachment=attachment)


@router.get("/internal/sysinfo-download")
def sysinfo_download(services: ServicesDep) -> Response:
    """The report as a file to save."""
    return _report(services, attachment=True)


@router.get("/internal/version", response_model=VersionReply)
async def version() -> VersionReply:
    """Which version this server has, and which one of the webui's it answers as."""
    return VersionReply(darkroom=product_version(), webui=COMPATIBLE_VERSION)


@router.get("/internal/profile-startup", response_model=StartupReply)
async def profile_startup(services: ServicesDep) -> StartupReply:
    """How long the start took; stages still under way are not in it."""
    return StartupReply(total=services.profile.total, records=services.profile.stages)


@router.get("/internal/quicksettings-hint", response_model=list[QuicksettingsHint])
async def quicksettings_hint() -> list[QuicksettingsHint]:
    """Every setting by key; there is no page here, so a key's own words are what it is called."""
    return [
        QuicksettingsHint(name=key, label=key.replace("_", " ").capitalize()) for key in defaults()
    ]


def _report(services: Services, *, attachment: bool) -> Response:
    text = json.dumps(report(services), indent=4, ensure_ascii=False, default=str)
    name = time.strftime("sysinfo-%Y-%m-%d-%H-%M.json")
    headers = {"Content-Disposition": f'attachment; filename="{name}"'} if attachment else {}
    return Response(text, media_type="text/plain", headers=headers)
