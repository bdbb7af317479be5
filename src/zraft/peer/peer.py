"""One running replica: carries out what the core wants, in the order that `core.output` states.

    core.Raft ──Output──> save ────────────> Store (one job for all replicas of the node)
                          send_now ────────> out, once every hard state issued so far is durable
                          send_after_save ─> out, once every save issued so far is durable (§3.8, I13)
                          commit_to ───────> ReplicatedMachine, in slices, oldest batch first
                          the rest ────────> Desk, which answers clients

Messages that must wait are held here and nowhere else. A broken invariant, or a machine that cannot go on, stops this
replica and no other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, TypeAlias

import msgspec

from zraft.core.entries import Batch
from zraft.core.events import Event, Loaded, Propose, Read, Saved, TimePassed
from zraft.core.messages import Message
from zraft.core.output import Output, RoleChange, RoleName
from zraft.core.raft import Raft
from zraft.core.recovered import RaftSettings, Recovered
from zraft.errors import NotStable, ReplicaFault, RequestError
from zraft.machine.backend import Backend
from zraft.peer.desk import Asked, Desk
from zraft.peer.duties import Note, Outbox, PeerChange
from zraft.session.machine import ReplicatedMachine
from zraft.session.outcomes import encode_result
from zraft.storage.replica import ReplicaMeta, Save
from zraft.storage.store import Store
from zraft.types import Index, Member, Millis, PeerId
from zraft.wire.requests import Conf, GetConf, PeerStatus, Query, Result

APPLY_ENTRIES: Final = 4096
"""Entries applied in one slice: some milliseconds, after which messages get their turn."""

APPLY_BYTES: Final = 1 << 20
"""What is read from the journal for apply at once."""


Watch: TypeAlias = Callable[[Raft, Event, Output], None]
"""Is told of a step that the core took and of what it wants done, before that is begun."""


class Peer:
    """A replica that runs. `fault` is None, or why it stopped."""

    __slots__ = (
        "_apply_batches",
        "_apply_token",
        "_completed",
        "_hard_issued",
        "_held",
        "_issued",
        "_loads",
        "_name",
        "_outbox",
        "_settings",
        "_store",
        "_token",
        "backend",
        "desk",
        "fault",
        "machine",
        "meta",
        "raft",
        "watch",
        "wake_at_ms",
    )

    def __init__(
        self,
        meta: ReplicaMeta,
        node: str,
        recovered: Recovered,
        backend: Backend,
        store: Store,
        outbox: Outbox,
        settings: RaftSettings,
        *,
        seed: int,
        now: Millis,
    ) -> None:
        """The replica `meta` on `node`, at its durable state. Raises ReplicaFault where that breaks an invariant."""
        self.meta = meta
        self._name = meta.name
        self._store = store
        self._settings = settings
        self._outbox = outbox
        self.desk = Desk(outbox)
        self.machine = ReplicatedMachine(backend)
        self.backend = meta.backend
        self.raft = Raft(Member(PeerId(meta.name, node), meta.incarnation), settings, recovered, seed=seed, now=now)
        self.fault: str | None = None
        self._issued = self._hard_issued = self._completed = 0
        self._held: deque[tuple[int, Message]] = deque()
        """Messages that wait, each for the number of a save."""
        self._token = 0
        self._loads: dict[int, tuple[Member, Index]] = {}
        self._apply_token = 0
        self._apply_batches: deque[Batch] = deque()
        self.wake_at_ms: Millis = now
        self.watch: Watch | None = None
        """Sees every step of the core; set by simulation and nobody else."""
        self._carry_out(now, self.raft.start())

    @property
    def id(self) -> PeerId:
        """Name and node."""
        return self.raft.me.peer

    @property
    def is_leader(self) -> bool:
        """It leads, as far as it knows."""
        return self.raft.leader == self.raft.me

    def step(self, now: Millis, event: Event) -> None:
        """Let `event` happen, and see to what follows from it."""
        if self.fault is not None:
            return
        try:
            output = self.raft.step(now, event)
        except ReplicaFault as fault:
            self.fail(str(fault))
            return
        if self.watch is not None:
            self.watch(self.raft, event, output)
        self._carry_out(now, output)

    def _carry_out(self, now: Millis, output: Output) -> None:
        if output.save:
            self._save(output)
        for message in output.send_now:
            self._send(message, self._hard_issued)
        for message in output.send_after_save:
            self._send(message, self._issued)
        for load in output.load:
            self._token += 1
            self._loads[self._token] = (load.to, load.first)
            self._store.load(self._name, self._token, load.first, load.last, load.limit_bytes)
        desk = self.desk
        for accepted in output.accepted:
            desk.accepted(accepted)
        for ready in output.reads_ready:
            desk.read_ready(ready.ref, ready.index)
        for ref in (*output.changed, *output.transferred):
            desk.done(ref, self.raft.memberships.current_index)
        for refused in output.refused:
            desk.refused(refused)
        if output.send_snapshot or output.restore is not None:
            self.fail("a snapshot would have to be transferred, and nothing here compacts a log")
        if output.role_change is not None:
            self._role_changed(now, output.role_change)
        self._outbox.duties.notes += [Note(self._name, fact) for fact in output.facts]
        self.wake_at_ms = output.wake_at_ms

    def _save(self, output: Output) -> None:
        self._issued = output.save
        if output.hard_state is not None:
            self._hard_issued = output.save
        self._store.save(
            Save(
                self._name,
                output.save,
                output.hard_state,
                output.truncate_from,
                output.reset_to,
                tuple(output.append),
            )
        )

    def _send(self, message: Message, after_save: int) -> None:
        """Send `message` once save `after_save` and all before it are durable."""
        if after_save <= self._completed:
            self._outbox.duties.messages.append((self.meta.group, message))
        else:
            self._held.append((after_save, message))

    def _role_changed(self, now: Millis, change: RoleChange) -> None:
        self._outbox.duties.changes.append(PeerChange(self._name, change))
        if change.role is not RoleName.LEADER:
            self.desk.leadership_lost(now + 2 * self._settings.election_timeout_ms)

    def saved(self, now: Millis, number: int) -> None:
        """Every save up to `number` is durable: what waited for it may go."""
        self._completed = number
        if self._held:
            held, self._held = self._held, deque()
            for after_save, message in held:
                self._send(message, after_save)
        self.step(now, Saved(number))

    def loaded(self, now: Millis, token: int, batches: tuple[Batch, ...]) -> None:
        """The journal gave what was asked for under `token`: for a follower, or for the own machine."""
        if token == self._apply_token:
            self._apply_token = 0
            self._apply_batches.extend(batches)
            return
        to, first = self._loads.pop(token)
        self.step(now, Loaded(to, first, batches))

    def wake(self, now: Millis) -> None:
        """A deadline may have passed."""
        settle_by = self.desk.settle_by_ms
        if settle_by is not None and now >= settle_by:
            self.desk.give_up_unsettled()
        self.step(now, TimePassed())

    @property
    def due_ms(self) -> Millis:
        """When `wake` is due."""
        settle_by = self.desk.settle_by_ms
        return self.wake_at_ms if settle_by is None else min(self.wake_at_ms, settle_by)

    def turn(self, now: Millis, wall: int) -> None:
        """The turn ends: its writes become batches, its queries one read, and committed entries are applied."""
        if self.fault is not None:
            return
        if self.desk.writes:
            self.step(now, Propose(self.desk.take_proposals(), wall))
        if self.desk.queries:
            self.step(now, Read(self.desk.take_queries()))
        if self.machine.last_applied < self.raft.commit_index:
            try:
                self._apply()
            except ReplicaFault as fault:
                self.fail(str(fault))
                return
        for asked, query in self.desk.take_runnable(self.machine.last_applied):
            self._run(asked, query)

    @property
    def has_more(self) -> bool:
        """Committed entries wait to be applied, and are at hand."""
        return self.fault is None and not self._apply_token and self.machine.last_applied < self.raft.commit_index

    def _apply(self) -> None:
        """Apply up to `APPLY_ENTRIES` committed entries; older ones than memory holds are read first."""
        machine, desk, commit_index = self.machine, self.desk, self.raft.commit_index
        budget = APPLY_ENTRIES
        while budget > 0 and machine.last_applied < commit_index and self._refill(commit_index):
            batch = self._apply_batches[0]
            offset = machine.last_applied + 1 - batch.first
            waits = desk.waits_for(batch)
            outcomes = machine.apply_batch(batch, offset, budget, replies=waits)
            budget -= machine.last_applied + 1 - batch.first - offset
            if waits:
                desk.applied(batch, offset, outcomes)
            if machine.last_applied == batch.last:
                self._apply_batches.popleft()
        desk.applied_to(machine.last_applied)

    def _refill(self, commit_index: Index) -> bool:
        """True where the next batch to apply is at hand; otherwise it is asked for."""
        if self._apply_batches:
            return True
        if self._apply_token:
            return False
        first = self.machine.last_applied + 1
        batches = self.raft.log.take(first, APPLY_BYTES)
        if batches is None:
            self._token += 1
            self._apply_token = self._token
            last = min(commit_index, self.raft.log.last_before_memory(first))
            self._store.load(self._name, self._token, first, last, APPLY_BYTES)
            return False
        self._apply_batches.extend(batch for batch in batches if batch.last <= commit_index)
        return bool(self._apply_batches)

    def _run(self, asked: Asked, query: Query | GetConf) -> None:
        if isinstance(query, GetConf):
            self._answer_conf(asked)
            return
        try:
            value = encode_result(self.machine.query(query.query))
        except RequestError as error:
            self.desk.fail(asked, error)
        except ReplicaFault as fault:
            self.fail(str(fault))
        else:
            self._outbox.duties.replies.append(
                (asked[0], Result(asked[1], self.machine.last_applied, msgspec.Raw(value)))
            )

    def _answer_conf(self, asked: Asked) -> None:
        membership, leader = self.raft.membership, self.raft.leader
        index = self.raft.memberships.current_index
        if membership is None or leader is None or not membership.is_stable or index > self.raft.commit_index:
            self.desk.fail(asked, NotStable("a change of the configuration is under way; try again"))
            return
        conf = Conf(asked[1], self.meta.group, self.backend, leader.peer, index, membership.voters)
        self._outbox.duties.replies.append((asked[0], conf))

    def status(self) -> PeerStatus:
        """The replica as it sees itself."""
        raft = self.raft
        membership, leader, log = raft.membership, raft.leader, raft.log
        role = raft.role_name
        return PeerStatus(
            self.id,
            "candidate" if role is RoleName.PRE_CANDIDATE else role.value,
            raft.current_term,
            leader.peer if leader is not None else None,
            log.base_index + 1,
            log.last_index,
            log.last_term,
            raft.commit_index,
            self.machine.last_applied,
            raft.snapshot.index,
            raft.snapshot.term,
            raft.memberships.current_index,
            tuple(member.peer for member in membership.voters) if membership is not None else (),
            backend=self.backend,
        )

    def fail(self, reason: str) -> None:
        """Stop this replica: it neither votes nor acknowledges nor answers any more. Its data is left alone."""
        self.fault = reason
        self._held.clear()
        self._outbox.duties.notes.append(Note(self._name, f"stopped: {reason}", is_alarm=True))
        self.desk.close(f"peer {self.id} has failed")
