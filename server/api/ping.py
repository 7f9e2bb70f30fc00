"""Signs of life: `GET /internal/ping`, and a page at `/`."""

from importlib.resources import files

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

router = APIRouter()


@router.get("/internal/ping")
async def ping() -> dict[str, str]:
    """Answer at once, with or without credentials."""
    return {}


@router.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
def home() -> HTMLResponse:
    """A page for whoever opens the server in a browser, and for clients that probe for one."""
    return HTMLResponse(files("server").joinpath("page/index.html").read_text("utf-8"))
