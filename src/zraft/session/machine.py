"""One replica's state machine: committed batches in, outcomes out, each entry once and in order.

Guarantees that the state after index i depends on nothing but the entries up to i (BM-119), that an entry is applied
exactly once between two snapshots (BM-078: the applied index is part of the captured state), and that a command which
the backend cannot take is that entry's result on every replica instead of everybody's end (BM-118). What it cannot
vouch for stops the peer by `ReplicaFault`, and the machine then applies nothing more.

Relies on whoever drives it for order: batches arrive committed and contiguous. A long batch may be applied in slices;
its payload is decoded once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, Final

import msgspec

from zraft.core.entries import Batch, Kind
from zraft.errors import BackendError, ProtocolError, Rejected, ReplicaFault, UsageError, WatchNotSupported
from zraft.machine.backend import Answer, Applied, Backend, Context, Reject
from zraft.session.items import Item, RawItem
from zraft.session.outcomes import FATAL, UNCHANGING, Outcome, failed, rejected, settled
from zraft.types import Index, Millis, Term, Value
from zraft.wire.values import decoder_for

Apply = Callable[[Any, Context], Any]

ADVANCE_RETRY: Final[Millis] = 1000
"""After an `advance` that raised, time entries for the same due moment are this far apart."""

_RAW_ITEMS: Final = msgspec.msgpack.Decoder(list[RawItem])


class _Malformed:
    """Stands for a command that is not of the backend's type."""


_MALFORMED: Final = _Malformed()


class ReplicatedMachine:
    """A backend with its place in the log.

    `collect_changes` is set while somebody watches: only then are changed keys kept for `take_changes`.
    """

    def __init__(self, backend: Backend) -> None:
        """`backend` is fresh. Raises `UsageError` where its Command or Query is no type that msgspec can decode."""
        self.backend = backend
        self.collect_changes = False
        self.last_applied: Index = 0
        self.advance_error: str | None = None
        """What the last `due` or `advance` raised, by class name; None: nothing."""
        self._ctx = Context(index=0, term=0)
        self._changes: list[tuple[Index, tuple[Any, ...]]] = []
        self._items: Sequence[Item[Any]] = ()
        self._items_first: Index = 0
        self._apply: Apply = backend.apply
        self._not_due_before: Millis = 0
        self._fault: str | None = None
        try:
            self._decoder = decoder_for(list[Item[backend.Command]])  # type: ignore[name-defined]  # a type at run time
            self._command_decoder = decoder_for(backend.Command)
            self._query_decoder = decoder_for(backend.Query)
        except (TypeError, ValueError) as error:
            raise UsageError(f"backend {backend.name!r}: msgspec cannot decode its Command or Query: {error}") from error

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

    def apply_batch(
        self, batch: Batch, first_offset: int = 0, limit: int | None = None, *, replies: bool = True
    ) -> list[Outcome]:
        """Applies `batch` from its entry number `first_offset` (from 0) on: all of it, or at most `limit` entries.

        Returns an outcome for each entry applied, None for entries that are not commands; `replies=False`, where nobody
        waits, returns an empty list and saves the work. `last_applied` says how far it came. Raises `ReplicaFault` for
        entries out of order, time or term that run backwards, kinds, flags and payloads that this version does not
        know, and for what `FATAL` lists; the machine is then of no further use.
        """
        if self._fault is not None:
            raise ReplicaFault(self._fault)
        index = batch.first + first_offset
        self._fault = f"the apply of index {index} did not end"
        self._check_order(batch, index)
        ctx = self._ctx
        ctx.index, ctx.term, ctx.time, ctx.wall = index, batch.term, batch.time, batch.wall
        outcomes: list[Outcome] = []
        if batch.kind == Kind.COMMANDS:
            end = batch.count if limit is None else min(batch.count, first_offset + limit)
            self._apply_items(self._decoded(batch), first_offset, end, outcomes if replies else None)
            self.last_applied = batch.first + end - 1
        else:
            self._apply_single(batch)
            self.last_applied = index
            outcomes += [None] if replies else []
        if self.last_applied == batch.last:
            self._items = ()
        self._fault = None
        return outcomes

    def _check_order(self, batch: Batch, index: Index) -> None:
        if index != self.last_applied + 1 or not batch.first <= index <= batch.last:
            raise self._stopped(f"index {index} of batch {batch.first}-{batch.last} cannot follow {self.last_applied}")
        if batch.time < self._ctx.time:
            raise self._stopped(f"time runs back from {self._ctx.time} to {batch.time} at index {index}")
        if batch.term < self._ctx.term:
            raise self._stopped(f"the term falls from {self._ctx.term} to {batch.term} at index {index}")

    def _apply_items(self, items: Sequence[Item[Any]], start: int, end: int, outcomes: list[Outcome] | None) -> None:
        """One turn of this loop per command: nothing is made here that the backend does not ask for."""
        apply, ctx, collect = self._apply, self._ctx, self.collect_changes
        index = ctx.index - 1
        for item in islice(items, start, end):
            index += 1
            ctx.index = index
            if item.session or item.sequence or item.flags:
                raise self._stopped(f"the item at index {index} is of a kind that this version does not know: {item[1:]}")
            try:
                outcome = apply(item.command, ctx)
                if type(outcome) is Applied:
                    changed = outcome.changed
                    if type(changed) is not tuple:
                        changed = tuple(changed)
                    if collect and changed:
                        self._changes.append((index, changed))
                    outcome = outcome.result
            except Reject as refusal:
                outcome = rejected(refusal)
            except FATAL as error:
                raise self._stopped(f"apply raised {type(error).__name__} at index {index}") from error
            except Exception as error:
                outcome = failed(error, executed="yes")
            if outcomes is not None:
                outcomes.append(outcome if type(outcome) in UNCHANGING else settled(outcome))

    def _apply_single(self, batch: Batch) -> None:
        """The kinds that are one entry and no command."""
        if batch.kind not in (Kind.NOOP, Kind.CONFIGURATION, Kind.TIME):
            raise self._stopped(f"the entry at index {batch.first} is of kind {batch.kind}, which this version does not know")
        if batch.count != 1:
            raise self._stopped(f"batch {batch.first}-{batch.last} is of kind {batch.kind} and has {batch.count} entries")
        if batch.kind == Kind.TIME:
            self._advance()
"""
