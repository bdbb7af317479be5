"""One node's replicas over one store: everything a node decides, and no I/O.

Whoever runs a host (`node` for real, `sim` in simulation) follows this contract:

    host = Host(...)                       recovery has happened; `duties = host.turn(...)` has its notes
    host.receive / request / completed / node_lost / node_back / forget      any number of times, then once
    duties = host.turn(now, wall)          carry out every duty; jobs were given to the disk already
    ... not later than `duties.wake_at_ms`, or soon where `duties.has_more`: host.turn again

Work is done per turn: all that one pass of the event loop brought becomes one batch per group, one save job for the
node, one message per follower and one reply frame per client (whoever runs the host joins what goes the same way).
`now` is the local monotonic clock in milliseconds, `wall` the wall clock in milliseconds since 1970, informative only.
"""

from __future__ import annotations

from heapq import heappop, heappush

import msgspec

from zraft import limits
from zraft.core.chance import Chance
from zraft.core.events import NodeBack, NodeLost, Received, TransferLeadership
from zraft.core.messages import Message
from zraft.core.recovered import RaftSettings
from zraft.errors import CreateError, CreateProblem, PeerUnavailable, ReplicaFault, StorageError, UsageError
from zraft.machine.registry import Backends
from zraft.peer.admin import BORN, GONE, Admin
from zraft.peer.duties import Client, Duties, Note, Outbox
from zraft.peer.peer import Peer
from zraft.session.outcomes import FATAL
from zraft.storage.disk import Completion, Disk
from zraft.storage.replica import LoadDone, LoadFailed, RecoveredReplica, ReplicaMeta, SaveDone, StoreFailed
from zraft.storage.store import Store, StoreSettings
from zraft.types import GroupId, Millis, PeerId
from zraft.wire.failures import error_to_failed
from zraft.wire.requests import PeerEntry, PeerStatus, Request, Write


class HostSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What all replicas of a node share."""

    raft: RaftSettings = RaftSettings()
    store: StoreSettings = StoreSettings()
    max_command_bytes: int = limits.MAX_COMMAND_BYTES


class FailedPeer(msgspec.Struct, frozen=True):
    """A replica that is down: its data is corrupt, its backend unknown, or an invariant broke."""

    meta: ReplicaMeta
    fault: str


class Host:
    """The replicas of one node. Not started twice, not used from two threads."""

    def __init__(
        self, node: str, disk: Disk, backends: Backends, settings: HostSettings, *, seed: int, now: Millis
    ) -> None:
        """Open the data on `disk` and start every replica found in it.

        `seed`: 64 unpredictable bits; they become incarnations. Raises StorageError where the node cannot start at all.
        """
        self.node = node
        self.backends = backends
        self.settings = settings
        self.chance = Chance(seed)
        self.outbox = Outbox()
        self.peers: dict[str, Peer] = {}
        self.failed: dict[str, FailedPeer] = {}
        self.fatal: StorageError | None = None
        self._disk = disk
        opened = Store.open(disk, settings.store)
        self.store = opened.store
        self.admin = Admin(self)
        self._active: dict[str, Peer] = {}
        """Replicas that something happened to in this turn."""
        self._timers: list[tuple[Millis, str]] = []
        """A heap of deadlines; a replica's true one is on itself, and may have moved to later since."""
        self._armed: dict[str, Millis] = {}
        """The earliest deadline of each replica that is in the heap."""
        self._to_self: list[tuple[GroupId, Message]] = []
        self.outbox.duties.notes += [Note("", text, is_alarm=True) for text in opened.notes]
        for replica in opened.replicas:
            self._start(replica, now)

    def _start(self, replica: RecoveredReplica, now: Millis) -> None:
        meta = replica.meta
        if replica.fault is not None:
            self.fail(meta, str(replica.fault))
            return
        try:
            self.start_peer(meta, replica, now)
        except (ReplicaFault, UsageError) as error:
            self.fail(meta, str(error))

    def start_peer(self, meta: ReplicaMeta, replica: RecoveredReplica, now: Millis) -> None:
        """Run the replica. Raises ReplicaFault or UsageError where it cannot."""
        try:
            backend = self.backends.make(meta.backend, PeerId(meta.name, self.node))
        except FATAL:
            raise
        except UsageError:
            raise
        except Exception as error:
            raise ReplicaFault(f"backend {meta.backend!r} cannot be made: {type(error).__name__}: {error}") from error
        seed = self.chance.bits()
        peer = Peer(
            meta, self.node, replica.recovered, backend, self.store, self.outbox, self.settings.raft, seed=seed, now=now
        )
        self.peers[meta.name] = peer
        self._active[meta.name] = peer

    def fail(self, meta: ReplicaMeta, fault: str) -> None:
        """The replica stays down, and says why."""
        self.peers.pop(meta.name, None)
        self._active.pop(meta.name, None)
        self.failed[meta.name] = FailedPeer(meta, fault)
        self.outbox.duties.notes.append(Note(meta.name, f"failed: {fault}", is_alarm=True))

    # -- what happens

    def receive(self, now: Millis, group: GroupId, message: Message) -> None:
        """A message from another node. One for a replica that is not here is dropped (BM-114)."""
        name = message.to.peer.name
        peer = self.peers.get(name)
        if peer is None or peer.meta.group != group:
            return
        self._active[name] = peer
        peer.step(now, Received(message))

    def request(self, now: Millis, client: Client, request: Request) -> None:
        """A client asks. It is answered once, in the duties of this or a later turn."""
        if type(request) is Write:
            peer = self.peers.get(request.peer)
            if peer is not None and self.admin.admit_write(client, peer, request):
                self._active[request.peer] = peer
            elif peer is None:
                self.no_such_peer(client, request.id, request.peer)
        else:
            self.admin.handle(now, client, request)

    def no_such_peer(self, client: Client, number: int, name: str) -> None:
        """Answer that the replica is not here, or is down."""
        failed = self.failed.get(name)
        text = f"peer {name} of {self.node} has failed: see its status" if failed else f"no peer {name} on {self.node}"
        self.outbox.duties.replies.append((client, error_to_failed(number, PeerUnavailable(text))))

    def refuse_create(self, client: Client, number: int, name: str, problem: CreateProblem) -> None:
        """Answer that the replica cannot be made here."""
        error = CreateError({PeerId(name, self.node): problem})
        self.outbox.duties.replies.append((client, error_to_failed(number, error)))

    def touch(self, peer: Peer) -> None:
        """Something was left with the replica that its turn must see to."""
        self._active[peer.meta.name] = peer

    def completed(self, now: Millis, completion: Completion) -> None:
        """The disk has finished a job, or failed."""
        for done in self.store.completed(completion):
            match done:
                case SaveDone():
                    self._saved(now, done)
                case LoadDone():
                    peer = self.peers.get(done.name)
                    if peer is not None:
                        self._active[done.name] = peer
                        peer.loaded(now, done.token, done.batches)
                case LoadFailed():
                    peer = self.peers.get(done.name)
                    if peer is not None:
                        peer.fail(str(done.error))
                        self._active[done.name] = peer
                case StoreFailed():
                    self._store_failed(done.error)

    def _saved(self, now: Millis, done: SaveDone) -> None:
        if done.number in (BORN, GONE):
            self.admin.settled(now, done.name, done.number)
            return
        peer = self.peers.get(done.name)
        if peer is not None:
            self._active[done.name] = peer
            peer.saved(now, done.number)

    def _store_failed(self, error: StorageError) -> None:
        """Nothing is acknowledged any more (BM-093): every replica stops, and so must the node."""
        self.fatal = error
        self.outbox.duties.notes.append(Note("", f"the store failed: {error}", is_alarm=True))
        for peer in list(self.peers.values()):
            peer.fail(f"the store failed: {error}")
            self.fail(peer.meta, f"the store failed: {error}")

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
        for peer in self.peers.values():
            peer.desk.forget(client)

    def hand_over(self, now: Millis) -> None:
        """Begin to hand over every leadership that somebody else could take (§3.10)."""
        for peer in self.peers.values():
            if peer.is_leader:
                self._active[peer.meta.name] = peer
                peer.step(now, TransferLeadership(peer.desk.next_ref()))

    @property
    def leads_others(self) -> bool:
        """Some replica here leads a group that has further voters."""
        return any(
            peer.is_leader and peer.raft.membership is not None and len(peer.raft.membership.voters) > 1
            for peer in self.peers.values()
        )

    def stop(self) -> None:
        """The node is about to stop: the last save tells the next start what was durable."""
        self.store.watermark()

    # -- the turn

    def turn(self, now: Millis, wall: int) -> Duties:
        """End the turn: see to everything that waits for it, hand jobs to the disk, and say what is to be done."""
        self._wake(now)
        self._deliver_to_self(now)
        active, self._active = self._active, {}
        has_more = False
        for name, peer in active.items():
            peer.turn(now, wall)
            if peer.fault is not None:
                if name in self.peers:
                    self.fail(peer.meta, peer.fault)
                continue
            if peer.has_more:
                self._active[name] = peer
                has_more = True
            self._arm(name, peer.due_ms)
        while (job := self.store.next_job()) is not None:
            self._disk.submit(job)
        duties = self.outbox.take()
        self._keep_own(duties)
        duties.has_more = has_more or bool(self._to_self)
        duties.wake_at_ms = self._timers[0][0] if self._timers else None
        duties.fatal = self.fatal
        return duties

    def _wake(self, now: Millis) -> None:
        """Wake every replica whose deadline has come; ten thousand idle ones cost nothing here."""
        while self._timers and self._timers[0][0] <= now:
            at, name = heappop(self._timers)
            peer = self.peers.get(name)
            if peer is None or self._armed.get(name) != at:
                continue
            del self._armed[name]
            if peer.due_ms <= now:
                self._active[name] = peer  # armed again when its turn ends
                peer.wake(now)
            else:
                self._arm(name, peer.due_ms)

    def _arm(self, name: str, at: Millis) -> None:
        armed = self._armed.get(name)
        if armed is None or at < armed:
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
        """Every replica here, by name."""
        return self.admin.entries()

    def status(self, name: str) -> PeerStatus | None:
        """The replica as it sees itself; None where there is none of that name."""
        peer = self.peers.get(name)
        if peer is not None:
            return peer.status()
        failed = self.failed.get(name)
        if failed is None:
            return None
        return PeerStatus(PeerId(name, self.node), "failed", backend=failed.meta.backend, fault=failed.fault)
