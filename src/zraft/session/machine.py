"""One replica's state machine: committed batches in, outcomes out, each entry once and in order.

Guarantees that the state after index i depends on nothing but the entries up to i (BM-119), that an entry is applied
exactly once (BM-078: the applied index is captured together with the state), and that a command which the backend
cannot take is that entry's outcome on every replica instead of everybody's end (BM-118). What this cannot vouch for
stops the peer by `ReplicaFault`, and the machine then applies nothing more.

Relies on whoever drives it for commitment: batches arrive committed and contiguous. A long batch may be applied in
slices; its payload is decoded once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from zraft.core.entries import Batch, Kind
from zraft.errors import BackendError, Rejected, ReplicaFault, SessionExpired, UsageError, WatchNotSupported
from zraft.machine.backend import Answer, Applied, Backend, Change, Context, Directory, Prefix, Reject
from zraft.session.decoding import MALFORMED, BackendDecoder, raw_items
from zraft.session.history import History, HistorySettings, Keys
from zraft.session.items import END, OPEN, RESUME, TEMPORARY, Item, Marks, RawItem
from zraft.session.outcomes import FATAL, UNCHANGING, Outcome, attempted, failed, rejected, settled
from zraft.session.replies import kept, outcome_of
from zraft.session.sessions import GONE, Session, Sessions
from zraft.session.snapshots import FORMAT, Captured, Surroundings, capture, install
from zraft.types import Index, Millis, Term, Value

ADVANCE_RETRY: Final[Millis] = 1000
"""After an `advance` that raised, `due` asks for the next time entry so much later: no flood of them."""

Changed: TypeAlias = tuple[Index, Keys]
"""The keys (or `Change`s) that one entry changed."""

_BAD_COMMAND: Final = "not a command that this backend knows"


class ReplicatedMachine:
    """A backend with its place in the log.

    `collect_changes` is set while somebody watches: only then are changed keys kept, until `take_changes`. `history`
    has the latest of them always.
    """

    def __init__(self, backend: Backend, history: HistorySettings | None = None) -> None:
        """`backend` is fresh. Raises `UsageError` where its Command or Query is no type that msgspec can decode."""
        self.backend = backend
        self.sessions = Sessions()
        self.collect_changes = False
        self.last_applied: Index = 0
        self.advance_error: str | None = None
        """What the last `due`, `advance` or `expire_session` raised, by class name; None: nothing."""
        self._decoder = BackendDecoder(backend)
        self.history = History(backend, self._decoder, history or HistorySettings())
        self._ctx = Context(index=0, term=0)
        self._items: Sequence[Item[Any]] = ()
        self._raw: Sequence[RawItem] = ()
        """Of the same batch, once one of them was wanted."""
        self._apply: Callable[[Any, Context], Any] = backend.apply
        self._changes: list[Changed] = []
        self._changed: Keys = ()
        """What the entry that was applied last has changed, where it was no light write."""
        self._not_due_before: Millis = 0
        self._fault: str | None = None

    @property
    def time(self) -> Millis:
        """Replicated time of the last applied entry."""
        return self._ctx.time

    @property
    def term(self) -> Term:
        """Term of the last applied entry."""
        return self._ctx.term

    @property
    def version(self) -> int:
        """The machine version in force."""
        return self._ctx.version

    @property
    def is_between_batches(self) -> bool:
        """No batch is half applied: the state may be captured."""
        return not self._items and self._fault is None

    def apply_batch(
        self, batch: Batch, first_offset: int = 0, limit: int | None = None, *, replies: bool = True
    ) -> list[Outcome]:
        """Applies `batch` from its entry number `first_offset` (from 0) on: all of it, or at most `limit` entries.

        Returns an outcome for each entry applied, None for entries that are not commands; `replies=False`, where nobody
        waits, returns an empty list and saves the work. `last_applied` says how far it came. Raises `ReplicaFault` for
        entries out of order, time or term that run backwards, kinds, items and payloads that this version does not
        know, and for what `FATAL` lists; the machine is then of no further use.
        """
        if limit is not None and limit < 1:
            raise UsageError(f"a slice of {limit} entries")
        if self._fault is not None:
            raise ReplicaFault(self._fault)
        index = batch.first + first_offset
        self._fault = f"the apply at index {index} did not end"
        outcomes: list[Outcome] = []
        try:
            self._begin(batch, index)
            if batch.kind == Kind.COMMANDS:
                stop = batch.count if limit is None else min(batch.count, first_offset + limit)
                items = self._items[first_offset:stop]
                changed = self._apply_items(items, outcomes if replies else None, batch)
                size = len(batch.payload) * len(items) // batch.count
                self._note(index, changed, batch.payload, first_offset, size)
            else:
                stop = self._apply_single(batch)
                outcomes += [None] if replies else []
        except ReplicaFault as fault:
            self._fault = str(fault)
            raise
        self.last_applied = batch.first + stop - 1
        if stop == batch.count:
            self._items = self._raw = ()
        self._fault = None
        return outcomes

    def _begin(self, batch: Batch, index: Index) -> None:
        """The batch follows what was applied, and its items are decoded."""
        ctx = self._ctx
        if index != self.last_applied + 1 or not batch.first <= index <= batch.last:
            raise ReplicaFault(
                f"index {index} of batch {batch.first} to {batch.last} cannot follow {self.last_applied}"
            )
        if batch.time < ctx.time:
            raise ReplicaFault(f"time runs back from {ctx.time} to {batch.time} at index {index}")
        if batch.term < ctx.term:
            raise ReplicaFault(f"the term falls from {ctx.term} to {batch.term} at index {index}")
        ctx.index, ctx.term, ctx.time, ctx.wall = index, batch.term, batch.time, batch.wall
        if batch.kind == Kind.COMMANDS and not self._items:
            items, are_sound = self._decoder.items(batch.payload)
            if len(items) != batch.count:
                raise ReplicaFault(f"batch {batch.first} to {batch.last} holds {len(items)} items")
            self._items, self._apply = items, self.backend.apply if are_sound else self._apply_sound

    def _apply_items(self, items: Sequence[Item[Any]], outcomes: list[Outcome] | None, batch: Batch) -> list[Keys]:
        """One turn of the loop a command: it makes nothing that the backend does not ask for. What each has changed."""
        apply, ctx, history, next_write = self._apply, self._ctx, self.history, self.sessions.next_write
        index = ctx.index - 1
        session: Session | None = None
        noted: list[Keys] = []
        changed: Keys
        for item in items:
            index += 1
            ctx.index = index
            marks = item.marks
            if marks is not None:
                self._changed = ()
                found = next_write(marks) or self._apply_marked(marks, batch)
                if type(found) is not Session:
                    noted.append(self._changed)
                    if outcomes is not None:
                        outcomes.append(found)
                    continue
                session = found
                ctx.session, ctx.temporary = marks.session, marks.flags == TEMPORARY
            try:
                outcome = apply(item.command, ctx)
                if type(outcome) is Applied:
                    changed = outcome.changed if type(outcome.changed) is tuple else tuple(outcome.changed)
                    outcome = outcome.result
                else:
                    changed, history.is_silent = (), True
            except Reject as refusal:
                outcome, changed = rejected(refusal), ()
            except FATAL as error:
                raise ReplicaFault(f"apply raised {type(error).__name__} at index {index}: {error}") from error
            except Exception as error:
                outcome, changed = failed(error, executed="yes"), ()
            noted.append(changed)
            if session is not None:  # its reply is kept, encoded, whether somebody waits for it here or not
                ctx.session, ctx.temporary = None, False
                reply = kept(index, outcome)
                session.keep(reply)
                if outcomes is not None:
                    outcomes.append(outcome_of(reply))
                session = None
            elif outcomes is not None:
                outcomes.append(outcome if type(outcome) in UNCHANGING else settled(outcome))
        return noted

    def _note(self, first: Index, changed: list[Keys], payload: bytes, offset: int, size: int) -> None:
        """What the entries from `first` on have changed, for the history and for `take_changes`."""
        self.history.add(first, changed, payload, offset, size)
        if self.collect_changes:
            self._changes += [(index, keys) for index, keys in enumerate(changed, first) if keys]

    def _apply_marked(self, marks: Marks, batch: Batch) -> Session | Outcome:
        """An item of a session: what kind it is must be known here, to skip it is to diverge (BM-117).

        The session, where it is a write that runs now; otherwise what became of it.
        """
        index, session, sequence, flags = self._ctx.index, marks.session, marks.sequence, marks.flags
        if session > 0 and sequence > 0 and flags in (0, TEMPORARY) and 0 <= marks.acknowledged < sequence:
            return self.sessions.admit(session, sequence, marks.acknowledged)
        if sequence == 0 and marks.acknowledged == 0:
            if session > 0 and flags == END:
                return self._end_session(session)
            if session == 0 and flags in (OPEN, RESUME):
                if not self._raw:
                    self._raw = raw_items(batch.payload)
                raw = self._raw[index - batch.first].command
                outcome = self.sessions.open(index, raw) if flags == OPEN else self.sessions.resume(index, raw)
                return settled(outcome) if type(outcome) is list else outcome
        raise ReplicaFault(f"the item at index {index} is of a kind that this version does not know: {marks}")

    def _end_session(self, session: int) -> Outcome:
        """The session, its replies and its temporary data go in this one apply."""
        if not self.sessions.end(session):
            return SessionExpired(GONE)
        ctx = self._ctx
        changed = attempted(f"expire_session at index {ctx.index}", self._expired, session, ctx)
        if isinstance(changed, BackendError):
            self.advance_error = changed.type
        else:
            self._changed = changed
        return None

    def _expired(self, session: int, ctx: Context) -> Keys:
        return _gone(self.backend.expire_session(session, ctx), "session")

    def _apply_sound(self, command: Any, ctx: Context) -> Any:
        """For a batch with a command in it that could not be decoded."""
        if command is MALFORMED:
            raise Reject("bad_command", _BAD_COMMAND)
        return self.backend.apply(command, ctx)

    def _apply_single(self, batch: Batch) -> int:
        """The kinds that are one entry and no command. Returns 1."""
        if batch.kind not in (Kind.NOOP, Kind.CONFIGURATION, Kind.TIME):
            raise ReplicaFault(f"the entry at index {batch.first} is of kind {batch.kind}, unknown to this version")
        if batch.count != 1:
            raise ReplicaFault(f"batch {batch.first} to {batch.last} is of kind {batch.kind}, which is one entry")
        if batch.kind == Kind.TIME:
            self._advance()
        return 1

    def _advance(self) -> None:
        """Replicated time moved on because something was due: whether it still is depends on the state alone."""
        self.advance_error = None
        ctx = self._ctx
        changed = attempted(f"advance at index {ctx.index}", self._advance_if_due, ctx)
        if isinstance(changed, BackendError):
            self.advance_error = changed.type
            self._not_due_before = ctx.time + ADVANCE_RETRY
        else:
            self._not_due_before = ctx.time + 1
            self._note(ctx.index, [changed], b"", 0, 0)

    def _advance_if_due(self, ctx: Context) -> Keys:
        due = self.backend.due()
        return () if due is None or due > ctx.time else _gone(self.backend.advance(ctx), "expire")

    def due(self) -> Millis | None:
        """The replicated time at which a leader should propose a time entry; None: nothing is waiting.

        Raises `ReplicaFault` where the backend's `due` raises what `FATAL` lists; anything else counts as None.
        """
        due = attempted("due", self.backend.due)
        if isinstance(due, BackendError):
            self.advance_error = due.type
            return None
        return None if due is None else max(due, self._not_due_before)

    def temporary_count(self) -> int:
        """How much temporary data the backend says that it has; 0 where it raises: this is for a status only."""
        count = attempted("temporary_count", self.backend.temporary_count)
        return count if type(count) is int else 0

    def take_changes(self) -> list[Changed]:
        """The changed keys (or `Change`s) of each entry since the last call, in log order."""
        changes, self._changes = self._changes, []
        return changes

    @property
    def changes_count(self) -> int:
        """How many entries `take_changes` would name."""
        return len(self._changes)

    def changes_since(self, count: int) -> list[Changed]:
        """The same without the first `count`, which stay to be taken, as all others do."""
        return self._changes[count:]

    def query(self, data: bytes | msgspec.Raw) -> Value:
        """The backend's answer from the state as of `last_applied`, to be encoded before anything more is applied.

        Raises `Rejected` where the backend refuses or does not know the query, and `BackendError` (not executed) where
        it raises anything else: a query is answered by one replica, so nothing of it needs to stop a peer.
        """
        return self.answer(data).value

    def answer(self, data: bytes | msgspec.Raw, *, watch: bool = False) -> Answer:
        """Like `query`, with the keys to watch as a tuple. Raises `WatchNotSupported` where `watch` finds none."""
        try:
            found = self.backend.query(self._decoder.query(data))
            answer = Answer(found.value, tuple(found.watch)) if type(found) is Answer else Answer(found)
        except Reject as refusal:
            raise rejected(refusal) from refusal
        except Rejected:
            raise
        except Exception as error:
            raise failed(error, executed="no") from error
        if watch and not answer.watch:
            raise WatchNotSupported(f"the backend {self.backend.name!r} offers no watch for this query")
        return answer

    def offers_stream(self, key: Any) -> bool:
        """The changes of `key`, a key or a `Prefix`, are reported, as far as can be known. True: for certain.

        Raises `WatchNotSupported` where they are not, `Rejected` for what the backend says is no key, `BackendError`.
        """
        try:
            offers = self.backend.offers_stream(key)
        except Reject as refusal:
            raise rejected(refusal) from refusal
        except Exception as error:
            raise failed(error, executed="no") from error
        history = self.history
        if offers is False or (offers is None and history.is_silent and not history.has_reported):
            what = f"the prefix {key.key!r}" if type(key) is Prefix else f"the key {key!r}"
            raise WatchNotSupported(f"the backend {self.backend.name!r} reports no changes of {what}")
        return offers is not None or history.has_reported

    def digest(self) -> int | None:
        """A number over the state at `last_applied`, sessions included; None where the backend offers none."""
        digest = self.backend.digest()
        return None if digest is None else (digest + self.sessions.digest()) & ((1 << 64) - 1)

    def capture(self) -> Captured:
        """Holds the state after `last_applied`, to be written to a snapshot that stands at this index.

        Raises `UsageError` while a batch is half applied, and what the backend's `snapshot` raises.
        """
        if not self.is_between_batches:
            raise UsageError(f"no snapshot in the middle of a batch: index {self.last_applied} is applied")
        ctx = self._ctx
        surroundings = Surroundings(FORMAT, self.last_applied, ctx.term, ctx.time, ctx.version)
        return capture(self.backend, self.sessions, surroundings)

    def install_snapshot(self, directory: Directory, index: Index) -> None:
        """Fills this fresh machine with a snapshot at `index`; slow, for a worker thread. After an error it is useless.

        Raises `UsageError` where something was applied already, and what `snapshots.install` raises.
        """
        if self.last_applied or self._fault is not None:
            raise UsageError(f"a snapshot is installed into a fresh machine; index {self.last_applied} is applied here")
        self._fault = "the installation of a snapshot did not end"
        found = install(self.backend, self.sessions, directory, index)
        ctx = self._ctx
        ctx.index, ctx.term, ctx.time, ctx.version = index, found.term, found.time, found.version
        self.history.restart(index)
        self.last_applied = index
        self._fault = None


def _gone(keys: Iterable[Any], kind: str) -> Keys:
    """Changed keys of which the backend need not say more: they are gone, and `kind` says why."""
    return tuple([key if type(key) is Change else Change(key, None, kind) for key in keys])
