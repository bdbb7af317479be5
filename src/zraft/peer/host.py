"""One node's replicas over one store: everything a node decides, and no I/O.

Whoever runs a host (`node` for real, `sim` in simulation) follows this contract:

    host = Host(...)                       recovery has happened; `duties = host.turn(...)` has its notes
    host.receive / request / completed / node_lost / node_back / forget      any number of times, then once
    duties = host.turn(now, wall)          carry out every duty; jobs were given to the disk already
    ... not later than `duties.wake_at_ms`, or soon where `duties.has_more`: host.turn again
    host.stop()                            nobody runs any more; turns go on until `host.is_settled`

Work is done per turn: all that one pass of the event loop brought becomes one batch per group, one save job for the
node, one message per follower and one reply frame per client (whoever runs the host joins what goes the same way).
`now` is the local monotonic clock in milliseconds, `wall` the wall clock in milliseconds since 1970, informative only.
"""

from __future__ import annotations

from heapq import heappop, heappush

import msgspec

from zraft import limits
from zraft.core.chance import Chance
from zraft.core.events import Event, NodeBack, NodeLost, Received, TransferLeadership
from zraft.core.memberships import MembershipHistory
from zraft.core.messages import Message
from zraft.core.recovered import RaftSettings, Recovered
from zraft.core.roles import NEVER, Leader
from zraft.errors import CreateError, CreateProblem, PeerUnavailable, ReplicaFault, StorageError, UsageError
from zraft.machine.registry import Backends
from zraft.peer.admin import BORN, Admin
from zraft.peer.aside import GONE, KEPT, kept_entry, set_aside
from zraft.peer.down import (
    FailedPeer,
    StoppedPeer,
    is_blank,
    is_blank_on_disk,
    last_named_at,
    recovered_from,
    status_of,
)
from zraft.peer.duties import Client, Duties, Note, Outbox, PeerView
from zraft.peer.growth import SnapshotSettings
from zraft.peer.liveness import Liveness
from zraft.peer.opening import Choice, open_replicas
from zraft.peer.peer import APPLY_ENTRIES, Peer
from zraft.peer.recording import keep
from zraft.peer.shelf import Chosen, Shelf
from zraft.peer.space import Space
from zraft.peer.vault import Vault, VaultDone
from zraft.session.history import HistorySettings
from zraft.session.machine import ReplicatedMachine
from zraft.storage.disk import Completion, Disk
from zraft.storage.replica import LoadDone, LoadFailed, RecoveredReplica, ReplicaMeta, SaveDone, StoreFailed
from zraft.storage.store import StoreSettings
from zraft.types import GroupId, Millis, PeerId
from zraft.wire.failures import error_to_failed
from zraft.wire.peering import Item, NodeBeat
from zraft.wire.requests import ListPeers, PeerEntry, PeerStatus, Request, Stat, Write
from zraft.wire.session_requests import SessionWrite
from zraft.wire.states import Beside, State

_STOPPED = "stopped: it runs again when the node is told to start it, or starts anew"


class HostSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What all replicas of a node share."""

    raft: RaftSettings = RaftSettings()
    store: StoreSettings = StoreSettings()
    snapshots: SnapshotSettings = SnapshotSettings()
    history: HistorySettings = HistorySettings()
    max_command_bytes: int = limits.MAX_COMMAND_BYTES
    max_result_bytes: int = limits.FRAME_BYTES - limits.KIB
    """A frame holds one, with what is around it."""
    alarm_entries: int = limits.ALARM_ENTRIES
    """So often replicas compare their states; 0: never. The same on every node, or they meet at no index."""
    sync_mode: str = "default"
    """What the operator calls `raft.counts_unsaved` and `store.sync`; for the status."""


class Host:
    """The replicas of one node. Not started twice, not used from two threads."""

    def __init__(
        self,
        node: str,
        disk: Disk,
        backends: Backends,
        settings: HostSettings,
        *,
        seed: int,
        now: Millis,
        vault: Vault | None = None,
    ) -> None:
        """Open the data on `disk` and start every replica found in it, from its snapshot in `vault`.

        `seed`: 64 unpredictable bits; they become incarnations. `vault` None: no snapshots are taken. Raises
        StorageError where the node cannot start at all.
        """
        self.node = node
        self.backends = backends
        self.settings = settings
        self.chance = Chance(seed)
        self.outbox = Outbox()
        self.peers: dict[str, Peer] = {}
        self.failed: dict[str, FailedPeer] = {}
        self.stopped: dict[str, StoppedPeer] = {}
        self.aside: dict[str, FailedPeer] = {}
        """What replicas held that left their group, by the name that it has now."""
        self.fatal: StorageError | None = None
        self.apply_entries = APPLY_ENTRIES
        """What a replica applies at most in one turn. Whoever can measure how long that takes may lower it."""
        self._disk = disk
        self.shelf = Shelf(vault, self.outbox)
        opened = open_replicas(disk, settings.store, self.shelf, self.make_machine)
        self.store = opened.store
        self.space = Space(self)
        self.admin = Admin(self)
        self._active: dict[str, Peer] = {}
        """Replicas that something happened to in this turn."""
        self._timers: list[tuple[Millis, str]] = []
        """A heap of deadlines; a replica's true one is on itself, and may have moved to later since."""
        self._armed: dict[str, Millis] = {}
        """The earliest deadline of each replica that is in the heap."""
        self._with_local: dict[str, Peer] = {}
        """Replicas that local queries may wait at, or that clients may watch."""
        self._mark_due_ms: Millis | None = None
        """When the journal shall be told what is durable, if nothing is saved before; None: it was."""
        self._is_stopped = self._has_marked = False
        self._to_self: list[tuple[GroupId, Message | State]] = []
        self._liveness = Liveness(node, settings.raft, Chance(~seed & (2**64 - 1)).bits())
        self.outbox.duties.notes += [Note("", text, is_alarm=True) for text in opened.notes]
        for name, loss in opened.losses.items():
            self.note(
                name, f"lost part of its data, does not vote and has the others send it again: {loss}", is_alarm=True
            )
        self.shelf.forget_strangers([replica.meta for replica, _ in opened.replicas])
        for replica, choice in opened.replicas:
            self._start(replica, choice, now)

    def _start(self, replica: RecoveredReplica, choice: Choice, now: Millis) -> None:
        meta, recovered = replica.meta, replica.recovered
        if choice is None:
            self.aside[meta.name] = FailedPeer(meta, KEPT, MembershipHistory(recovered))
            return
        try:
            if isinstance(choice, ReplicaFault):
                raise choice
            self.run(meta, recovered, choice, now)
            self._check_name(self.peers[meta.name])
        except ReplicaFault as fault:
            is_new = is_blank_on_disk(recovered)
            self._down(FailedPeer(meta, str(fault), MembershipHistory(recovered), is_blank=is_new), fault)

    def _check_name(self, peer: Peer) -> None:
        """A node that is started under another address is another node to all others: nobody counts its replicas."""
        membership, me = peer.raft.membership, peer.raft.me
        for member in membership.everyone() if membership is not None else ():
            if member.incarnation == me.incarnation and member != me:
                text = f"its group knows it as {member.peer}: start this node, {self.node}, under that name"
                self.note(me.peer.name, text, is_alarm=True)

    def make_machine(self, meta: ReplicaMeta) -> ReplicatedMachine:
        """A fresh machine of the replica's backend. Raises ReplicaFault where there is none, or it cannot be made."""
        try:
            backend = self.backends.make(meta.backend, PeerId(meta.name, self.node))
            return ReplicatedMachine(backend, self.settings.history)
        except Exception as error:
            text = str(error) if isinstance(error, UsageError) else f"{type(error).__name__}: {error}"
            raise ReplicaFault(f"no machine of backend {meta.backend!r}: {text}") from error

    def run(self, meta: ReplicaMeta, recovered: Recovered, chosen: Chosen, now: Millis) -> None:
        """Run the replica from what was chosen for it. Raises ReplicaFault where its data breaks an invariant."""
        peer = Peer(
            meta,
            self.node,
            recovered,
            chosen,
            self.store,
            self.outbox,
            self.settings.raft,
            seed=self.chance.bits(),
            now=now,
            shelf=self.shelf,
            make_machine=self.make_machine,
            snapshots=self.settings.snapshots,
            max_result_bytes=self.settings.max_result_bytes,
            alarm_entries=self.settings.alarm_entries,
        )
        self.peers[meta.name] = peer
        self.outbox.sharing = len(self.peers)
        self._active[meta.name] = peer
        self.outbox.duties.altered[meta.name] = None

    def _failed(self, peer: Peer, fault: str) -> None:
        """The replica stays down, and says why."""
        if peer.fault is not None:
            keep(peer, self.outbox.duties)
        peer.fail(fault)
        memberships, blank = peer.raft.memberships, is_blank(peer.raft)
        self.forget_peer(peer.meta.name)
        self._down(FailedPeer(peer.meta, peer.fault or fault, memberships, is_blank=blank), peer.error)

    def _down(self, failed: FailedPeer, error: Exception | None) -> None:
        name = failed.meta.name
        self.failed[name] = failed
        self.outbox.duties.altered[name] = None
        error = error or ReplicaFault(failed.fault)
        self.outbox.duties.notes.append(Note(name, f"failed: {failed.fault}", is_alarm=True, error=error))

    def forget_peer(self, name: str, why: str = "was removed") -> None:
        """The replica does not run here any more, nor is it down; what waits for it is told."""
        peer = self.peers.pop(name, None)
        if peer is not None:
            peer.close(why)
            self.shelf.disown(peer.vault_done)
        self.failed.pop(name, None)
        self.stopped.pop(name, None)
        self.aside.pop(name, None)
        self._active.pop(name, None)
        self._with_local.pop(name, None)
        self._liveness.forget(name)
        self._armed.pop(name, None)  # a replica born under this name later has its own deadlines
        self.outbox.duties.altered[name] = None

    def note(self, name: str, text: str, *, is_alarm: bool = False) -> None:
        """A log line."""
        self.outbox.duties.notes.append(Note(name, text, is_alarm=is_alarm))

    def running(self, name: str) -> Peer | None:
        """The replica `name`, if it runs and has not failed in this turn."""
        peer = self.peers.get(name)
        return peer if peer is not None and peer.fault is None else None

    # -- stopping and starting one replica

    def stop_peer(self, name: str) -> None:
        """The replica runs no longer and keeps its data. Raises PeerUnavailable where no such replica runs."""
        peer = self.running(name)
        if peer is None:
            raise PeerUnavailable(self._why_not(name))
        memberships = peer.raft.memberships
        stopped = StoppedPeer(
            peer.meta,
            recovered_from(peer.raft),
            memberships,
            last_named_at(memberships, peer.raft.commit_index, peer.raft.me),
            peer.awaited_save,
        )
        self.forget_peer(name, "was stopped")
        self.stopped[name] = stopped
        self.note(name, "stopped")

    def start_peer(self, name: str, now: Millis) -> bool:
        """Run the stopped replica; True where it runs. False: what it had issued is not durable yet, ask again.

        Raises PeerUnavailable where there is no such replica, or it has failed.
        """
        if self.running(name) is not None:
            return True
        stopped = self.stopped.get(name)
        if stopped is None or self._is_stopped:
            raise PeerUnavailable(self._why_not(name))
        if stopped.awaited:
            return False
        del self.stopped[name]
        try:
            chosen = self.shelf.choose(stopped.meta, stopped.recovered, self.make_machine)
            self.run(stopped.meta, stopped.recovered, chosen, now)
        except ReplicaFault as fault:
            self._down(FailedPeer(stopped.meta, str(fault), stopped.memberships), fault)
            raise PeerUnavailable(self._why_not(name)) from fault
        return True

    # -- what happens

    def receive(self, now: Millis, group: GroupId, message: Item) -> None:
        """A message from another node. One for a replica that is not here is dropped (BM-114)."""
        if isinstance(message, Beside):
            self._heard(group, message)
            return
        name = message.to.peer.name
        peer = self.peers.get(name)
        if peer is None or peer.meta.group != group:
            return
        self._active[name] = peer
        peer.step(now, Received(message))

    def _heard(self, group: GroupId, word: NodeBeat | State) -> None:
        """What another node says for itself, or one of its replicas about states."""
        if isinstance(word, NodeBeat):
            self._liveness.received(word)
            return
        peer = self.peers.get(word.to.peer.name)
        if peer is not None and peer.meta.group == group:
            self._active[peer.meta.name] = peer
            peer.heard_beside(word)

    def request(self, now: Millis, client: Client, request: Request) -> None:
        """A client asks. It is answered once, in the duties of this or a later turn."""
        if type(request) is Write:
            peer = self.running(request.peer)
            if peer is None:
                self.no_such_peer(client, request.id, request.peer)
            elif self.admin.admit_write(now, client, peer, request):
                self._active[request.peer] = peer
        elif type(request) is SessionWrite:
            self.admin.admit_session_write(now, client, request)
        elif (self._is_stopped or self.fatal is not None) and not isinstance(request, ListPeers | Stat):
            self.admin.refuse(client, request.id, f"node {self.node} is stopping")
        else:
            self.admin.handle(now, client, request)

    def no_such_peer(self, client: Client, number: int, name: str) -> None:
        """Answer that the replica is not here, or is down."""
        self.outbox.duties.replies.append((client, error_to_failed(number, PeerUnavailable(self._why_not(name)))))

    def _why_not(self, name: str) -> str:
        if self._is_stopped:
            return f"node {self.node} is stopping"
        if name in self.stopped:
            return f"peer {name} of {self.node} is stopped"
        if name in self.failed or name in self.peers:
            return f"peer {name} of {self.node} has failed: see its status"
        if kept_entry(self, name) is not None:
            return f"peer {name} of {self.node} was removed from its group"
        return f"no peer {name} on {self.node}"

    def refuse_create(self, client: Client, number: int, name: str, problem: CreateProblem) -> None:
        """Answer that the replica cannot be made here."""
        error = CreateError({PeerId(name, self.node): problem})
        self.outbox.duties.replies.append((client, error_to_failed(number, error)))

    def touch(self, peer: Peer) -> None:
        """Something was left with the replica that its turn must see to."""
        self._active[peer.meta.name] = peer

    def has_local(self, peer: Peer) -> None:
        """A local query waits at the replica, or a session is used there."""
        self._with_local[peer.meta.name] = peer

    def completed(self, now: Millis, completion: Completion) -> None:
        """The disk has finished a job, or failed."""
        for done in self.store.completed(completion):
            match done:
                case SaveDone():
                    self._mark_due_ms = now + limits.JOURNAL_IDLE_MS
                    self._saved(now, done)
                case LoadDone():
                    peer = self.peers.get(done.name)
                    if peer is not None:
                        self._active[done.name] = peer
                        peer.loaded(now, done.token, done.batches)
                case LoadFailed():
                    peer = self.peers.get(done.name)
                    if peer is not None:
                        peer.fail(str(done.error), done.error)
                        self._active[done.name] = peer
                case StoreFailed():
                    self._store_failed(done.error)

    def vault_done(self, now: Millis, done: VaultDone) -> None:
        """The vault has finished a job, or failed."""
        meta = self.shelf.done(now, done)
        if meta is not None and meta.name in self.peers:
            self.touch(self.peers[meta.name])

    def _saved(self, now: Millis, done: SaveDone) -> None:
        if done.number in (BORN, GONE):
            self.shelf.left(done.name)
            self.admin.settled(now, done.name, done.number)
            return
        peer = self.peers.get(done.name)
        stopped = self.stopped.get(done.name)
        if peer is not None:
            self._active[done.name] = peer
            peer.saved(now, done.number)
        elif stopped is not None and done.number >= stopped.awaited:
            stopped.awaited = 0

    def _store_failed(self, error: StorageError) -> None:
        """Nothing is acknowledged any more (BM-093): every replica stops, and so must the node."""
        self.fatal = error
        self.note("", f"the store failed: {error}", is_alarm=True)
        for peer in list(self.peers.values()):
            self._failed(peer, f"the store failed: {error}")
        self.admin.close(f"the store failed: {error}")

    def node_lost(self, now: Millis, node: str) -> None:
        """The connection to a node broke."""
        for peer in self.peers.values():
            if peer.is_leader:
                self._active[peer.meta.name] = peer
                peer.step(now, NodeLost(node))

    def node_back(self, now: Millis, node: str) -> None:
        """A connection to a node is up."""
        for peer in self.peers.values():
            if peer.is_leader:
                self._active[peer.meta.name] = peer
                peer.step(now, NodeBack(node))

    def forget(self, client: Client) -> None:
        """A client's connection is gone."""
        for peer in self._with_local.values():
            peer.desk.forget(client)
            peer.keeper.forget(client)
        self._with_local = {
            name: peer for name, peer in self._with_local.items() if peer.desk.has_local or peer.keeper.has_clients
        }

    # -- the end

    def leading(self) -> list[str]:
        """The replicas here that lead groups with further voters."""
        return [
            name
            for name, peer in self.peers.items()
            if peer.is_leader and peer.raft.membership is not None and len(peer.raft.membership.voters) > 1
        ]

    def hand_over(self, now: Millis, names: list[str]) -> list[str]:
        """Hand the leadership of these replicas to others (§3.10); the names of those that are not done with it.

        To be called after every turn until it is empty: done is who knows another leader, is gone, or finds nobody who
        answers. Until then its vote may be wanted.
        """
        waiting = []
        for name in names:
            peer = self.running(name)
            if peer is None or (peer.raft.leader is not None and not peer.is_leader):
                continue
            if peer.is_leader and not _is_handing_over(peer):
                self._active[name] = peer
                peer.step(now, TransferLeadership(peer.desk.next_ref()))
            if not peer.is_leader or _is_handing_over(peer):
                waiting.append(name)
        return waiting

    @property
    def has_unanswered(self) -> bool:
        """Somebody waits for an answer that will come."""
        return not self.admin.is_empty or any(not peer.desk.is_empty for peer in self.peers.values())

    def neighbours(self, name: str = "") -> dict[str, None]:
        """Every other node that replica `name`, or any one here, may have to talk to."""
        found: dict[str, None] = {}
        only = self.peers.get(name)
        for peer in self.peers.values() if not name else () if only is None else (only,):
            if peer.raft.membership is not None:
                found |= dict.fromkeys(member.peer.node for member in peer.raft.membership.everyone())
        found.pop(self.node, None)
        return found

    def stop(self) -> None:
        """No replica runs any more, and whoever waits is told. Turns go on until `is_settled`."""
        self.admin.close(f"node {self.node} is stopping")
        for name in list(self.peers):
            self.forget_peer(name, "stops with its node")
        self.outbox.duties.altered.clear()
        self._is_stopped = True

    @property
    def is_settled(self) -> bool:
        """Stopped, and everything is durable; the last record says so to the next start. Or the store has failed."""
        return self.fatal is not None or (self._is_stopped and self._has_marked and self.store.is_idle)

    # -- the turn

    def turn(self, now: Millis, wall: int) -> Duties:
        """End the turn: see to everything that waits for it, hand jobs to the disk, and say what is to be done."""
        self._wake(now)
        self._deliver_to_self(now)
        self._liveness.begin_turn(now, list(self._active.values()), lambda name, event: self._rouse(now, name, event))
        self.space.turn(now)
        active, self._active = self._active, {}
        has_more = False
        for name, peer in active.items():
            peer.turn(now, wall, apply_entries=self.apply_entries)
            if peer.fault is not None:
                self._failed(peer, peer.fault)
                continue
            if peer.is_through:
                set_aside(self, peer)
                continue
            if peer.has_more:
                self._active[name] = peer
                has_more = True
            self._arm(name, peer.due_ms)
            self._liveness.look_at(now, peer)
        self._mark(now)
        while (job := self.store.next_job()) is not None:
            self._disk.submit(job)
        duties = self.outbox.take()
        duties.node_beats = self._liveness.end_turn(now)
        self._keep_own(duties)
        duties.has_more = has_more or bool(self._to_self)
        duties.wake_at_ms = self._next_deadline()
        duties.fatal = self.fatal
        return duties

    def _mark(self, now: Millis) -> None:
        """Where nothing is saved for a while, or ever again, the journal says once what is durable."""
        is_due = self._mark_due_ms is not None and now >= self._mark_due_ms
        if is_due or (self._is_stopped and not self._has_marked):
            self._mark_due_ms = None
            if self.store.is_idle:
                self.store.watermark()
                self._has_marked = self._is_stopped
            else:
                self._mark_due_ms = now + limits.JOURNAL_IDLE_MS

    def _next_deadline(self) -> Millis | None:
        due = self._timers[0][0] if self._timers else None
        for other in (self._mark_due_ms, self.space.due_ms, self._liveness.due_ms):
            if other is not None and (due is None or other < due):
                due = other
        return due

    def _wake(self, now: Millis) -> None:
        """Wake every replica whose deadline has come; ten thousand idle ones cost nothing here."""
        while self._timers and self._timers[0][0] <= now:
            at, name = heappop(self._timers)
            if self._armed.get(name) != at:
                continue  # an earlier one took its place, or the replica is gone
            del self._armed[name]
            peer = self.peers[name]
            if peer.due_ms <= now:
                self._active[name] = peer  # armed again when its turn ends
                peer.wake(now)
            else:
                self._arm(name, peer.due_ms)

    def _rouse(self, now: Millis, name: str, event: Event) -> None:
        """Something is known of a node that the replica trusts."""
        peer = self.running(name)
        if peer is not None:
            self._active[name] = peer
            peer.step(now, event)

    def _arm(self, name: str, at: Millis) -> None:
        armed = self._armed.get(name)
        if at < NEVER and (armed is None or at < armed):
            self._armed[name] = at
            heappush(self._timers, (at, name))

    def _deliver_to_self(self, now: Millis) -> None:
        messages, self._to_self = self._to_self, []
        for group, message in messages:
            self.receive(now, group, message)

    def _keep_own(self, duties: Duties) -> None:
        """Messages between two replicas of this node do not travel."""
        if any(message.to.peer.node == self.node for _, message in duties.messages):
            self._to_self = [item for item in duties.messages if item[1].to.peer.node == self.node]
            duties.messages = [item for item in duties.messages if item[1].to.peer.node != self.node]

    # -- inspection

    def entries(self) -> tuple[PeerEntry, ...]:
        """Every replica here, by name, but what is kept of removed ones."""
        return self.admin.entries()

    def entry(self, name: str) -> PeerEntry | None:
        """The replica of this name, or what is kept of one that was called so; None where there is nothing."""
        return next((one for one in self.entries() if one.member.peer.name == name), None) or kept_entry(self, name)

    def status(self, name: str) -> PeerStatus | None:
        """The replica as it sees itself; None where there is none of that name."""
        peer = self.peers.get(name)
        if peer is not None:
            return msgspec.structs.replace(peer.status(), sync_mode=self.settings.sync_mode)
        failed, stopped = self.failed.get(name) or self.aside.get(name), self.stopped.get(name)
        if failed is not None:
            return status_of(failed.meta, self.node, failed.memberships, failed.fault)
        return status_of(stopped.meta, self.node, stopped.memberships, _STOPPED) if stopped is not None else None

    def view(self, name: str) -> PeerView:
        """What an application that acts on changes wants to know of the replica."""
        peer, peer_id = self.peers.get(name), PeerId(name, self.node)
        if peer is None:
            return PeerView(peer_id, "failed" if name in self.failed or name in self.stopped else "removed")
        leader, (index, membership) = peer.raft.leader, peer.conf
        return PeerView(
            peer_id,
            peer.role,
            peer.raft.current_term,
            leader.peer if leader is not None else None,
            index,
            tuple(member.peer for member in membership.voters) if membership is not None else (),
        )


def _is_handing_over(peer: Peer) -> bool:
    role = peer.raft.role
    return isinstance(role, Leader) and role.transfer is not None
