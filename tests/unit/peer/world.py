"""A few hosts over disks in memory, wired together, with a clock that moves only when told.

Nothing happens by itself: `turn` ends a host's turn, `sync` performs its disk jobs, `deliver` carries messages,
`settle` does all of it until nothing is left to do, and `advance` lets time pass. Every answer is kept with its asker,
who complains about a second one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from tests.unit.peer.vaults import FakeVault
from tests.unit.storage.fake_disk import FakeDisk
from zraft.core.messages import Message
from zraft.core.recovered import RaftSettings
from zraft.errors import CreateError, RequestError
from zraft.machine.backend import Backend
from zraft.machine.registry import Backends
from zraft.peer.duties import Duties, Note, Recorded
from zraft.peer.growth import SnapshotSettings
from zraft.peer.host import Host, HostSettings
from zraft.peer.peer import Peer
from zraft.storage.store import StoreSettings
from zraft.types import GroupId, Member, PeerId
from zraft.wire.failures import Failed, failed_to_error
from zraft.wire.frames import array_of
from zraft.wire.peering import NO_GROUP, Item, NodeBeat, decode_messages, encode_message
from zraft.wire.requests import Bootstrap, Query, Reply, Request, Result, Started, StartPeer, Write
from zraft.wire.states import Beside, State
from zraft.wire.values import decode_value, encode_value

GROUP = GroupId(b"group of a test!")
ELECTION_MS = 500
NAMES = ("n1:1", "n2:1", "n3:1")
ALONE = ("n1:1",)


def raft_settings(**changes: Any) -> RaftSettings:
    """Those of a node, with `changes`."""
    return RaftSettings(**{"election_timeout_ms": ELECTION_MS, "heartbeat_ms": 100, **changes})


def host_settings(**changes: Any) -> HostSettings:
    """Settings of a host; arguments of the protocol's go there."""
    names = ("max_command_bytes", "max_result_bytes", "snapshots", "history", "alarm_entries")
    own = {name: changes.pop(name) for name in names if name in changes}
    store = StoreSettings(segment_bytes=changes.pop("segment_bytes", 1 << 16))
    return HostSettings(raft=raft_settings(**changes), store=store, **own)


def snapshots_every(count: int, *, trailing: int = 0, **changes: Any) -> HostSettings:
    """Settings of a host whose replicas take a snapshot every `count` entries."""
    names = SnapshotSettings.__struct_fields__
    own = {name: changes.pop(name) for name in names if name in changes}
    settings = SnapshotSettings(max_log_count=count, trailing_log_count=trailing, **own)
    return host_settings(snapshots=settings, **changes)


class Asker:
    """A client: its questions by number, and exactly one answer to each."""

    def __init__(self, name: str = "client") -> None:
        self.name = name
        self.last = 0
        self.replies: dict[int, Reply] = {}

    def next(self) -> int:
        self.last += 1
        return self.last

    def take(self, reply: Reply) -> None:
        assert 0 < reply.id <= self.last, f"{self.name} never asked {reply}"
        assert reply.id not in self.replies, f"{self.name} is answered twice: {self.replies[reply.id]}, {reply}"
        self.replies[reply.id] = reply

    def reply(self, number: int) -> Reply:
        assert number in self.replies, f"{self.name} waits for {number}; answered are {self.replies}"
        return self.replies[number]

    def result(self, number: int) -> Any:
        """The value of a Result; raises the error of a Failed."""
        reply = self.reply(number)
        if isinstance(reply, Failed):
            raise failed_to_error(reply)
        assert isinstance(reply, Result), reply
        return decode_value(reply.value)

    def error(self, number: int) -> RequestError | CreateError:
        """The error of a Failed."""
        reply = self.reply(number)
        assert isinstance(reply, Failed), reply
        return failed_to_error(reply)

    def executed(self, number: int) -> str:
        error = self.error(number)
        assert isinstance(error, RequestError)
        return error.executed


