"""The routes of extensions: bodies are made of the fields of `Args`, pictures go both ways."""

import asyncio
import dataclasses
import json
import uuid
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, get_origin, get_type_hints

from fastapi import APIRouter, HTTPException, Request, Response
from PIL import Image
from pydantic import BaseModel, Field, create_model

from extensions.binding import kinds
from extensions.protocol import Extension, Route

from . import imagecodec
from .disconnect import on_disconnect
from .extension_choice import enabled
from .imagecodec import Encoding
from .script_pictures import args_with_pictures
from .services import Services
from .workshop import workshop


def extension_routes(services: Services) -> APIRouter:
    """A router of what the server's extensions serve beside their work on jobs."""
    router = APIRouter()
    for extension in services.extensions:
        for route in extension.routes:
            _add(router, extension, route, services)
    return router


def _add(router: APIRouter, extension: Extension, route: Route, services: Services) -> None:
    body_type = _body(route)
    told = (route.call.__doc__ or extension.title).strip()

    async def get(request: Request) -> Response:
        return await _answered(extension, route, {}, request, services)

    async def post(body: Any, request: Request) -> Response:
        return await _answered(extension, route, dict(body), request, services)

    if body_type is None:
        router.add_api_route(route.path, get, methods=["GET"], description=told)
        return
    # read by FastAPI: the type is known only now
    post.__annotations__["body"] = body_type
    router.add_api_route(route.path, post, methods=["POST"], description=told)


def _body(route: Route) -> type[BaseModel] | None:
    """The fields of the route's `Args` as the wire has them; null stands for the default."""
    fields: dict[str, Any] = {}
    hints = get_type_hints(route.args)
    for field in dataclasses.fields(route.args):
        wire, default = _wire(kinds(hints[field.name]), field.default)
        label = field.metadata.get("label", "")
        fields[field.name] = (wire | None, Field(default, description=label))
    if not fields:
        return None
    name = "".join(part.capitalize() for part in route.path.replace("-", "/").split("/"))
    return create_model(f"{name}Request", **fields)


def _wire(types: Sequence[Any], default: Any) -> tuple[Any, Any]:
    """What an argument is on the wire, and its default there."""
    if types == [Image.Image]:
        return str, ""
    if _is_list(types):
        return list[Any], list(default)
    return (types[0] if len(types) == 1 else Any), default


def _is_list(types: Sequence[Any]) -> bool:
    return len(types) == 1 and (get_origin(types[0]) or types[0]) is tuple


async def _answered(
    extension: Extension,
    route: Route,
    sent: Mapping[str, Any],
    request: Request,
    services: Services,
) -> Response:
    """The route's reply. Raises what reading pictures and the route raise."""
    options = services.options.current
    if extension not in enabled(services):
        raise HTTPException(404)
    args = await args_with_pictures(_args(route, sent), options)

    def called() -> Mapping[str, Any] | None:
        return route.call(workshop(services, options), args)

    working = asyncio.ensure_future(services.workers.run(called))

    def leave() -> None:
        # nobody waits any more: what has not begun need not begin
        working.cancel()

    async with on_disconnect(request, leave):
        reply = await working
    content = await services.workers.write(lambda: _on_the_wire(reply))
    return Response(content, media_type="application/json")


def _args(route: Route, sent: Mapping[str, Any]) -> Any:
    """The route's `Args`; in place of a picture stands what was sent, and of an empty text none."""
    hints = get_type_hints(route.args)
    given = {name: value for name, value in sent.items() if value is not None}
    for name, value in given.items():
        types = kinds(hints[name])
        if _is_list(types):
            given[name] = tuple(value)
        elif types == [Image.Image]:
            given[name] = value or None
    return route.args(**given)


def _on_the_wire(reply: Any) -> bytes:
    """A reply as JSON, with its pictures as base64."""
    # of the pictures only a mark goes through the writer of JSON
    mark, pictures = uuid.uuid4().hex, list[bytes]()

    def marked(value: Any) -> Any:
        if isinstance(value, Image.Image):
            pictures.append(imagecodec.in_base64(imagecodec.encode(value, None, Encoding())))
            return mark
        if isinstance(value, Mapping):
            return {name: marked(each) for name, each in value.items()}
        if isinstance(value, list | tuple):
            return [marked(each) for each in value]
        return value

    first, *others = json.dumps(marked(reply)).encode().split(mark.encode())
    between = zip(pictures, others, strict=True)
    return b"".join((first, *chain.from_iterable(between)))
