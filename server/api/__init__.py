"""The routes, one router a family; a new endpoint is one more line here."""

from . import (
    catalog,
    cmd_flags,
    control,
    docs,
    memory,
    options,
    ping,
    png_info,
    progress,
    samplers,
    txt2img,
)

ROUTERS = (
    txt2img.router,
    progress.router,
    control.router,
    options.router,
    samplers.router,
    catalog.router,
    cmd_flags.router,
    memory.router,
    png_info.router,
    ping.router,
    docs.router,
)
