"""Streams at a leader: every change of a key or prefix, in the order of the log, told piece by piece when asked for.

    asked ──entries after `after`──> answered with them: to be asked again
          ──none───────────────────> set ──something is applied, or half of the history is over──> pushed, set no more
                                         ──leadership lost────────────────────────────────────> "ask again"

A piece is read from the machine's history, which has what is applied and nothing else, entry by entry: so nobody hears
of what is not committed (W5), of half an entry (W6), of an index twice or too late (W1, BM-082). What the history has
lost is answered with `Lagged` (BM-084). Nothing is kept here for a client that does not ask (BM-083).

An idle stream is told from time to time how far nothing has happened (W4): where another leader goes on from there
nothing is missing, and it is not called lagged for what never concerned it (W7).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any, TypeAlias

import msgspec

from zraft import limits
from zraft.errors import BackendError, Lagged, TooLarge, UsageError
from zraft.machine.backend import Change
from zraft.peer.duties import Client
from zraft.peer.filing import Filed, Filing
from zraft.session.machine import ReplicatedMachine
from zraft.session.outcomes import UNENCODABLE
from zraft.types import Index
from zraft.wire.changes import Chunk, Prefix, encode_entry, place_of, plain
from zraft.wire.session_requests import SessionWatch, Streamed
from zraft.wire.values import decode_value

Push: TypeAlias = Callable[[Client, Streamed], None]


class Stream(Filed):
    """One that is set. `after`: what its client has asked for; `seen`: nothing changed from there up to here."""

    __slots__ = ("after", "seen")

    def __init__(
        self, client: Client, number: int, session: int, places: tuple[Hashable, ...], *, after: Index, seen: Index
    ) -> None:
        super().__init__(client, number, session, places)
        self.after, self.seen = after, seen


class Streams(Filing[Stream]):
    """The streams that are set at one leader."""

    __slots__ = ("_max_bytes", "_order", "_push", "_seen", "_unsure")

    def __init__(self, push: Push, *, max_bytes: int) -> None:
        """`max_bytes`: of one piece; what does not fit there is not told."""
        super().__init__()
        self._push, self._max_bytes = push, max_bytes
        self._order: dict[Stream, None] = {}
        """As they were set, so that those with the lowest `seen` are first."""
        self._unsure: dict[Stream, None] = {}
        """Those of a backend that has reported no change so far, and may never do."""
        self._seen: Index = 0
        """Up to here every change has been looked at."""

    def ask(self, client: Client, request: SessionWatch, machine: ReplicatedMachine) -> Chunk:
        """The next piece; without entries the stream is set.

        Raises `Lagged`, `WatchNotSupported`, `Rejected`, `BackendError`, `Overloaded`, `ProtocolError`.
        """
        key = decode_value(request.key)
        key = Prefix(key) if request.is_prefix else key
        is_sure = machine.offers_stream(key)
        place, applied = place_of(key), machine.last_applied
        after = applied if request.after is None else request.after
        chunk = self._read(machine, place, after, after)
        if not chunk.entries:
            stream = Stream(client, request.watch, request.session, (place,), after=after, seen=chunk.index)
            self.file(stream)
            self._order[stream] = None
            if not is_sure:
                self._unsure[stream] = None
        return chunk

    def _read(self, machine: ReplicatedMachine, place: Hashable, after: Index, start: Index) -> Chunk:
        """What follows `start`, for whoever asked for what follows `after`; nothing happened between the two."""
        history = machine.history
        if start < history.floor:
            raise Lagged(index=history.floor)
        entries: list[msgspec.Raw] = []
        size = 0
        for index, changes in history.read(place, start):
            try:
                entry = self._encoded(index, changes)
            except (Lagged, BackendError):
                if not entries:
                    raise
                return Chunk(after, index - 1, entries)
            if entries and size + len(entry) > limits.STREAM_BYTES:
                return Chunk(after, index - 1, entries)
            entries.append(msgspec.Raw(entry))
            size += len(entry)
        return Chunk(after, max(start, machine.last_applied), entries)

    def _encoded(self, index: Index, changes: list[Change]) -> bytes:
        try:
            entry = encode_entry(index, changes)
        except (UsageError, TooLarge) as error:
            raise BackendError(
                UNENCODABLE, f"a change at index {index} cannot travel: {error}", executed="no"
            ) from error
        if len(entry) > self._max_bytes:
            raise Lagged(f"the {len(changes)} changes at index {index} fit in no frame", index=index)
        return entry

    def fire(self, changes: Iterable[tuple[Index, tuple[Any, ...]]], machine: ReplicatedMachine) -> None:
        """These were applied last: whom they concern is told."""
        if self.count:
            keys = (plain(key.key if type(key) is Change else key) for _, changed in changes for key in changed)
            concerned = dict.fromkeys(stream for key in keys for stream in self.concerned_by(key))
            for stream in concerned:
                self._tell(stream, machine)
            self._tell_idle(machine)
        self._seen = machine.last_applied

    def _tell(self, stream: Stream, machine: ReplicatedMachine) -> None:
        (place,) = stream.places
        try:
            chunk = self._read(machine, place, stream.after, max(stream.seen, self._seen))
        except (Lagged, BackendError):
            self._send_to_ask(stream)
            return
        if chunk.entries:
            self._end(stream, chunk)

    def _tell_idle(self, machine: ReplicatedMachine) -> None:
        """Nothing concerned them for long."""
        middle, applied = machine.history.middle, machine.last_applied
        for stream in list(self._order):
            if stream.seen >= middle:
                break
            self._end(stream, Chunk(stream.after, max(stream.seen, applied), []))
        if self._unsure:
            if machine.history.has_reported:
                self._unsure.clear()
            elif machine.history.is_silent:
                for stream in list(self._unsure):
                    self._send_to_ask(stream)

    def _send_to_ask(self, stream: Stream) -> None:
        """It hears the rest by asking."""
        self._end(stream, Chunk(stream.after, stream.after, []))

    def _end(self, stream: Stream, chunk: Chunk) -> None:
        self.remove(stream)
        self._push(stream.client, Streamed(stream.number, chunk))

    def remove(self, item: Stream) -> None:
        """It is set no more."""
        super().remove(item)
        self._order.pop(item, None)
        self._unsure.pop(item, None)

    def close(self) -> None:
        """The leadership is gone: whoever asks again is told who leads."""
        for stream in list(self._order):
            self._send_to_ask(stream)
