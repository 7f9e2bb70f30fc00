"""The extensions that a job of extras names, and what they may ask for: nothing is drawn there."""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

from extensions.protocol import BadScriptArgs, Host
from extensions.registry import NO_HOOKS, Hooks, Named
from extensions.wanted import Wanted
from pipelines.watch import Watch

from .options import Options
from .schemas.extras import ExtrasRequest
from .services import Services
from .workshop import Hurry, lent


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
    return Hooks.begin(named, _host(services, options, watch), wanted, broken)


def _host(services: Services, options: Options, watch: Watch) -> Host:
    checkpoints = services.library.checkpoints

    def stopped() -> bool:
        return watch.interrupted or watch.cancelled

    def tick(share: float) -> None:
        if watch.stopping or watch.cancelled:
            raise Hurry

    def find_checkpoint(name: str) -> str | None:
        found = checkpoints.closest(name)
        return None if found is None else found.name

    return Host(
        **lent(services, options, tick),
        expect=watch.expect_plans,
        check=_draws_nothing,
        generate=_draws_nothing,
        describe=_draws_nothing,
        stopped=stopped,
        skipped=lambda: watch.progress().skipped,
        find_checkpoint=find_checkpoint,
    )


def _draws_nothing(*asked: object) -> Any:
    raise BadScriptArgs("extras draw nothing: only finished pictures are worked on here")
