"""One running replica: carries out what the core wants, in the order that `core.output` states.

    core.Raft ──Output──> save ────────────> Store (one job for all replicas of the node)
                          send_now ────────> out, once every hard state issued so far is durable
                          send_after_save ─> out, once every save issued so far is durable (§3.8, I13)
                          commit_to ───────> ReplicatedMachine, in slices, oldest batch first
                          snapshots ───────> Snapshotting, and through it the Vault
                          the rest ────────> Desk, which answers clients; Keeper, which knows whose session lives

Messages that must wait are held here and nowhere else. A broken invariant, a save that the store refuses, or a machine
that cannot go on stops this replica and no other: nothing of the step in which it happened gets out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, TypeAlias

from zraft import limits
from zraft.core.entries import Batch, Membership, SnapshotMark
from zraft.core.events import (
    Bootstrap,
    Event,
    Loaded,
    Propose,
    ProposeTime,
    Read,
    Saved,
    SnapshotRestored,
    TimePassed,
)
from zraft.core.messages import Message
from zraft.core.output import Output, RoleChange, RoleName
from zraft.core.raft import Raft
from zraft.core.recovered import RaftSettings, Recovered
from zraft.core.roles import Leader
from zraft.errors import NotStable, PeerUnavailable, ReplicaFault, RequestError, UsageError
from zraft.peer.alarm import Alarm
from zraft.peer.desk import Asked, Desk, Reading
from zraft.peer.duties import Note, Outbox, PeerChange
from zraft.peer.flight import Flight
from zraft.peer.growth import SnapshotSettings
from zraft.peer.keeper import Keeper
from zraft.peer.opening import loading_text
from zraft.peer.shelf import Chosen, Shelf
from zraft.peer.snapshotting import Snapshotting
from zraft.peer.vault import VaultDone, VaultJob
from zraft.peer.views import conf_of, joining_of, target_of
from zraft.session.machine import ReplicatedMachine
from zraft.storage.replica import ReplicaMeta, Save
from zraft.storage.store import Store
from zraft.types import Index, Member, Millis, PeerId
from zraft.wire.requests import GetConf, PeerStatus, Query
from zraft.wire.states import State

APPLY_ENTRIES: Final = 4096
"""Entries applied in one slice: some milliseconds, after which messages get their turn."""

APPLY_BYTES: Final = 1 << 20
"""What is read from the journal for apply at once."""


MakeMachine: TypeAlias = Callable[[ReplicaMeta], ReplicatedMachine]
"""Makes a fresh machine of the replica's backend. Raises ReplicaFault."""

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
        "_time_due_ms",
        "alarm",
        "backend",
        "conf",
        "desk",
        "error",
        "fault",
        "flight",
        "has_more",
        "keeper",
        "left",
        "machine",
        "meta",
        "raft",
        "snapshots",
        "watch",
        "wake_at_ms",
    )

    def __init__(
        self,
        meta: ReplicaMeta,
        node: str,
        recovered: Recovered,
        chosen: Chosen,
        store: Store,
        outbox: Outbox,
        settings: RaftSettings,
        *,
        seed: int,
        now: Millis,
        shelf: Shelf,
        make_machine: MakeMachine,
        snapshots: SnapshotSettings,
        max_result_bytes: int = limits.FRAME_BYTES - limits.KIB,
        alarm_entries: int = limits.ALARM_ENTRIES,
    ) -> None:
        """The replica `meta` on `node`, at its durable state. Raises ReplicaFault where that breaks an invariant.

        `chosen` is what `shelf` chose for it to begin with.
        """
        self.meta = meta
        self._name = meta.name
        self._store = store
        self._settings = settings
        self._outbox = outbox
        self.desk = Desk(outbox, max_result_bytes=max_result_bytes)
        self.machine = chosen.machine
        self.backend = meta.backend
        self.alarm = Alarm(self, alarm_entries)
        self.keeper = Keeper(self, outbox, settings.election_timeout_ms, max_result_bytes=max_result_bytes)
        self.raft = Raft(Member(PeerId(meta.name, node), meta.incarnation), settings, recovered, seed=seed, now=now)
        self.fault: str | None = None
        self.error: Exception | None = None
        """What `fault` says, where that was an exception."""
        self._issued = self._hard_issued = self._completed = 0
        self._held: deque[tuple[int, Message]] = deque()
        """Messages that wait, each for the number of a save."""
        self._loads: dict[int, tuple[Member, Index]] = {}
        self._apply_token = 0
        """Of the load that brings older batches for the machine; 0: none is under way."""
        self._apply_batches: deque[Batch] = deque()
        self.has_more = False
        """Committed entries wait to be applied, and are at hand."""
        self.conf: tuple[Index, Membership | None] = (0, None)
        """The last stable configuration known to be committed, and where it stands."""
        self.left: Index = 0
        """It belongs to its group no longer, as of this committed entry; 0: it does, as far as it knows."""
        self.wake_at_ms: Millis = now
        self._time_due_ms: Millis | None = None
        """When this leader shall propose a time entry, because its machine has something due; None: not known yet."""
        self.watch: Watch | None = None
        """Sees every step of the core; set by simulation and nobody else."""
        self.snapshots = Snapshotting(self, shelf, snapshots, make_machine, state_bytes=chosen.size)
        for text in chosen.notes:
            self.note(text, is_alarm=True)
        self._carry_out(now, self.raft.start())
        self.flight = Flight(self.raft, outbox.sharing)
        if chosen.mark.index > recovered.mark.index:
            # Published, but the journal did not hear of it any more: the log follows it, or is reset, before all else.
            self.step(now, SnapshotRestored(chosen.mark))

    @property
    def id(self) -> PeerId:
        """Name and node."""
        return self.raft.me.peer

    @property
    def is_leader(self) -> bool:
        """It leads, as far as it knows."""
        return self.raft.leader == self.raft.me

    @property
    def is_through(self) -> bool:
        """It left its group, and has answered and sent everything that it still can."""
        return self.left > 0 and self.machine.last_applied >= self.raft.commit_index and not self._held

    def step(self, now: Millis, event: Event) -> None:
        """Let `event` happen, and see to what follows from it."""
        if self.fault is not None:
            return
        self.flight.events.append((now, event))
        try:
            output = self.raft.step(now, event)
        except ReplicaFault as fault:
            self.flight.is_in_core = True
            self.fail(str(fault), fault)
            return
        if self.watch is not None:
            self.watch(self.raft, event, output)
        self._carry_out(now, output)

    def _carry_out(self, now: Millis, output: Output) -> None:
        if output.save and not self._save(output):
            return
        for message in output.send_now:
            self._send(message, self._hard_issued)
        for message in output.send_after_save:
            self._send(message, self._issued)
        for load in output.load:
            token = self._outbox.next_token()
            self._loads[token] = (load.to, load.first)
            self._store.load(self._name, token, load.first, load.last, load.limit_bytes)
        desk = self.desk
        for accepted in output.accepted:
            desk.accepted(accepted)
        for ready in output.reads_ready:
            desk.read_ready(ready.ref, ready.index)
        for ref in (*output.changed, *output.transferred):
            desk.done(ref, self.raft.memberships.current_index)
        for refused in output.refused:
            desk.refused(refused)
        for offer in output.send_snapshot:
            complete = self.snapshots.offer(now, offer)
            if complete is not None:
                self._send(complete, self._hard_issued)
        if output.restore is not None:
            self.snapshots.restore(output.restore, self._hard_issued)
        if output.compact_to and not self._compact(output.compact_to):
            return
        if output.role_change is not None:
            self._role_changed(now, output.role_change)
        self.left = self.left or output.left
        self._outbox.duties.notes += [Note(self._name, fact) for fact in output.facts]
        self.wake_at_ms = output.wake_at_ms

    def _save(self, output: Output) -> bool:
        """False where the store refuses: then the replica has failed, and nothing of this output may get out."""
        try:
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
        except (ReplicaFault, UsageError) as refusal:
            self.fail(f"save {output.save}: {refusal}", refusal)
            return False
        self._issued = output.save
        if output.hard_state is not None:
            self._hard_issued = output.save
        return True

    def _compact(self, index: Index) -> bool:
        """The journal forgets what is up to `index`. False where the store refuses: then the replica has failed."""
        try:
            self._store.compact(self._name, self.raft.snapshot, index + 1)
        except (ReplicaFault, UsageError) as refusal:
            self.fail(f"compaction to {index}: {refusal}", refusal)
            return False
        return True

    def _send(self, message: Message, after_save: int) -> None:
        """Send `message` once save `after_save` and all before it are durable."""
        if after_save <= self._completed:
            self._outbox.duties.messages.append((self.meta.group, message))
        else:
            self._held.append((after_save, message))

    def _role_changed(self, now: Millis, change: RoleChange) -> None:
        duties = self._outbox.duties
        duties.changes.append(PeerChange(self._name, change))
        duties.altered[self._name] = None
        self._time_due_ms = None
        if change.role is RoleName.LEADER:
            self.keeper.lead()
        else:
            self.keeper.lose()
        before = change.term if change.role is RoleName.LEADER else change.term + 1
        self.desk.leadership_lost(before, now + 2 * self._settings.election_timeout_ms)

    def saved(self, now: Millis, number: int) -> None:
        """Every save up to `number` is durable: what waited for it may go."""
        if self.fault is not None:
            return
        self._completed = number
        if self._held:
            held, self._held = self._held, deque()
            for after_save, message in held:
                self._send(message, after_save)
        self.desk.saved(number)
        self.step(now, Saved(number))

    def loaded(self, now: Millis, token: int, batches: tuple[Batch, ...]) -> None:
        """The journal gave what was asked for under `token`: for a follower, or for the own machine."""
        if token == self._apply_token:
            self._apply_token = 0
            if not batches:
                self.fail(f"the journal has no batch at {self.machine.last_applied + 1}, which is to be applied")
            self._apply_batches.extend(batches)
        elif token in self._loads:
            to, first = self._loads.pop(token)
            self.step(now, Loaded(to, first, batches))

    def found(self, now: Millis, asked: Asked, membership: Membership) -> None:
        """Found the group with `membership`. The asker hears of it when that is durable (I13)."""
        self.step(now, Bootstrap(membership))
        if self.fault is None:
            self.answer_when_saved(asked, 1)
        else:
            self.desk.fail(asked, PeerUnavailable(f"peer {self.id} has failed"))

    def answer_when_saved(self, asked: Asked, index: Index) -> None:
        """It is done at `index` once that entry is durable."""
        is_durable = self.raft.saves.durable_index >= index
        self.desk.answer_when_saved(asked, 0 if is_durable else self._issued, index)
        self.desk.saved(self._completed)

    def is_saved(self, number: int) -> bool:
        """Save `number` and all before it are durable."""
        return number <= self._completed

    def send_beside(self, word: State) -> None:
        """What is no message of Raft, and promises nothing: it need not wait."""
        self._outbox.duties.messages.append((self.meta.group, word))

    def heard_beside(self, word: State) -> None:
        """Another replica said something about states."""
        if self.fault is None:
            try:
                self.alarm.heard(word)
            except ReplicaFault as fault:
                self.fail(str(fault), fault)

    def vault_done(self, now: Millis, job: VaultJob, done: VaultDone) -> None:
        """The vault has finished a job of this replica."""
        if self.fault is None:
            try:
                self.snapshots.done(now, job, done)
            except ReplicaFault as fault:
                self.fail(str(fault), fault)

    def restored(self, now: Millis, mark: SnapshotMark, machine: ReplicatedMachine | None) -> None:
        """The snapshot at `mark` is durable here, and `machine` holds it; None: the log is ahead of it already.

        What was to be applied lies below `mark`, half a batch perhaps; the old machine goes with all that.
        """
        self.step(now, SnapshotRestored(mark))
        if machine is None or self.fault is not None:
            return
        machine.collect_changes = self.machine.collect_changes
        self.machine = machine
        self._apply_batches.clear()
        self._apply_token = 0
        self.has_more = False
        self.desk.restored(mark.index)
        self.alarm.sampling.restart(mark.index)
        self.note(f"goes on from the snapshot at {mark.index}")

    def note(self, text: str, *, is_alarm: bool = False) -> None:
        """A log line."""
        self._outbox.duties.notes.append(Note(self._name, text, is_alarm))

    @property
    def awaited_save(self) -> int:
        """The last save that was issued and is not reported durable yet; 0: there is none."""
        return self._issued if self._issued > self._completed else 0

    def wake(self, now: Millis) -> None:
        """A deadline may have passed."""
        settle_by = self.desk.settle_by_ms
        if settle_by is not None and now >= settle_by:
            self.desk.give_up_unsettled(now)
        self.step(now, TimePassed())

    @property
    def due_ms(self) -> Millis:
        """When `wake` is due."""
        due = self.wake_at_ms
        for other in (self.desk.settle_by_ms, self._time_due_ms, self.snapshots.due_ms, self.keeper.due_ms):
            if other is not None and other < due:
                due = other
        return due

    def turn(self, now: Millis, wall: int, *, apply_entries: int = APPLY_ENTRIES) -> None:
        """The turn ends: its writes become batches, its queries one read, and committed entries are applied."""
        desk, raft = self.desk, self.raft
        if self.fault is not None:
            return
        if len(self.flight.events) >= self.flight.due:
            self.flight.look(self._outbox.sharing)
        self.has_more = False
        if self.keeper.leads:
            self.keeper.turn(now)
        if desk.writes or desk.items:
            self.step(now, Propose(desk.take_proposals(), wall))
        if desk.queries:
            self.step(now, Read(desk.take_queries()))
        try:
            is_behind = self.machine.last_applied < raft.commit_index and self.fault is None
            if is_behind and not self.snapshots.holds_apply:
                self._apply(apply_entries)
            if self.fault is None:
                self.snapshots.turn(now)
                self.has_more = self.has_more and not self.snapshots.holds_apply
        except ReplicaFault as fault:
            self.fail(str(fault), fault)
        if self.keeper.leads:
            self.keeper.applied(now)
        for asked, query in desk.take_runnable(self.machine.last_applied):
            self._run(now, asked, query)
        if desk.items or desk.queries:
            self.has_more = True  # left by the keeper, for the next turn
        if self.fault is None:
            index, membership = raft.memberships.current_index, raft.membership
            if index != self.conf[0] and index <= raft.commit_index and membership is not None and membership.is_stable:
                self.conf = index, membership
                self._outbox.duties.altered[self._name] = None
            self._see_to_time(now)

    def _see_to_time(self, now: Millis) -> None:
        """A leader whose machine has something due proposes a time entry, or says when it will.

        The core takes none while others are on their way; so the next turn asks again, at a heartbeat at the latest.
        """
        role = self.raft.role
        if type(role) is not Leader:
            return
        try:
            due = self.machine.due()
        except ReplicaFault as fault:
            self.fail(str(fault), fault)
            return
        self._time_due_ms = None
        if due is not None:
            due_ms = due - role.time_offset
            if due_ms > now:
                self._time_due_ms = due_ms
            else:
                self.step(now, ProposeTime())

    def _apply(self, budget: int) -> None:
        """Apply up to `budget` committed entries; older ones than memory holds are read first."""
        machine, desk, commit_index = self.machine, self.desk, self.raft.commit_index
        sampling = self.alarm.sampling
        while budget > 0 and machine.last_applied < commit_index and self._refill(commit_index):
            batch = self._apply_batches[0]
            offset = machine.last_applied + 1 - batch.first
            waits = desk.waits_for(batch)
            if batch.last < sampling.opens_at:
                outcomes = machine.apply_batch(batch, offset, budget, replies=waits)
            else:
                outcomes = self.alarm.apply(batch, offset, budget)
            budget -= machine.last_applied + 1 - batch.first - offset
            if waits:
                desk.applied(batch, offset, outcomes)
            if machine.last_applied == batch.last:
                self._apply_batches.popleft()
                if self.snapshots.applied(batch):
                    budget = 0
        self.has_more = budget <= 0 and machine.last_applied < commit_index
        head = self._apply_batches[0] if self._apply_batches else None
        under_way = head if head is not None and head.first <= machine.last_applied else None
        leader = self.raft.leader
        desk.applied_to(machine.last_applied, under_way, leader.peer if leader is not None else None)

    def _refill(self, commit_index: Index) -> bool:
        """True where the next batch to apply is at hand; otherwise it is asked for."""
        if self._apply_batches:
            return True
        if self._apply_token:
            return False
        first = self.machine.last_applied + 1
        batches = self.raft.log.take(first, APPLY_BYTES)
        if batches is None:
            self._apply_token = self._outbox.next_token()
            last = min(commit_index, self.raft.log.last_before_memory(first))
            self._store.load(self._name, self._apply_token, first, last, APPLY_BYTES)
            return False
        self._apply_batches.extend(batch for batch in batches if batch.last <= commit_index)
        if not self._apply_batches:
            raise ReplicaFault(f"commit index {commit_index} lies within a batch of {self.raft.log!r}")
        return True

    def _run(self, now: Millis, asked: Asked, query: Reading) -> None:
        if isinstance(query, GetConf):
            self._answer_conf(asked, in_force=query.in_force)
            return
        if not isinstance(query, Query):
            self.keeper.run(now, asked, query)
            return
        try:
            self.desk.answer(asked, self.machine.last_applied, self.machine.query(query.query))
        except RequestError as error:
            self.desk.fail(asked, error)

    def _answer_conf(self, asked: Asked, *, in_force: bool) -> None:
        membership, leader = self.raft.membership, self.raft.leader
        index = self.raft.memberships.current_index
        is_settled = membership is not None and membership.is_stable and index <= self.raft.commit_index
        if membership is None or leader is None or not (is_settled or in_force):
            self.desk.fail(asked, NotStable("a change of the configuration is under way; try again"))
            return
        conf = conf_of(asked[1], self.meta, leader.peer, index, membership)
        self._outbox.duties.replies.append((asked[0], conf))

    @property
    def role(self) -> str:
        """The role as users see it."""
        role = self.raft.role_name
        return "candidate" if role is RoleName.PRE_CANDIDATE else role.value

    def status(self) -> PeerStatus:
        """The replica as it sees itself."""
        raft = self.raft
        membership, leader, log = raft.membership, raft.leader, raft.log
        return PeerStatus(
            self.id,
            self.role,
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
            sessions=len(self.machine.sessions),
            watchers=self.keeper.watches.count + self.keeper.streams.count,
            ephemerals=self.machine.temporary_count(),
            backend=self.backend,
            fault=loading_text(raft) or self.alarm.standing or None,
            target=target_of(membership),
            joining=joining_of(raft),
            fetching=self.snapshots.fetching(),
            sending=self.snapshots.sending(),
        )

    def fail(self, reason: str, error: Exception | None = None) -> None:
        """Stop this replica: it neither votes nor acknowledges nor answers any more. Its data is left alone."""
        if self.fault is None:
            self.fault, self.error = reason, error
            self.has_more = False
            self._held.clear()
            self.close("has failed")

    def close(self, why: str) -> None:
        """Nothing that waits will be answered by it."""
        reason = f"peer {self.id} {why}"
        self.keeper.lose(PeerUnavailable(reason))
        self.desk.close(reason)