class Node:
    """One host, its disk, and what its turns brought. `host` is None while it is down."""

    def __init__(self, name: str, world: World) -> None:
        self.name, self.world = name, world
        self.disk = FakeDisk()
        self.vault = FakeVault(name, world.vaults)
        self.host: Host | None = None
        self.is_stalled = False
        """Disk jobs are not performed."""
        self.is_vault_stalled = False
        """Nor are jobs of the vault."""
        self.lives = 0
        self.notes: list[Note] = []
        self.recordings: list[Recorded] = []
        self.duties = Duties()
        """Of the last turn."""
        self.altered: list[str] = []

    @property
    def it(self) -> Host:
        assert self.host is not None, f"{self.name} is down"
        return self.host

    @property
    def has_jobs(self) -> bool:
        return bool((self.disk.jobs and not self.is_stalled) or (self.vault.jobs and not self.is_vault_stalled))

    def peer(self, name: str = "p") -> Peer:
        return self.it.peers[name]

    def start(self) -> None:
        """Open what the disk has."""
        self.lives += 1
        world = self.world
        seed = 1000 * self.lives + sum(self.name.encode())
        self.host = Host(
            self.name, self.disk, world.backends, world.settings, seed=seed, now=world.now, vault=self.vault
        )

    def crash(self, mode: str = "lose") -> None:
        """The process and what was not synced are gone ("lose"), or only the process ("killed")."""
        self.disk = self.disk.after_crash(mode)
        self.vault = self.vault.after_crash()
        self.host = None
        self.is_stalled = self.is_vault_stalled = False

    def sync(self, jobs: int = 1 << 30) -> int:
        """Performs so many disk jobs; how many there were."""
        done = 0
        while self.host is not None and self.disk.jobs and done < jobs:
            self.host.completed(self.world.now, self.disk.run())
            done += 1
        return done

    def sync_vault(self, jobs: int = 1 << 30) -> int:
        """Performs so many jobs of the vault; how many there were."""
        done = 0
        while self.host is not None and self.vault.jobs and done < jobs:
            self.host.vault_done(self.world.now, self.vault.run())
            done += 1
        return done

    def turn(self) -> Duties:
        """Ends the turn; messages go on the wire, answers to their askers."""
        world = self.world
        self.duties = duties = self.it.turn(world.now, 1_700_000_000_000 + world.now + world.wall_jump)
        for group, message in duties.messages:
            world.wire.append((self.name, group, message))
            if isinstance(message, Beside):
                world.states.append(message)
            else:
                world.sent.append(message)
        for beat in duties.node_beats:
            world.wire.append((self.name, NO_GROUP, beat))
            world.beats.append(beat)
        for client, reply in duties.replies:
            client.take(reply)
        self.notes += duties.notes
        self.recordings += duties.recordings
        self.altered += duties.altered
        return duties


