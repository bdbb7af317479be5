"""What streams promise: every piece of one is compared with the committed log, once the run is over.

Formulas, of a piece after index a up to index b: its entries are those of the committed log in (a, b] that changed what
is watched, each with all that it changed there, once a key, in order (W1, W2, W4 to W6). A stream that is set at a
leader has been told of everything up to the present (W4: that is what the answer to a ping says). Nobody is told that
history is gone who asked for what follows a later index. Once all is well every stream gets to the end of the log (W3).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

import msgspec

from zraft.errors import ProtocolError
from zraft.machine.backend import Change
from zraft.peer.streams import Stream
from zraft.session.machine import ReplicatedMachine
from zraft.sim.checks.ghost import Violation
from zraft.types import Index
from zraft.wire.changes import Chunk, Entry, begins_so, entries_of, is_prefix


class _Piece(msgspec.Struct, frozen=True):
    """What was said of the indexes above `after`, up to `index`."""

    who: str
    place: Hashable
    after: Index
    index: Index
    entries: list[Entry]


class StreamChecks:
    """Of one run."""

    def __init__(self) -> None:
        self._pieces: list[_Piece] = []
        self._set: dict[Stream, Index] = {}
        """Every stream that was seen set at a leader, and up to where the leader had applied when it still was."""
        self.entries = self.lagged = 0

    def told(self, who: str, place: Hashable, chunk: Chunk) -> list[Entry]:
        """A client got a piece. Raises Violation where it is none."""
        try:
            entries = entries_of(chunk)
        except ProtocolError as error:
            raise Violation("streams", f"{who}: {error}") from error
        self._pieces.append(_Piece(who, place, chunk.after, chunk.index, entries))
        self.entries += len(entries)
        return entries

    def told_lagged(self, who: str, after: Index, index: Index) -> None:
        """A client that asked for what follows `after` was told that it is gone, up to `index`."""
        self.lagged += 1
        if index <= after:
            raise Violation("streams", f"{who} has everything up to {after} and is told that {index} is gone")

    def looked(self, streams: Iterable[Stream], machine: ReplicatedMachine) -> None:
        """A leader has ended a turn in which these are set."""
        for stream in streams:
            self._set[stream] = machine.last_applied

    def judge(self, changes: list[tuple[Index, tuple[Any, ...]]]) -> None:
        """Against all changes of the committed log. Raises Violation."""
        found: dict[Hashable, list[Entry]] = {}
        for piece in self._pieces:
            due = _between(found, changes, piece.place, piece.after, piece.index)
            if piece.entries != due:
                text = f"after {piece.after} up to {piece.index} was {piece.entries}, the log has {due}"
                raise Violation("streams", f"{piece.who}, {piece.place}: {text}")
        for stream, applied in self._set.items():
            missed = _between(found, changes, stream.places[0], stream.seen, applied)
            if missed:
                text = f"set at {stream.seen} and not told up to {applied} of {missed}"
                raise Violation("streams", f"{stream.client}, {stream.places[0]}: {text}")


def _between(
    found: dict[Hashable, list[Entry]],
    changes: list[tuple[Index, tuple[Any, ...]]],
    place: Hashable,
    after: Index,
    last: Index,
) -> list[Entry]:
    if place not in found:
        entries = [(index, _at(place, changed)) for index, changed in changes]
        found[place] = [entry for entry in entries if entry[1]]
    return [entry for entry in found[place] if after < entry[0] <= last]


def _at(place: Hashable, changed: tuple[Any, ...]) -> list[Change]:
    """What the entry did there in the end, in the order of the last changes."""
    kept: dict[Hashable, Change] = {}
    for change in changed:
        if begins_so(change.key, place) if is_prefix(place) else change.key == place:
            kept.pop(change.key, None)
            kept[change.key] = change
    return list(kept.values())
