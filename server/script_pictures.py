"""The pictures among the arguments of scripts: fetched under the guard of `remote`, and read."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import structlog

from extensions.binding import pictures_sent, with_pictures
from extensions.registry import Named, failure

from . import imagecodec, remote
from .options import Options
from .remote import NETWORK, Network
from .selected import Selected

log = structlog.get_logger(__name__)


async def script_with_pictures(
    script: Selected, options: Options, network: Network = NETWORK
) -> Selected:
    """The script with the pictures that its arguments name.

    Raises `BadImage`, and what `remote.pictures` raises.
    """
    return replace(script, args=await args_with_pictures(script.args, options, network))


async def hooks_with_pictures(
    hooks: Sequence[Named], options: Options, network: Network = NETWORK
) -> tuple[tuple[Named, ...], tuple[str, ...]]:
    """The hooks with the pictures that their arguments name, and why others cannot be had.

    A text that is no picture costs its hook, but no generation. Raises what `remote.pictures`
    raises.
    """
    found, broken = [], []
    for hook in hooks:
        try:
            found.append(replace(hook, args=await args_with_pictures(hook.args, options, network)))
        except imagecodec.BadImage as error:
            title = hook.extension.title
            log.warning("extension left out", extension=title, error=str(error))
            broken.append(failure(title, error))
    return tuple(found), tuple(broken)


async def args_with_pictures(args: Any, options: Options, network: Network = NETWORK) -> Any:
    """An extension's `Args` with the pictures that they name.

    Raises `BadImage`, and what `remote.pictures` raises.
    """
    sent = pictures_sent(args)
    if not sent:
        return args
    texts = await remote.pictures(tuple(sent.values()), options, network)
    read = await asyncio.to_thread(lambda: [imagecodec.decode(text) for text in texts])
    return with_pictures(args, dict(zip(sent, read, strict=True)))
