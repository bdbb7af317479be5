"""Clients' requests of one replica, from the door until the answer.

A turn's writes become batches, its reads one ReadIndex; each request is answered exactly once, and `executed` is true
to what happened. A write that was appended and not committed when leadership went is answered as soon as its index is
decided: with its result if it ran after all, with "no" if another entry stands there, and with "unknown" only when
nobody decided it in time (BM-062). Truncation here decides nothing: another server may still commit the entry.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from zraft import limits
from zraft.core.entries import Batch
from zraft.core.events import Proposal
from zraft.core.output import Accepted, Refusal, Refused
from zraft.errors import (
    BackendError,
    CatchUpTimeout,
    ChangeInProgress,
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
from zraft.session.items import encode_items
from zraft.session.outcomes import Outcome, encode_result
from zraft.types import Index, Millis, PeerId, Term
from zraft.wire.failures import error_to_failed
from zraft.wire.requests import ChangeMembership, GetConf, Query, Result, Transfer

Asked: TypeAlias = tuple[Client, int]
"""Who asked, and the number that it gave its request."""

Admin: TypeAlias = ChangeMembership | Transfer | GetConf


class Desk:
    """The requests of one replica that wait: for the turn's end, for commit, for apply, for a read index."""

    __slots__ = (
        "_accepted",
        "_admin",
        "_local",
        "_outbox",
        "_proposed",
        "_reads",
        "_ready",
        "_ref",
        "_settle_by_ms",
        "queries",
        "writes",
    )

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self.writes: list[tuple[Asked, bytes]] = []
        """This turn's, in order of arrival."""
        self.queries: list[tuple[Asked, Query | GetConf]] = []
        """This turn's."""
        self._ref = 0
        self._proposed: dict[int, list[Asked]] = {}
        self._accepted: dict[Index, tuple[Term, list[Asked]]] = {}
        """By first index of their batch: the term it was appended in, and who waits for its entries, in order."""
        self._settle_by_ms: Millis | None = None
        """Leadership went while writes waited: until then they may still be decided."""
        self._reads: dict[int, list[tuple[Asked, Query | GetConf]]] = {}
        self._ready: list[tuple[Index, list[tuple[Asked, Query | GetConf]]]] = []
        self._local: list[tuple[Asked, Query]] = []
        self._admin: dict[int, tuple[Asked, Admin]] = {}

    # -- writes

    def take_proposals(self) -> tuple[Proposal, ...]:
        """This turn's writes as batches: one, unless they weigh more than a batch may."""
        proposals: list[Proposal] = []
        commands: list[bytes] = []
        asked: list[Asked] = []
        size = 0
        for who, command in self.writes:
            if commands and (size + len(command) > limits.BATCH_BYTES or len(commands) == limits.BATCH_ENTRIES):
                proposals.append(self._proposal(commands, asked))
                commands, asked, size = [], [], 0
            commands.append(command)
            asked.append(who)
            size += len(command)
        if commands:
            proposals.append(self._proposal(commands, asked))
        self.writes = []
        return tuple(proposals)

    def _proposal(self, commands: list[bytes], asked: list[Asked]) -> Proposal:
        ref = self.next_ref()
        self._proposed[ref] = asked
        return Proposal(ref, len(commands), encode_items(commands))

    def next_ref(self) -> int:
        """A number for something that the core is asked for."""
        self._ref += 1
        return self._ref

    def accepted(self, accepted: Accepted) -> None:
        """The proposal is in the log. What waited for an earlier entry at that index was overwritten here: unknown."""
        asked = self._proposed.pop(accepted.ref)
        old = self._accepted.pop(accepted.index, None)
        if old is not None:
            self._fail_all(old[1], OutcomeUnknown("leadership was lost before the write was committed"))
        self._accepted[accepted.index] = (accepted.term, asked)

    def waits_for(self, batch: Batch) -> bool:
        """Somebody wants the results of this very batch."""
        waiting = self._accepted.get(batch.first)
        return waiting is not None and waiting[0] == batch.term

    def applied(self, batch: Batch, offset: int, outcomes: list[Outcome]) -> None:
        """Entries of `batch` from number `offset` on were applied: answer those who waited for them."""
        _, asked = self._accepted[batch.first]
        index = batch.first + offset
        replies = self._outbox.duties.replies
        for (client, number), outcome in zip(asked[offset : offset + len(outcomes)], outcomes, strict=True):
            try:
                replies.append((client, Result(number, index, msgspec.Raw(encode_result(outcome)))))
            except (Rejected, BackendError) as error:
                replies.append((client, error_to_failed(number, error)))
            index += 1
        if index > batch.last:
            del self._accepted[batch.first]

    def applied_to(self, index: Index) -> None:
        """Everything up to `index` is decided: an entry that somebody still waits for there never ran."""
        if self._settle_by_ms is None:
            return
        for first in [first for first in self._accepted if first <= index]:
            self._fail_all(self._accepted.pop(first)[1], NotLeader("another leader's entry took its place"))
        if not self._accepted:
            self._settle_by_ms = None

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
        """A query of this replica's own state that wants more than is applied yet."""
        self._local.append((asked, query))

    def take_runnable(self, last_applied: Index) -> list[tuple[Asked, Query | GetConf]]:
        """What may run on the present state."""
        if not self._ready and not self._local:
            return []
        runnable: list[tuple[Asked, Query | GetConf]] = []
        waiting: list[tuple[Index, list[tuple[Asked, Query | GetConf]]]] = []
        for index, queries in self._ready:
            if index <= last_applied:
                runnable += queries
            else:
                waiting.append((index, queries))
        self._ready = waiting
        runnable += [(asked, query) for asked, query in self._local if query.min_index <= last_applied]
        self._local = [(asked, query) for asked, query in self._local if query.min_index > last_applied]
        return runnable

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

    def leadership_lost(self, settle_by_ms: Millis) -> None:
        """Writes that wait may still be decided by the next leader; not for longer than until then."""
        if self._accepted:
            self._settle_by_ms = settle_by_ms

    @property
    def settle_by_ms(self) -> Millis | None:
        """When the writes that lost their leader are given up; None: there are none."""
        return self._settle_by_ms

    def give_up_unsettled(self) -> None:
        """Nobody decided them in time."""
        self._settle_by_ms = None
        for _, asked in self._accepted.values():
            self._fail_all(asked, OutcomeUnknown("leadership was lost before the write was committed"))
        self._accepted.clear()

    def close(self, reason: str) -> None:
        """The replica goes: nothing that waits will be answered by it."""
        unavailable = PeerUnavailable(reason)
        self._fail_all([asked for asked, _ in self.writes], unavailable)
        self._fail_all([asked for asked, _ in self.queries], unavailable)
        self._fail_all([asked for asked, _ in self._local], unavailable)
        for queries in (*self._reads.values(), *(queries for _, queries in self._ready)):
            self._fail_all([asked for asked, _ in queries], unavailable)
        for waiting in self._proposed.values():
            self._fail_all(waiting, unavailable)
        for _, waiting in self._accepted.values():
            self._fail_all(waiting, OutcomeUnknown(reason))
        for asked, _ in self._admin.values():
            self.fail(asked, OutcomeUnknown(reason))
        for waiting_list in (self.writes, self.queries, self._local, self._ready):
            waiting_list.clear()
        for waiting_map in (self._reads, self._proposed, self._accepted, self._admin):
            waiting_map.clear()
        self._settle_by_ms = None

    def forget(self, client: Client) -> None:
        """The client's connection is gone: what it asked runs, and nobody is told."""
        self.writes = [item for item in self.writes if item[0][0] is not client]
        self.queries = [item for item in self.queries if item[0][0] is not client]
        self._local = [item for item in self._local if item[0][0] is not client]

    def fail(self, asked: Asked, error: RequestError) -> None:
        """Answer with an error."""
        self._outbox.duties.replies.append((asked[0], error_to_failed(asked[1], error)))

    def _fail_all(self, asked: list[Asked], error: RequestError) -> None:
        for who in asked:
            self.fail(who, error)


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
        case Refusal.CATCH_UP_TIMEOUT:
            return CatchUpTimeout("a new peer made no progress; the old configuration stands")
        case Refusal.TIMED_OUT:
            return RequestTimeout("the target did not take over within an election timeout", executed="no")
        case Refusal.LOST:
            text = "leadership was lost meanwhile; ask for the configuration"
            return OutcomeUnknown(text) if isinstance(request, Transfer) else LeaderChanged(text)
        case Refusal.TRANSFERRING:
            return ChangeInProgress("leadership is being handed over; try again")
        case _:
            return MembershipError(f"refused: {why.value}")
