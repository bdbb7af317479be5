"""Clients' requests of one replica, from the door until the answer.

A turn's writes become batches, its reads one ReadIndex; each request is answered exactly once, and `executed` is true
to what happened. A write that was appended and not committed when leadership went is answered as soon as its index is
decided: with its result if it ran after all, with "no" if another entry stands there, and with "unknown" only when
nobody decided it in time (BM-062). Truncation here decides nothing: another server may still commit the entry.

    door ─> writes ─> proposed ─> appended ─> answered by apply            leadership lost: appended, until settled
         ─> queries ─> reads ─> ready ─> answered by apply
         ─> local, admin, until_saved
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Final, TypeAlias

import msgspec

from zraft import limits
from zraft.core.entries import Batch
from zraft.core.events import Proposal
from zraft.core.output import Accepted, Refusal, Refused
from zraft.errors import (
    BackendError,
    CatchUpTimeout,
    ChangeInProgress,
    Executed,
    LeaderChanged,
    MembershipError,
    NotLeader,
    NotStable,
    OutcomeUnknown,
    Overloaded,
    PeerUnavailable,
    Rejected,
    RequestError,
    RequestTimeout,
)
from zraft.peer.duties import Client, Outbox
from zraft.peer.endings import Ending
from zraft.session.items import encode_items, encode_session_items
from zraft.session.outcomes import Outcome, encode_result
from zraft.session.replies import Replayed
from zraft.types import Index, Millis, PeerId, Term
from zraft.wire.failures import error_to_failed
from zraft.wire.requests import ChangeMembership, GetConf, Query, Result, SessionRequest, Transfer

Asked: TypeAlias = tuple[Client, int]
"""Who asked, and the number that it gave its request."""

Reading: TypeAlias = Query | GetConf | SessionRequest
"""What waits for a read index."""

Admin: TypeAlias = ChangeMembership | Transfer | GetConf

RESULT_TOO_LARGE: Final = "ResultTooLarge"


class _OfSessions(list[Asked]):
    """Who waits for the entries of a batch of sessions; an `Ending` may be among them."""

    __slots__ = ()


class Desk:
    """The requests of one replica that wait: for the turn's end, for commit, for apply, for a read index, for a save.

    A result of more than `max_result_bytes` fits in no frame: its asker is told so.
    """

    __slots__ = (
        "_admin",
        "_appended",
        "_arrived",
        "_local",
        "_max_result_bytes",
        "_outbox",
        "_proposed",
        "_reads",
        "_ready",
        "_ref",
        "_settle_by",
        "_until_saved",
        "items",
        "queries",
        "settle_by_ms",
        "writes",
    )

    def __init__(self, outbox: Outbox, *, max_result_bytes: int = limits.FRAME_BYTES - limits.KIB) -> None:
        self._outbox = outbox
        self._max_result_bytes = max_result_bytes
        self.writes: list[tuple[Asked, bytes]] = []
        """This turn's, in order of arrival."""
        self.items: list[tuple[Asked, bytes]] = []
        """This turn's of sessions: what `session.items` made of them, in order of arrival."""
        self.queries: list[tuple[Asked, Reading]] = []
        """This turn's."""
        self._ref = 0
        self._proposed: dict[int, list[Asked]] = {}
        self._appended: dict[tuple[Index, Term], list[Asked]] = {}
        """By first index and term of their batch: who waits for its entries that are not applied yet, in order."""
        self._settle_by: dict[Term, Millis] = {}
        """Terms whose leadership went while writes of them waited: until when they may still be decided."""
        self.settle_by_ms: Millis | None = None
        """The earliest of these moments; None: there are none."""
        self._reads: dict[int, list[tuple[Asked, Reading]]] = {}
        self._ready: list[tuple[Index, list[tuple[Asked, Reading]]]] = []
        self._arrived = 0
        self._local: list[tuple[Index, int, Asked, Query]] = []
        """A heap: the index that it waits for, and a number by order of arrival."""
        self._admin: dict[int, tuple[Asked, Admin]] = {}
        self._until_saved: list[tuple[int, Asked, Index]] = []

    @property
    def is_empty(self) -> bool:
        """Nobody waits for an answer, unless it is one that may never come: a local query of a later state."""
        waits = (
            self.writes,
            self.items,
            self.queries,
            self._proposed,
            self._appended,
            self._reads,
            self._ready,
            self._admin,
        )
        return not any((*waits, self._until_saved))

    # -- writes

    def take_proposals(self) -> tuple[Proposal, ...]:
        """This turn's writes as batches: one, unless they weigh more than a batch may; sessions have their own."""
        proposals: list[Proposal] = []
        if self.writes:
            self._cut(self.writes, proposals, list, encode_items)
            self.writes = []
        if self.items:
            self._cut(self.items, proposals, _OfSessions, encode_session_items)
            self.items = []
        return tuple(proposals)

    def _cut(
        self,
        writes: list[tuple[Asked, bytes]],
        proposals: list[Proposal],
        kind: type[list[Asked]],
        encode: Callable[[Sequence[bytes]], bytes],
    ) -> None:
        commands: list[bytes] = []
        asked, size = kind(), 0
        for who, command in writes:
            if commands and (size + len(command) > limits.BATCH_BYTES or len(commands) == limits.BATCH_ENTRIES):
                proposals.append(self._proposal(len(commands), encode(commands), asked))
                commands, asked, size = [], kind(), 0
            commands.append(command)
            asked.append(who)
            size += len(command)
        proposals.append(self._proposal(len(commands), encode(commands), asked))

    def _proposal(self, count: int, payload: bytes, asked: list[Asked]) -> Proposal:
        ref = self.next_ref()
        self._proposed[ref] = asked
        return Proposal(ref, count, payload)

    def next_ref(self) -> int:
        """A number for something that the core is asked for."""
        self._ref += 1
        return self._ref

    def accepted(self, accepted: Accepted) -> None:
        """The proposal is in the log, where (index, term) names it for ever, also if it is overwritten here."""
        self._appended[accepted.index, accepted.term] = self._proposed.pop(accepted.ref)

    def waits_for(self, batch: Batch) -> bool:
        """Somebody wants the results of this very batch."""
        return (batch.first, batch.term) in self._appended

    def applied(self, batch: Batch, offset: int, outcomes: list[Outcome]) -> None:
        """Entries of `batch` from number `offset` on were applied: answer those who waited for them, for good."""
        key = (batch.first, batch.term)
        asked = self._appended[key]
        index = batch.first + offset
        if type(asked) is _OfSessions:
            self._applied_items(asked, index, outcomes)
        else:
            self._applied_writes(asked, index, outcomes)
        if index + len(outcomes) > batch.last:
            del self._appended[key]
            self._forget_settled()
        else:
            del asked[: len(outcomes)]

    def _applied_writes(self, asked: list[Asked], index: Index, outcomes: list[Outcome]) -> None:
        replies, most = self._outbox.duties.replies, self._max_result_bytes
        for (client, number), outcome in zip(asked[: len(outcomes)], outcomes, strict=True):
            try:
                value = encode_result(outcome)
                if len(value) > most:
                    raise _too_large(len(value), "yes")
                replies.append((client, Result(number, index, msgspec.Raw(value))))
            except RequestError as error:
                replies.append((client, error_to_failed(number, error)))
            index += 1

    def _applied_items(self, asked: list[Asked], index: Index, outcomes: list[Outcome]) -> None:
        """The same for a batch of sessions: what ran before is answered with the index where it ran."""
        replies, most = self._outbox.duties.replies, self._max_result_bytes
        for (client, number), outcome in zip(asked[: len(outcomes)], outcomes, strict=True):
            if type(outcome) is msgspec.Raw and memoryview(outcome).nbytes <= most:
                replies.append((client, Result(number, index, outcome)))
            elif type(client) is Ending:
                client.applied(index, outcome)
            elif type(outcome) is Replayed:
                self._applied_writes([(client, number)], outcome.index, [outcome.outcome])
            else:
                self._applied_writes([(client, number)], index, [outcome])
            index += 1

    def applied_to(self, index: Index, under_way: Batch | None, leader: PeerId | None) -> None:
        """Everything up to `index` is decided: what somebody still waits for there never ran.

        Except for `under_way`: a batch of which only a slice is applied. Only lost leaderships leave such writes.
        """
        if not self._settle_by:
            return
        half = (under_way.first, under_way.term) if under_way is not None else None
        error = NotLeader("another leader's entry took its place", leader=leader)
        for key in [key for key in self._appended if key[0] <= index and key != half]:
            self._fail_all(self._appended.pop(key), error)
        self._forget_settled()

    def restored(self, index: Index) -> None:
        """A snapshot took the place of everything up to `index`: what became of the writes there nobody here saw."""
        error = OutcomeUnknown("a snapshot took the place of the entries among which the write may be")
        for key in [key for key in self._appended if key[0] <= index]:
            self._fail_all(self._appended.pop(key), error)
        self._forget_settled()

    # -- reads

    def take_queries(self) -> int:
        """This turn's linearizable queries, as one read: its number, 0 where there are none."""
        if not self.queries:
            return 0
        ref = self.next_ref()
        self._reads[ref], self.queries = self.queries, []
        return ref

    def read_ready(self, ref: int, index: Index) -> None:
        """Read `ref` may run once `index` is applied."""
        self._ready.append((index, self._reads.pop(ref)))

    def wait_local(self, asked: Asked, query: Query) -> None:
        """A query of this replica's own state, once that is new enough. Nobody knows when: only so many may wait."""
        if len(self._local) >= limits.LOCAL_QUERIES:
            self.fail(asked, Overloaded(reason="queue"))
            return
        self._arrived += 1
        heappush(self._local, (query.min_index, self._arrived, asked, query))

    @property
    def has_local(self) -> bool:
        """Local queries wait."""
        return bool(self._local)

    def take_runnable(self, last_applied: Index) -> list[tuple[Asked, Reading]]:
        """What may run on the present state."""
        runnable: list[tuple[Asked, Reading]] = []
        if self._ready:
            waiting: list[tuple[Index, list[tuple[Asked, Reading]]]] = []
            for index, queries in self._ready:
                if index <= last_applied:
                    runnable += queries
                else:
                    waiting.append((index, queries))
            self._ready = waiting
        while self._local and self._local[0][0] <= last_applied:
            _, _, asked, query = heappop(self._local)
            runnable.append((asked, query))
        return runnable

    def answer(self, asked: Asked, index: Index, outcome: Outcome) -> None:
        """The outcome of a query of the state at `index`. It changed nothing, so no error says that it ran."""
        try:
            value = encode_result(outcome)
            if len(value) > self._max_result_bytes:
                raise _too_large(len(value), "no")
        except (Rejected, BackendError) as error:
            error.executed = "no"
            self.fail(asked, error)
        else:
            self._outbox.duties.replies.append((asked[0], Result(asked[1], index, msgspec.Raw(value))))

    # -- membership and transfer

    def ask(self, asked: Asked, request: Admin) -> int:
        """The core is asked for `request` under the returned number."""
        ref = self.next_ref()
        self._admin[ref] = (asked, request)
        return ref

    def done(self, ref: int, index: Index) -> None:
        """What was asked for under `ref` is done. A host that stops hands over without anybody who asked."""
        if ref not in self._admin:
            return
        asked, _ = self._admin.pop(ref)
        self._outbox.duties.replies.append((asked[0], Result(asked[1], index)))

    def answer_when_saved(self, asked: Asked, number: int, index: Index) -> None:
        """It is done at `index` once save `number` is durable: not a word before (I13)."""
        self._until_saved.append((number, asked, index))

    def saved(self, number: int) -> None:
        """Every save up to `number` is durable."""
        if self._until_saved:
            for after, (client, request), index in self._until_saved:
                if after <= number:
                    self._outbox.duties.replies.append((client, Result(request, index)))
            self._until_saved = [item for item in self._until_saved if item[0] > number]

    # -- refusals and ends

    def refused(self, refused: Refused) -> None:
        """The core did not take what was asked for under `refused.ref`."""
        leader = refused.leader.peer if refused.leader is not None else None
        if refused.ref in self._proposed:
            self._fail_all(self._proposed.pop(refused.ref), _request_error(refused.why, leader))
        elif refused.ref in self._reads:
            self._fail_all([asked for asked, _ in self._reads.pop(refused.ref)], _request_error(refused.why, leader))
        elif refused.ref in self._admin:
            asked, request = self._admin.pop(refused.ref)
            self.fail(asked, _admin_error(refused.why, leader, request))

    def leadership_lost(self, before: Term, settle_by_ms: Millis) -> None:
        """Writes of terms below `before` may still be decided by another leader; not for longer than until then.

        Told again of the same loss it changes nothing: elections that follow each other put nothing off.
        """
        for _, term in self._appended:
            if term < before:
                self._settle_by.setdefault(term, settle_by_ms)
        self.settle_by_ms = min(self._settle_by.values(), default=None)

    def give_up_unsettled(self, now: Millis) -> None:
        """Nobody decided them in time. What the present leadership appended goes on waiting."""
        late = [term for term, settle_by in self._settle_by.items() if settle_by <= now]
        error = OutcomeUnknown("leadership was lost before the write was committed")
        for key in [key for key in self._appended if key[1] in late]:
            self._fail_all(self._appended.pop(key), error)
        self._forget_settled()

    def _forget_settled(self) -> None:
        if self._settle_by:
            terms = {term for _, term in self._appended}
            self._settle_by = {term: at for term, at in self._settle_by.items() if term in terms}
            self.settle_by_ms = min(self._settle_by.values(), default=None)

    def close(self, reason: str) -> None:
        """The replica goes: nothing that waits will be answered by it."""
        unavailable, unknown = PeerUnavailable(reason), OutcomeUnknown(reason)
        self._fail_all([asked for asked, _ in (*self.writes, *self.items)], unavailable)
        self._fail_all([asked for asked, _ in self.queries], unavailable)
        self._fail_all([asked for _, _, asked, _ in self._local], unavailable)
        for queries in (*self._reads.values(), *(queries for _, queries in self._ready)):
            self._fail_all([asked for asked, _ in queries], unavailable)
        for waiting in self._proposed.values():
            self._fail_all(waiting, unavailable)
        for waiting in self._appended.values():
            self._fail_all(waiting, unknown)
        self._fail_all([asked for asked, _ in self._admin.values()], unknown)
        self._fail_all([asked for _, asked, _ in self._until_saved], unknown)
        for sequence in (self.writes, self.items, self.queries, self._local, self._ready):
            sequence.clear()
        for mapping in (self._reads, self._proposed, self._appended, self._admin, self._settle_by):
            mapping.clear()
        self._until_saved.clear()
        self.settle_by_ms = None

    def forget(self, client: Client) -> None:
        """The client's connection is gone: nobody waits for a later state. All else ends soon, and nobody is told."""
        kept = [item for item in self._local if item[2][0] is not client]
        if len(kept) < len(self._local):
            self._local = sorted(kept, key=lambda item: item[:2])

    def fail(self, asked: Asked, error: RequestError) -> None:
        """Answer with an error."""
        if type(asked[0]) is Ending:
            asked[0].failed(error)
            return
        self._outbox.duties.replies.append((asked[0], error_to_failed(asked[1], error)))

    def _fail_all(self, asked: list[Asked], error: RequestError) -> None:
        for who in asked:
            self.fail(who, error)


