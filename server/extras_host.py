"""The extensions that a job of extras names, and what they may ask for: nothing is drawn there."""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

from extensions.protocol import BadScriptArgs
from extensions.registry import NO_HOOKS, Hooks, Named
from extensions.wanted import Wanted
from pipelines.watch import Watch

from .options import Options
from .schemas.extras import ExtrasRequest
from .services import Services
from .workshop import host


def begun(
    services: Services,
    options: Options,
    request: ExtrasRequest,
    watch: Watch,
    named: Sequence[Named],
    broken: tuple[str, ...],
) -> Hooks:
    """The hooks of a job; `broken` says why some cannot be had. Call it in a thread."""
    if not named:
        return Hooks(broken=broken) if broken else NO_HOOKS
    wanted = Wanted("extras", MappingProxyType(dict(request)))
    lender = host(
        services,
        options,
        watch,
        check=_draws_nothing,
        generate=_draws_nothing,
        describe=_draws_nothing,
    )
    return Hooks.begin(named, lender, wanted, broken)


def _draws_nothing(*asked: object) -> Any:
    raise BadScriptArgs("extras draw nothing: only finished pictures are worked on here")
