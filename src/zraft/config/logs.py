"""Where a node that is asked to writes its logs: the tables `[log.console]`, `[log.error]` and `[log.crash]`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar

from zraft import limits
from zraft.config.keys import SECTION_KEYS, checked, shortened, sorted_out
from zraft.errors import ConfigError

Output: TypeAlias = Literal["off", "file", "console", "both"]
Level: TypeAlias = Literal["debug", "info", "warning", "error", "critical"]
SectionT = TypeVar("SectionT")


def _fill(section: object, name: str) -> None:
    """Check the fields of a section of LogConfig and put the checked values in their place."""
    values, problems = checked(SECTION_KEYS[name], vars(section), f"log.{name}.")
    if problems:
        raise ConfigError(list(problems.values()))
    for key, value in values.items():
        object.__setattr__(section, key, value)


@dataclass(frozen=True, kw_only=True)
class ConsoleLog:
    """`[log.console]`: what happens, for a reader; `file` is written where `output` is "file" or "both"."""

    output: Output = "console"
    level: Level = "info"
    file: str = "./log/console.log"
    size: int = 10 * limits.MIB
    rotation: str = "$D0"
    keep: int = 5

    def __post_init__(self) -> None:
        _fill(self, "console")


@dataclass(frozen=True, kw_only=True)
class ErrorLog:
    """`[log.error]`: errors only; beyond `messages_per_second` they are counted and dropped."""

    messages_per_second: int = 100
    file: str = "./log/error.log"
    size: int = 10 * limits.MIB
    rotation: str = "$D0"
    keep: int = 5

    def __post_init__(self) -> None:
        _fill(self, "error")


@dataclass(frozen=True, kw_only=True)
class CrashLog:
    """`[log.crash]`: whole tracebacks of what stopped a peer or a node, each cut at `maximum_message_size`."""

    enabled: bool = True
    maximum_message_size: int = 64 * limits.KIB
    file: str = "./log/crash.log"
    size: int = 10 * limits.MIB
    rotation: str = "$D0"
    keep: int = 5

    def __post_init__(self) -> None:
        _fill(self, "crash")


@dataclass(frozen=True, init=False)
class LogConfig:
    """Where a node logs to files and the console. A section may be given as a mapping of its keys.

    A file is rotated when it reaches `size` or when `rotation` says so, whichever comes first; `keep` old ones stay.
    """

    console: ConsoleLog
    error: ErrorLog
    crash: CrashLog

    def __init__(
        self,
        *,
        console: ConsoleLog | Mapping[str, Any] | None = None,
        error: ErrorLog | Mapping[str, Any] | None = None,
        crash: CrashLog | Mapping[str, Any] | None = None,
    ) -> None:
        problems: list[str] = []
        for name, kind, given in (
            ("console", ConsoleLog, console),
            ("error", ErrorLog, error),
            ("crash", CrashLog, crash),
        ):
            object.__setattr__(self, name, _section(name, kind, given, problems))
        problems = problems or self._shared_files()
        if problems:
            raise ConfigError(problems)

    def _shared_files(self) -> list[str]:
        """A problem for each file that an earlier section writes, too."""
        found: dict[str, str] = {}
        for name in ("console", "error", "crash"):
            path = os.path.abspath(getattr(self, name).file)
            if path in found:
                return [f"log.{name}.file: must be another file than log.{found[path]}.file, {path}"]
            found[path] = name
        return []


def _section(name: str, kind: type[SectionT], given: Any, problems: list[str]) -> SectionT | None:
    if isinstance(given, kind):
        return given
    if given is not None and not isinstance(given, Mapping):
        problems.append(f"log.{name}: must be a table, not {shortened(given)}")
        return None
    known, unknown = sorted_out(SECTION_KEYS[name], given or {}, f"log.{name}.")
    problems += unknown
    try:
        return kind(**known)
    except ConfigError as error:
        problems += error.problems
        return None
