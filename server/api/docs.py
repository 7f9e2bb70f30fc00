"""`/docs` and `/redoc`, with scripts and styles of our own serving and none from elsewhere."""

from importlib.resources import as_file, files

from fastapi import APIRouter, HTTPException, Request
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.responses import FileResponse, HTMLResponse

router = APIRouter(include_in_schema=False)

_ASSETS = frozenset(
    {"swagger-ui-bundle.js", "swagger-ui.css", "redoc.standalone.js", "favicon.png"}
)


@router.get("/docs")
async def swagger(request: Request) -> HTMLResponse:
    """The routes, to read and to try."""
    root = _root(request)
    return get_swagger_ui_html(
        openapi_url=f"{root}{request.app.openapi_url}",
        title=f"{request.app.title}: API",
        swagger_js_url=f"{root}/docs/swagger-ui-bundle.js",
        swagger_css_url=f"{root}/docs/swagger-ui.css",
        swagger_favicon_url=f"{root}/docs/favicon.png",
    )


@router.get("/redoc")
async def redoc(request: Request) -> HTMLResponse:
    """The routes, to read."""
    root = _root(request)
    return get_redoc_html(
        openapi_url=f"{root}{request.app.openapi_url}",
        title=f"{request.app.title}: API",
        redoc_js_url=f"{root}/docs/redoc.standalone.js",
        redoc_favicon_url=f"{root}/docs/favicon.png",
        with_google_fonts=False,
    )


@router.get("/docs/{name}")
def asset(name: str) -> FileResponse:
    """A script or style of these pages, out of the package that carries them."""
    if name not in _ASSETS:
        raise HTTPException(404)
    with as_file(files("fastapi_offline").joinpath("static", name)) as path:
        return FileResponse(path)


def _root(request: Request) -> str:
    return str(request.scope.get("root_path", "")).rstrip("/")
