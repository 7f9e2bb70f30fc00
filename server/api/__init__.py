"""The routes, one router a family; a new endpoint is one more line here."""

from . import (
    catalog,
    cmd_flags,
    control,
    docs,
    extras,
    img2img,
    memory,
    options,
    ping,
    png_info,
    progress,
    samplers,
    scripts,
    txt2img,
    upscalers,
    vae,
)

ROUTERS = (
    txt2img.router,
    img2img.router,
    extras.router,
    progress.router,
    control.router,
    options.router,
    samplers.router,
    scripts.router,
    upscalers.router,
    catalog.router,
    vae.router,
    cmd_flags.router,
    memory.router,
    png_info.router,
    ping.router,
    docs.router,
)
