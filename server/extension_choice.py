"""Which extensions there are, by the flags, and which of them are on, by the settings."""

from extensions.discovery import discovered
from extensions.protocol import Extension
from extensions.registry import EXTENSIONS

from .services import Services
from .settings import Settings


def extensions_of(settings: Settings) -> tuple[Extension, ...]:
    """Those that ship with the server and those from outside, as far as flags let them.

    The scripts that clients select are part of the server whatever the flags say.
    """
    if settings.disable_all_extensions:
        return tuple(each for each in EXTENSIONS if each.run is not None)
    if settings.disable_extra_extensions:
        return EXTENSIONS
    return discovered(EXTENSIONS, settings.extensions_dir, _names(settings.extensions))


def enabled(services: Services) -> tuple[Extension, ...]:
    """Those that the settings leave on now; the scripts of the server are always."""
    options = services.options.current
    off = {str(title).casefold() for title in options.disabled_extensions}
    extra = options.disable_all_extensions in ("extra", "all")
    every = options.disable_all_extensions == "all"
    return tuple(
        each
        for each in services.extensions
        if (each in EXTENSIONS and each.run is not None)
        or not (every or each.title.casefold() in off or (extra and each not in EXTENSIONS))
    )


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name for each in (text or "").split(",") if (name := each.strip()))
