"""The backend "table": ordered keys with versions, times to live, transactions, ranges.

    table_types      the commands and queries, and the entries that queries answer
    table_keys       which keys there are, and their order
    table_values     which values there are, when two are the same, deadlines, sums
    table_apply      what each command does; table_txn: what a transaction does
    table_entries    the entries: by key, in order, by owner, by deadline; table_digest: a number over all of them

A command that is refused has changed nothing. An entry whose time has come is there, for commands as for queries, until
an entry of the log says that it is that late; then it goes on every replica at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import merge
from typing import Any, ClassVar, Final

from zraft.limits import TABLE_ANSWER_ENTRIES, TABLE_EXPIRIES
from zraft.machine.backend import (
    Answer,
    Applied,
    Backend,
    Change,
    Context,
    Directory,
    Prefix,
    Reject,
    SnapshotWriter,
)
from zraft.machine.chunks import read_chunks, write_chunks
from zraft.machine.table_apply import ACTIONS, Apply, found, remove
from zraft.machine.table_digest import decoded, encoded
from zraft.machine.table_entries import Entries
from zraft.machine.table_keys import as_key, bounds, bounds_of_prefix, place_of
from zraft.machine.table_txn import txn
from zraft.machine.table_types import Command, Count, Entry, Get, Query, Range, Txn
from zraft.machine.table_types import Prefix as PrefixQuery
from zraft.types import Millis, PeerId, Value

_FILE: Final = "table"
_FORMAT: Final = 1
_COMMANDS: Final[dict[type, Apply]] = {**{kind: apply for kind, apply in ACTIONS.items() if kind is not Get}, Txn: txn}


class TableBackend(Backend):
    """A table, replicated."""

    name: ClassVar[str] = "table"
    Command: ClassVar[Any] = Command
    Query: ClassVar[Any] = Query

    def __init__(self, peer_id: PeerId) -> None:
        super().__init__(peer_id)
        self._entries = Entries()

    def apply(self, command: Any, ctx: Context) -> Any:
        """Rejects what breaks a rule of the command, see `table_apply` and `table_txn`, the state unchanged."""
        apply = _COMMANDS.get(type(command))
        if apply is None:
            raise Reject("bad_command", f"a {type(command).__name__} is no command of the table")
        changes: list[Change] = []
        result = apply(self._entries, command, ctx, changes)
        return Applied(result, tuple(changes)) if changes else result

    def offers_stream(self, key: Any) -> bool:
        """Keys and prefixes. Rejects "bad_key"."""
        if type(key) is Prefix:
            bounds_of_prefix(key.key)
        else:
            place_of(key)
        return True

    def query(self, query: Any) -> Answer:
        """Rejects "bad_key", "bad_limit" and "too_many"."""
        match query:
            case Get(key):
                return Answer(found(self._entries, key), (as_key(key),))
            case Range(start, end, limit, reverse):
                return Answer(self._answers(*bounds(start, end), limit, reverse=reverse))
            case PrefixQuery(prefix, limit):
                return Answer(self._answers(*bounds_of_prefix(prefix), limit), (Prefix(as_key(prefix)),))
            case Count(start, end):
                first, stop = self._entries.positions(*bounds(start, end))
                return Answer(stop - first)
            case _:
                raise Reject("bad_query", f"a {type(query).__name__} is no query of the table")

    def _answers(self, start: bytes, end: bytes, limit: int, *, reverse: bool = False) -> list[dict[str, Value]]:
        if limit < 0:
            raise Reject("bad_limit", "a limit is 0, for all, or above")
        first, stop = self._entries.positions(start, end)
        if limit and stop - first > limit:
            first, stop = (stop - limit, stop) if reverse else (first, first + limit)
        if stop - first > TABLE_ANSWER_ENTRIES:
            raise Reject("too_many", f"{stop - first} entries; an answer has {TABLE_ANSWER_ENTRIES} at most")
        return [entry.as_answer() for entry in self._entries.between(first, stop, reverse=reverse)]

    def expire_session(self, session: int, ctx: Context) -> Iterable[Any]:
        """Removes every entry of the session; the kind of their change is "session"."""
        return self._remove(self._entries.owned_by(session), "session")

    def due(self) -> Millis | None:
        """When the next entry goes."""
        return self._entries.next_deadline()

    def advance(self, ctx: Context) -> Iterable[Any]:
        """Removes entries whose time has come, earliest first; the kind of their change is "expire"."""
        return self._remove(self._entries.gone_by(ctx.time, TABLE_EXPIRIES), "expire")

    def _remove(self, places: list[bytes], kind: str) -> list[Change]:
        changes: list[Change] = []
        for place in places:
            entry = self._entries.get(place)
            if entry is not None:
                remove(self._entries, place, entry, kind, changes)
        return changes

    def snapshot(self) -> SnapshotWriter:
        """Holds the entries as they are, and copies nothing."""
        captured = self._entries.capture()

        def write(directory: Directory) -> None:
            items = (encoded(entry) for _, entry in captured.pairs())
            write_chunks(directory, _FILE, format=_FORMAT, count=len(captured), items=items)

        return write

    def snapshot_done(self) -> None:
        """What changed meanwhile is merged, a little with each further change."""
        self._entries.release()

    def snapshot_failed(self, error: Exception) -> None:
        """As when it is done: the entries are not needed as they were."""
        self._entries.release()

    def install_snapshot(self, directory: Directory) -> None:
        """Raises `CorruptData` where the file is not one that `snapshot` wrote; the instance is then of no use."""
        installed: dict[bytes, Entry] = {}
        sorted_runs: list[list[bytes]] = []

        def install(items: list[Any]) -> int:
            run = []
            for item in items:
                entry = decoded(item)
                place = place_of(entry.key)
                installed[place] = entry
                run.append(place)
            run.sort()
            sorted_runs.append(run)
            return len(installed)

        read_chunks(directory, _FILE, install, format=_FORMAT)
        # Sorted piece by piece: one sort of a million keys would hold the interpreter for half a second.
        self._entries.fill(installed, merge(*sorted_runs))

    def digest(self) -> int:
        """The sum of a 64-bit hash of every entry. Costs 2 µs for each that changed since it was last asked for."""
        return self._entries.digest()

    def sample(self, changed: Sequence[Any], index: int) -> int:
        """Over all entries where they are few, else over the changed ones and a stretch that moves with `index`."""
        return self._entries.sample({place_of(key): None for key in changed}, index)

    def temporary_count(self) -> int:
        """Counts session by session: asked for a status, not for every command."""
        return self._entries.owned_count()

    @property
    def size(self) -> int:
        """How many entries there are."""
        return len(self._entries)
