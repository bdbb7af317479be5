"""One simulated node: a production `Host` between simulated sockets, clock and disk.

Frames that arrive in one millisecond may share a turn, as the sockets of one pass of an event loop do. Every step of
the core, every message that leaves and every end of a life is shown to the checks. A host whose store failed stops,
as the process would; it may be started again on the same disk.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from zraft.core.events import Event
from zraft.core.output import Output
from zraft.core.raft import Raft
from zraft.core.text import message_text
from zraft.errors import StorageError
from zraft.machine.registry import Backends
from zraft.peer.duties import Duties
from zraft.peer.host import Host, HostSettings
from zraft.peer.peer import APPLY_ENTRIES
from zraft.peer.vault import VaultDone
from zraft.session.machine import ReplicatedMachine
from zraft.sim.chance import Chance
from zraft.sim.checks.ghost import Violation
from zraft.sim.checks.suite import Checks
from zraft.sim.disk import SECTOR, SimDisk, vouched_ends
from zraft.sim.network import Network
from zraft.sim.scheduler import Clock, Owner, Scheduler
from zraft.sim.trace import Trace
from zraft.sim.vault import SimVault
from zraft.sim.versions import Kinds
from zraft.storage.disk import Completion
from zraft.types import Member, Millis
from zraft.wire.frames import array_of
from zraft.wire.peering import NO_GROUP, Item, NodeBeat, decode_messages, encode_message
from zraft.wire.requests import decode_requests, encode_item
from zraft.wire.states import Beside

_ROTTABLE_BYTES = 2048
"""Files with less in them are left alone."""

_IMAGES_AT_MOST = 40
"""Images of one node that are opened in a run: each costs as much as a start."""

WALL_MS = 1_700_000_000_000
"""What wall clocks show when a run begins."""


class World(msgspec.Struct, frozen=True):
    """What the nodes of one cluster share."""

    scheduler: Scheduler
    network: Network
    checks: dict[str, Checks]
    """Of each group, by the name of its replicas."""
    trace: Trace
    settings: HostSettings
    image_rate: int
    """Per million turns: how often the disk's durable image is opened and checked."""
    vaults: dict[str, SimVault]
    backends: Backends
    look: Callable[[Member, ReplicatedMachine], None] | None = None
    """Sees every machine after each turn of its node, where it is between two batches."""


class NodeTally(msgspec.Struct):
    """What happened to the node."""

    starts: int = 0
    crashes: int = 0
    power_losses: int = 0
    store_failures: int = 0
    refused_starts: int = 0
    images: int = 0
    wipes: int = 0
    not_known: int = 0
    """Messages that its version does not know."""


