"""Commands as a log: an entry for each, time that goes on, and where the backend minds a session and its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from zraft.core.entries import Batch, Kind
from zraft.machine.backend import Backend
from zraft.session.items import encode_items, encode_session_items, end_item, open_item, write_item
from zraft.sim.conformance.report import shown
from zraft.wire.values import decode_value

_TOKEN: Final = bytes(range(16))
_BORN: Final = 1_700_000_000_000
_TICK: Final = 700
"""Milliseconds of replicated time between two entries: what lives for seconds comes to its end on the way."""
_MANY: Final = 3
"""Of so many commands one is temporary, in a script with a session."""


class Step(msgspec.Struct, frozen=True):
    """An entry. `what` names it for a reader."""

    batch: Batch
    what: str


class Script(msgspec.Struct, frozen=True):
    """Entries from index 1 on. `title` is empty for that which has the plain commands only."""

    title: str
    steps: list[Step]


def plain_script(commands: Sequence[bytes]) -> Script:
    """Every command as a light session sends it."""
    return Script(
        "", [_step(index, encode_items([data]), _named(index, data)) for index, data in enumerate(commands, 1)]
    )


def has_hooks(backend: type[Backend]) -> bool:
    """It does something when sessions end or time passes."""
    return any(getattr(backend, name) is not getattr(Backend, name) for name in ("expire_session", "due", "advance"))


def hooked_script(commands: Sequence[bytes]) -> Script:
    """The same with temporary data of a session that ends after two thirds, and time entries in between."""
    steps = [_session_step(1, open_item(_TOKEN, 1000), "the opening of a session")]
    sequence = 0
    for number, data in enumerate(commands, 1):
        index = len(steps) + 1
        if number % _MANY == 1 and number * 3 <= len(commands) * 2:
            sequence += 1
            item = write_item(data, 1, sequence, sequence - 1, temporary=True)
            steps.append(_session_step(index, item, f"{_named(number, data)}, temporary"))
        else:
            steps.append(_step(index, encode_items([data]), _named(number, data)))
        if number % _MANY == 0:
            steps.append(_time_step(len(steps) + 1))
        if number == max(1, len(commands) * 2 // 3):
            steps.append(_session_step(len(steps) + 1, end_item(1, "stopped"), "the end of the session"))
    return Script("with a session and time entries", [*steps, _time_step(len(steps) + 1)])


def later(script: Script, count: int) -> list[Step]:
    """So many time entries after the script's last entry, each a day after the one before."""
    last = len(script.steps)
    return [_time_step(last + number, 86_400_000 * number) for number in range(1, count + 1)]


def _named(number: int, data: bytes) -> str:
    return f"command {number}, {shown(decode_value(data))}"


def _step(index: int, payload: bytes, what: str, kind: Kind = Kind.COMMANDS, late: int = 0) -> Step:
    time = index * _TICK + late
    return Step(Batch(index, 1, 1, time, _BORN + time, kind, payload), what)


def _session_step(index: int, item: bytes, what: str) -> Step:
    return _step(index, encode_session_items([item]), what)


def _time_step(index: int, late: int = 0) -> Step:
    return _step(index, b"", f"the time entry at index {index}", Kind.TIME, late)
