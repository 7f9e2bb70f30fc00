"""Which settings a client may not change, by their nature or by the flags of the server."""

from dataclasses import dataclass
from typing import Self

from .option_table import NOTES, sections
from .settings import Settings

LOCKED = frozenset({"api_enable_requests", "api_forbid_local_requests", "api_useragent"})
"""Keys that only config.json sets: no client may loosen what pictures the server fetches."""

DERIVED = frozenset({"sd_checkpoint_hash", *NOTES})
"""Keys that are told and not kept; a client that sends everything back sends them too."""

_PATHS = frozenset({"samples_filename_pattern", "directories_filename_pattern"})
_FOLDERS = "outdir_"


class FrozenOption(Exception):
    """A setting was to change that a flag of the server holds as it is."""

    def __init__(self, key: str, flag: str) -> None:
        super().__init__(f"not possible to set {key!r}: it is frozen with {flag}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the flags of the server withhold from clients."""

    all_frozen: bool = False
    frozen_sections: frozenset[str] = frozenset()
    frozen_keys: frozenset[str] = frozenset()
    paths_hidden: bool = False

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The rules that the command line asks for."""
        return cls(
            all_frozen=settings.freeze_settings,
            frozen_sections=_names(settings.freeze_settings_in_sections),
            frozen_keys=_names(settings.freeze_specific_settings),
            paths_hidden=settings.hide_ui_dir_config,
        )

    def ignores(self, key: str) -> bool:
        """Whether a change of `key` has no effect and is no error."""
        if key in LOCKED or key in DERIVED:
            return True
        return self.paths_hidden and (key in _PATHS or key.startswith(_FOLDERS))

    def held_by(self, key: str) -> str | None:
        """The flag that holds `key` as it is, if one does."""
        if self.all_frozen:
            return "--freeze-settings"
        if sections()[key] in self.frozen_sections:
            return f"--freeze-settings-in-sections {sections()[key]}"
        return "--freeze-specific-settings" if key in self.frozen_keys else None


def _names(text: str | None) -> frozenset[str]:
    return frozenset(name.strip() for name in (text or "").split(",") if name.strip())