class SimNode:
    """`host` is None while the node is down."""

    def __init__(self, name: str, world: World, chance: Chance, clock: Clock) -> None:
        self.name, self._world, self._chance = name, world, chance
        self.owner = Owner(name, clock)
        self.disk = SimDisk(world.scheduler, chance.split("disk"), self.owner)
        self.disk.done = self._completed
        self.vault = SimVault(world.scheduler, world.network, chance.split("vault"), self.owner, world.vaults)
        self.vault.done = self._vault_done
        self.host: Host | None = None
        self.tally = NodeTally()
        self.apply_ms: Millis = 0
        """What an entry takes to be applied, where more are at hand; 0: a slice of thousands takes 1."""
        self.wall_off_ms: Millis = 0
        """How wrong its wall clock is."""
        self.fault = ""
        """Why it could not start when it was last tried."""
        self._watched: dict[str, Member] = {}
        self._turn_due = self._apply_due = False
        self._armed_ms: Millis = 0
        self.is_rotten = False
        """Bits of its disk were flipped: it may refuse to run, and then gets an empty disk."""
        self.is_spoiled = False
        """Its disk lost something, and it has not got that back: it must, once it is started anew (`atlas`)."""
        self._is_mending = False
        self._spoiled_in = 0
        """The life in which its journal was spoiled last."""
        self.lacks: Kinds = ()
        """Messages that its version does not know: it neither sends nor takes them."""
        self.on_change: Callable[[SimNode], None] = _ignore
        self.on_wipe: Callable[[SimNode], None] = _ignore
        self.on_turn: Callable[[SimNode], None] = _ignore
        world.network.attach(self.owner)

    @property
    def is_up(self) -> bool:
        return self.host is not None

    def now(self) -> Millis:
        """What its clock shows."""
        return self.owner.clock.reading(self._world.scheduler.now_ms)

    # -- lives

    def start(self) -> bool:
        """Open what the disk has and run it. False where that fails; it may be tried again."""
        world = self._world
        self.tally.starts += 1
        self._turn_due, self._apply_due, self._armed_ms = False, False, 0
        seed, errors = self._chance.bits(), self.disk.tally.errors
        try:
            host = Host(
                self.name, self.disk, world.backends, world.settings, seed=seed, now=self.now(), vault=self.vault
            )
        except (StorageError, OSError) as error:
            self.tally.refused_starts += 1
            self.fault = str(error)
            world.trace.note(self.name, f"cannot start: {error}")
            self.disk.crash(power_loss=False)
            self.vault.crash(power_loss=False)
            if self.disk.tally.errors > errors:
                return False  # no room, or nothing could be read: that passes, and says nothing about what is there
            if self.is_spoiled:
                raise Violation("recovery", f"{self.name} cannot start: {error}") from error
            if self.is_rotten:
                self.wipe()
            return False
        self.fault = ""
        self.host = host
        self._is_mending = self.is_spoiled
        self._watched.clear()
        world.trace.note(self.name, "starts")
        self._watch(host)
        self._want_turn()
        self.on_change(self)
        return True

    def crash(self, *, power_loss: bool) -> None:
        """The process is gone; with `power_loss` also what the disk had not synced."""
        if self.host is None:
            return
        world = self._world
        self.tally.crashes += 1
        self.tally.power_losses += power_loss
        world.trace.note(self.name, "loses power" if power_loss else "is killed")
        self.host = None
        self.owner.end_life()
        self.disk.crash(power_loss=power_loss)
        self.vault.crash(power_loss=power_loss)
        for member in self._watched.values():
            world.checks[member.peer.name].stopped(member)
        self._watched.clear()
        self.on_change(self)

    def stop_replica(self, name: str) -> None:
        """One replica is told to stop, while its node goes on."""
        if self.host is not None and self.host.running(name) is not None:
            self._world.trace.note(self.name, f"stops {name}")
            self.host.stop_peer(name)
            self._world.checks[name].stopped(self._watched.pop(name))
            self._want_turn()

    def start_replicas(self) -> bool:
        """Those that were told to stop run again. False: not all of them yet, their saves are under way."""
        host = self.host
        if host is None or not host.stopped:
            return True
        for name in list(host.stopped):
            if host.start_peer(name, self.now()):
                self._world.trace.note(self.name, f"starts {name} again")
        self._watch(host)
        self._want_turn()
        return not host.stopped

    def lose_power_while_down(self) -> None:
        """A node that was killed before loses what its page cache held."""
        if self.host is None:
            self._world.trace.note(self.name, "loses power while down")
            self.disk.crash(power_loss=True)
            self.vault.crash(power_loss=True)

    def wipe(self) -> None:
        """Its data is gone for good; what starts there next is somebody else (BM-043)."""
        self.crash(power_loss=False)
        self._world.trace.note(self.name, "gets an empty disk")
        self.tally.wipes += 1
        self.is_rotten = self.is_spoiled = self._is_mending = False
        self.disk.wipe()
        self.vault.wipe()
        self.on_wipe(self)

    def rot(self) -> None:
        """A few bits flip in what lies well before the end of a file: a last record that rots looks like a torn one."""
        chance = self._chance
        for name in self.disk.names():
            used = len(self.disk.content(name).rstrip(b"\0"))
            if used >= _ROTTABLE_BYTES and chance.below(2):
                offset = chance.below(used // 2)
                self._world.trace.note(self.name, f"a bit flips in {name} at {offset}")
                self.disk.flip(name, offset, chance.below(8))
                self.is_rotten = True
        if chance.below(4) == 0 and (where := self.vault.flip(chance.below(1 << 20), chance.below(8))):
            self._world.trace.note(self.name, f"a bit flips in {where}")
            self.is_rotten = True

    def decay(self) -> None:
        """A sector of the journal, or a bit of it or of a snapshot, is not what it was.

        One of the journal in each life, and only of what something else says was durable: any other looks like a torn
        write. Never of the state files: both of them would be the end.
        """
        chance = self._chance
        ends = {name: end - SECTOR for name, end in vouched_ends(self.disk).items() if end > SECTOR}
        if ends and self._spoiled_in < self.tally.starts and chance.below(4):
            self._spoiled_in = self.tally.starts
            name = chance.choice(list(ends))
            where = self.disk.spoil(name, chance.below(ends[name]), chance.below(ends[name]), chance.below(4))
        else:
            where = self.vault.flip(chance.below(1 << 20), chance.below(8))
        if where:
            self._world.trace.note(self.name, f"spoiled: {where}")
            self.is_rotten = self.is_spoiled = True
            self._is_mending = False

    def _look_whole(self, host: Host) -> None:
        """What was lost is there again: nothing more has to be forgiven."""
        if not host.failed and not any(peer.raft.abstains_below for peer in host.peers.values()):
            self._world.trace.note(self.name, "has everything again")
            self.is_rotten = self.is_spoiled = self._is_mending = False

    def _watch(self, host: Host) -> None:
        """New replicas are shown to the checks, failed ones are a violation unless the store failed."""
        for name, member in list(self._watched.items()):
            peer = host.peers.get(name)
            if peer is None or peer.raft.me != member:
                del self._watched[name]
                checks = self._world.checks[name]
                (checks.stopped if name in host.failed or name in host.stopped else checks.departed)(member)
        for name, peer in host.peers.items():
            if name not in self._watched:
                self._watched[name] = peer.raft.me
                self._world.checks[name].started(peer.raft.replica)
                peer.watch = self._stepped
        if host.failed and host.fatal is None and not self.is_rotten and not self.disk.faults.read_error:
            name, failed = next(iter(host.failed.items()))
            raise Violation("replica fault", f"{name}@{self.name}: {failed.fault}")

    def _stepped(self, raft: Raft, event: Event, output: Output) -> None:
        self._world.checks[raft.me.peer.name].stepped(raft.replica, event, output)
        index = raft.snapshot.index
        if (output.compact_to or output.reset_to) and not self.vault.is_durable(raft.me.incarnation, index):
            raise Violation("durability D2", f"{raft.me} forgets its log up to {index}, no snapshot there is durable")

    # -- what arrives

    def receive(self, source: str, frame: bytes, *, is_peer: bool) -> None:
        """A frame of another node or of a client arrived; nobody is there while the node is down."""
        host = self.host
        if host is None:
            return
        now = self.now()
        trace = self._world.trace
        if is_peer:
            for group, message in decode_messages(frame, sender_node=source, own_node=self.name):
                if type(message) in self.lacks:
                    self.tally.not_known += 1
                    continue
                if trace.keep:
                    trace.line(self.name, f"<- {source} {_item_text(message)}")
                host.receive(now, group, message)
        else:
            for request in decode_requests(frame):
                host.request(now, source, request)
        self._want_turn()

    def _completed(self, completion: Completion) -> None:
        host = self.host
        if host is not None:
            host.completed(self.now(), completion)
            self._want_turn()

    def _vault_done(self, done: VaultDone) -> None:
        host = self.host
        if host is not None:
            host.vault_done(self.now(), done)
            self._want_turn()

    def node_lost(self, other: str) -> None:
        """The connection to `other` broke."""
        if self.host is not None:
            self.host.node_lost(self.now(), other)
            self._want_turn()

    def node_back(self, other: str) -> None:
        """A connection to `other` is up again."""
        if self.host is not None:
            self.host.node_back(self.now(), other)
            self._want_turn()

    # -- turns

    def _want_turn(self) -> None:
        if not self._turn_due:
            self._turn_due = True
            self._world.scheduler.at(0, self._turn, owner=self.owner)

    def _turn(self, _: object) -> None:
        host = self.host
        if host is None:
            return
        self._turn_due = False
        world = self._world
        host.apply_entries = APPLY_ENTRIES if not self.apply_ms else int(not self._apply_due)
        duties = host.turn(self.now(), WALL_MS + self.wall_off_ms + world.scheduler.now_ms)
        self._watch(host)
        self._check_states(host)
        if self._is_mending:
            self._look_whole(host)
        self.on_turn(self)
        self._carry_out(duties)
        if host.failed and host.fatal is None:
            self._stop_failed()
            return
        is_due = self.tally.images < _IMAGES_AT_MOST and self._chance.happens(world.image_rate)
        if is_due and not self.is_rotten:
            self._check_image()
        if duties.fatal is not None:
            self.tally.store_failures += 1
            world.trace.note(self.name, f"stops: {duties.fatal}")
            self.crash(power_loss=False)
        elif duties.has_more and not self.apply_ms:
            self._turn_due = True
            world.scheduler.after(1, self._turn, owner=self.owner)
        elif duties.has_more and not self._apply_due:
            self._apply_due = True
            world.scheduler.after(self.apply_ms, self._apply_on, owner=self.owner)

    def _apply_on(self, _: object) -> None:
        self._apply_due = False
        self._want_turn()

    def _check_states(self, host: Host) -> None:
        """Every machine holds what the committed log gives, however it came there (I5, BM-051)."""
        for peer in host.peers.values():
            machine = peer.machine
            if machine.is_between_batches:
                if self._world.look is not None:
                    self._world.look(peer.raft.me, machine)
                self._world.checks[peer.meta.name].applied(peer.raft.me, machine.last_applied, machine.backend.digest())

    def _stop_failed(self) -> None:
        """A replica is down, as it must be where its data cannot be read: an operator looks after it."""
        if self._is_mending:
            name, failed = next(iter(self.host.failed.items())) if self.host is not None else ("", None)
            raise Violation("recovery", f"{name}@{self.name}: {failed.fault if failed is not None else ''}")
        if self.is_rotten and not self.is_spoiled:
            self.wipe()
        else:
            self.crash(power_loss=False)

    def _carry_out(self, duties: Duties) -> None:
        world = self._world
        frames: dict[str, list[bytes]] = {}
        for group, message in duties.messages:
            if type(message) in self.lacks:
                continue
            if not isinstance(message, Beside):
                world.checks[message.sender.peer.name].sent(message)
            frames.setdefault(message.to.peer.node, []).append(encode_message(group, message))
        for beat in duties.node_beats if NodeBeat not in self.lacks else ():
            frames.setdefault(beat.to, []).append(encode_message(NO_GROUP, beat))
        for client, reply in duties.replies:
            frames.setdefault(client, []).append(encode_item(reply))
        for destination, items in frames.items():
            world.network.send(self.name, destination, array_of(items))
        for note in duties.notes:
            world.trace.note(self.name, note.text)
        if duties.wake_at_ms is not None:
            self._arm(duties.wake_at_ms)

    def _arm(self, wake_at_ms: Millis) -> None:
        true_ms = self.owner.clock.when(wake_at_ms)
        if not self._armed_ms or true_ms < self._armed_ms:
            self._armed_ms = true_ms
            self._world.scheduler.at(true_ms, self._wake, true_ms, owner=self.owner)

    def _wake(self, armed_ms: Millis) -> None:
        if armed_ms == self._armed_ms:
            self._armed_ms = 0
            self._want_turn()

    # -- what a power loss would leave

    def _check_image(self) -> None:
        """Opens what is durable at this moment, as a start after a power loss would, and compares it with the ghost."""
        self.tally.images += 1
        world = self._world
        chance = self._chance.split(f"image {self.tally.images}")
        disk = self.disk.durable_image(chance, Owner(self.name))
        vault = self.vault.durable_image(Owner(self.name))
        try:
            host = Host(self.name, disk, world.backends, world.settings, seed=0, now=self.now(), vault=vault)
        except StorageError as error:
            raise Violation("durability D2", f"{self.name} could not start after a power loss: {error}") from error
        for name, member in self._watched.items():
            peer = host.peers.get(name)
            if peer is None or peer.raft.me != member:
                raise Violation("durability D1", f"{member} would be gone after a power loss")
            world.checks[name].imaged(peer.raft.replica)


def _item_text(item: Item) -> str:
    return str(item) if isinstance(item, Beside) else message_text(item).partition(" ")[2]


def _ignore(_: SimNode) -> None:
    """Nobody wants to know."""
