"""What is left of a run: some of its faults, some of its commands, fewer nodes, a shorter time.

A run with an excerpt follows the script that the whole run of its seed has left (its `faults`), so that nothing that
is left out changes what else is drawn. It is written in one line, without blanks, for the command that replays it:

    faults=3,9;commands=c0.4,c1.7;calm=loss,jitter_ms;nodes=3;until=2310
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from zraft.errors import UsageError
from zraft.sim.profiles import Rates
from zraft.types import Millis

CALMABLE: Final = (
    "write_error",
    "sync_error",
    "read_error",
    "quota",
    "snapshot_error",
    "transfer_error",
    "slow_sync",
    "slow_apply",
    "replay",
    "duplicate",
    "loss",
    "snapshot_ms",
    "jitter_ms",
    "sync_ms",
)
"""Rates of what happens all the time, and may be left out as a whole."""

_EVEN: Final = "clocks"
"""Left out, every clock runs at its right rate."""

WEATHER: Final = (*CALMABLE, _EVEN)


class Excerpt(msgspec.Struct, frozen=True, kw_only=True):
    """None is everything, and 0 no limit."""

    faults: tuple[int, ...] | None = None
    """The numbers of those that happen."""
    commands: tuple[str, ...] | None = None
    """Client and number of those that are asked, while there is chaos."""
    calm: tuple[str, ...] = ()
    """Of `WEATHER`: what there is none of."""
    nodes: int = 0
    """So many of the seed's nodes at most."""
    log_count: int = 0
    """Snapshots are taken after so many entries, and the log is cut there."""
    until_ms: Millis = 0
    """The run ends then, whatever it has not come to."""

    @property
    def is_whole(self) -> bool:
        return self == WHOLE

    @property
    def has_even_clocks(self) -> bool:
        return _EVEN in self.calm

    def asks(self, command: str) -> bool:
        """This command is not left out."""
        return self.commands is None or command in self.commands

    def calmed(self, rates: Rates) -> Rates:
        """The rates without what is left out."""
        none = {name: 0 for name in self.calm if name in CALMABLE}
        return msgspec.structs.replace(rates, **none) if none else rates

    def __str__(self) -> str:
        parts = [
            ("faults", _listed(self.faults)),
            ("commands", _listed(self.commands)),
            ("calm", _listed(self.calm or None)),
            ("nodes", str(self.nodes) if self.nodes else None),
            ("log", str(self.log_count) if self.log_count else None),
            ("until", str(self.until_ms) if self.until_ms else None),
        ]
        return ";".join(f"{name}={text}" for name, text in parts if text is not None)


WHOLE: Final = Excerpt()
"""Everything."""


def _listed(items: Iterable[object] | None) -> str | None:
    return None if items is None else ",".join(map(str, items))


def parse_excerpt(text: str) -> Excerpt:
    """The excerpt that was written like this. Raises UsageError."""
    given: dict[str, str] = {}
    for part in filter(None, text.split(";")):
        name, equals, value = part.partition("=")
        if not equals or name not in ("faults", "commands", "calm", "nodes", "log", "until") or name in given:
            raise UsageError(f"not an excerpt of a run: {text!r}")
        given[name] = value
    calm = tuple(_items(given.get("calm", "")))
    if unknown := [name for name in calm if name not in WEATHER]:
        raise UsageError(f"nothing that an excerpt can leave out: {', '.join(unknown)}")
    try:
        return Excerpt(
            faults=tuple(map(int, _items(given["faults"]))) if "faults" in given else None,
            commands=tuple(_items(given["commands"])) if "commands" in given else None,
            calm=calm,
            nodes=int(given.get("nodes", "0")),
            log_count=int(given.get("log", "0")),
            until_ms=int(given.get("until", "0")),
        )
    except ValueError as error:
        raise UsageError(f"not an excerpt of a run: {text!r}") from error


def _items(text: str) -> list[str]:
    return [item for item in text.split(",") if item]