def _too_large(size: int, executed: Executed) -> BackendError:
    return BackendError(RESULT_TOO_LARGE, f"a result of {size} bytes fits in no frame", executed=executed)


def _request_error(why: Refusal, leader: PeerId | None) -> RequestError:
    match why:
        case Refusal.UNCOMMITTED_LIMIT | Refusal.DISK_STALLED | Refusal.TRANSFERRING:
            return Overloaded(reason=why.value)
        case _:
            return NotLeader(leader=leader)


def _admin_error(why: Refusal, leader: PeerId | None, request: Admin) -> RequestError:
    match why:
        case Refusal.NOT_LEADER:
            return NotLeader(leader=leader)
        case Refusal.NOT_STABLE:
            return NotStable("the leader has not committed an entry of its own term yet; try again")
        case Refusal.CHANGE_IN_PROGRESS:
            return ChangeInProgress("another change of the configuration is under way; try again")
        case Refusal.NO_MAJORITY:
            return MembershipError("a majority of the new peers does not answer: the group could not decide any more")
        case Refusal.CATCH_UP_TIMEOUT:
            # That the old configuration stands is appended, not yet committed: the next leader may go on.
            text = "a new peer made no progress; the old configuration stands"
            return CatchUpTimeout(text, executed="maybe")
        case Refusal.TIMED_OUT:
            # It may have been told already, and take over later.
            return RequestTimeout("the target did not take over within an election timeout")
        case Refusal.LOST:
            text = "leadership was lost meanwhile; ask for the configuration"
            return OutcomeUnknown(text) if isinstance(request, Transfer) else LeaderChanged(text)
        case Refusal.TRANSFERRING:
            return ChangeInProgress("leadership is being handed over; try again")
        case _:
            return MembershipError(f"refused: {why.value}")