class World:
    """See the top of this file."""

    def __init__(
        self,
        names: tuple[str, ...] = NAMES,
        settings: HostSettings | None = None,
        backends: Mapping[str, type[Backend]] | None = None,
    ) -> None:
        self.now = 10_000
        self.wall_jump = 0
        """What wall clocks show besides."""
        self.settings = settings or host_settings()
        self.backends = Backends(backends)
        self.wire: deque[tuple[str, GroupId, Item]] = deque()
        self.drops: Callable[[str, Message], bool] = lambda source, message: False
        """What the network loses."""
        self.sent: list[Message] = []
        self.states: list[State] = []
        """What replicas said about states."""
        self.loses_states = False
        self.beats: list[NodeBeat] = []
        self.lost: list[Message] = []
        self.apart: tuple[str, ...] = ()
        """Nodes that no beat reaches or leaves."""
        self.cut_beats: set[tuple[str, str]] = set()
        """Sender and receiver of beats that get lost."""
        self.asker = Asker()
        self.vaults: dict[str, FakeVault] = {}
        self.nodes = {name: Node(name, self) for name in names}
        for node in self.nodes.values():
            node.start()

    def __getitem__(self, name: str) -> Node:
        return self.nodes[name]

    # -- time and progress

    def deliver(self) -> int:
        """Carries what is on the wire; how much that was."""
        carried = len(self.wire)
        for _ in range(carried):
            source, group, message = self.wire.popleft()
            node = self.nodes.get(destination(message))
            if isinstance(message, NodeBeat):
                if source in self.apart or message.to in self.apart or (source, message.to) in self.cut_beats:
                    continue
            elif isinstance(message, Beside):
                if self.loses_states or source in self.apart or message.to.peer.node in self.apart:
                    continue
            elif self.drops(source, message) or node is None or node.host is None:
                self.lost.append(message)
                continue
            if node is None or node.host is None:
                continue
            payload = array_of([encode_message(group, message)])
            for found, decoded in decode_messages(payload, sender_node=source, own_node=node.name):
                node.host.receive(self.now, found, decoded)
        return carried

    def settle(self) -> None:
        """Until nothing is left to do at this moment. Bounded, so that a busy loop is a failure."""
        for _ in range(2000):
            busy = self.deliver()
            for node in self.nodes.values():
                if node.host is None:
                    continue
                if not node.is_stalled:
                    busy += node.sync()
                if not node.is_vault_stalled:
                    busy += node.sync_vault()
                busy += node.turn().has_more
            if not busy and not self.wire and not any(node.has_jobs for node in self.up()):
                return
        raise AssertionError("busy for ever")

    def up(self) -> list[Node]:
        return [node for node in self.nodes.values() if node.host is not None]

    def advance(self, milliseconds: int) -> None:
        """Lets time pass, from deadline to deadline."""
        end = self.now + milliseconds
        self.settle()
        while self.now < end:
            wakes = [node.duties.wake_at_ms for node in self.up()]
            self.now = min([end, *(max(wake, self.now + 1) for wake in wakes if wake is not None)])
            self.settle()

    def until(self, condition: Callable[[], bool], milliseconds: int = 20_000) -> None:
        """Lets time pass until the condition holds."""
        end = self.now + milliseconds
        self.settle()
        while not condition():
            assert self.now < end, "it does not come true"
            self.advance(10)

    def cut(self, *names: str) -> None:
        """Nothing gets to these nodes or from them."""
        self.drops = lambda source, message: source in names or message.to.peer.node in names
        self.apart = names

    def heal(self) -> None:
        """The network carries everything again."""
        self.drops = lambda source, message: False
        self.apart = ()
        self.cut_beats.clear()

    # -- requests

    def ask(self, node: str, make: Callable[[int], Request], asker: Asker | None = None) -> int:
        """Leaves a request with a node; its number."""
        who = asker or self.asker
        number = who.next()
        self.nodes[node].it.request(self.now, who, make(number))
        return number

    def write(self, node: str, command: Any, *, peer: str = "p", asker: Asker | None = None) -> int:
        return self.ask(node, lambda number: Write(number, peer, msgspec.Raw(encode_value(command))), asker)

    def query(self, node: str, query: Any, *, peer: str = "p", asker: Asker | None = None) -> int:
        return self.ask(node, lambda number: Query(number, peer, msgspec.Raw(encode_value(query))), asker)

    def query_local(self, node: str, query: Any, min_index: int = 0, *, asker: Asker | None = None) -> int:
        return self.ask(
            node, lambda number: Query(number, "p", msgspec.Raw(encode_value(query)), True, min_index), asker
        )

    # -- groups

    def start_peer(self, node: str, name: str = "p", backend: str = "dict", group: GroupId = GROUP) -> Member:
        """A blank replica, born durable."""
        number = self.ask(node, lambda number: StartPeer(number, name, group, backend))
        self.settle()
        reply = self.asker.reply(number)
        assert isinstance(reply, Started), reply
        return reply.member

    def found(self, name: str = "p", backend: str = "dict", group: GroupId = GROUP) -> str:
        """A group on all nodes, the first its leader."""
        members = [self.start_peer(node, name, backend, group) for node in self.nodes]
        first = next(iter(self.nodes))
        number = self.ask(first, lambda number: Bootstrap(number, name, members))
        self.settle()
        self.asker.result(number)
        self.until(lambda: self.leader(name) is not None)
        return self.lead(name)

    def leader(self, name: str = "p") -> str | None:
        """Who leads in the latest term and has committed all that it has; None: nobody has come so far."""
        leading = [node for node in self.up() if name in node.it.peers and node.peer(name).is_leader]
        newest = max(leading, key=lambda node: node.peer(name).raft.current_term, default=None)
        if newest is None or newest.peer(name).raft.commit_index < newest.peer(name).raft.log.last_index:
            return None
        return newest.name

    def lead(self, name: str = "p") -> str:
        leading = [node for node in self.up() if name in node.it.peers and node.peer(name).is_leader]
        assert leading, "nobody leads"
        return max(leading, key=lambda node: node.peer(name).raft.current_term).name

    def followers(self, name: str = "p") -> list[str]:
        return [node for node in self.nodes if node != self.lead(name)]


def destination(item: Item) -> str:
    """The node that it goes to."""
    return item.to if isinstance(item, NodeBeat) else item.to.peer.node


def peer_id(node: str, name: str = "p") -> PeerId:
    return PeerId(name, node)


def wrote(world: World, node: str, key: str, value: Any) -> Any:
    """Written and answered, at this moment."""
    number = world.write(node, (key, value))
    world.settle()
    return world.asker.result(number)


def read(world: World, node: str, key: str) -> Any:
    """Asked and answered, at this moment."""
    number = world.query(node, key)
    world.settle()
    return world.asker.result(number)
