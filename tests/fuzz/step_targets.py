"""Targets that are given many things in a row: a replica's core, a machine with its sessions, a node's host.

The bytes of an input are a seed, so that there is nothing in them to be changed: each input is another story.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import msgspec

from tests.fuzz.kit import Cost, Target
from tests.fuzz.shapes import MEMBERS, any_of, any_value
from tests.raftkit.cluster import Host as CoreHost
from tests.raftkit.cluster import led_cluster
from tests.unit.core.samples import EVENT_SAMPLES, MESSAGE_SAMPLES, A, B
from tests.unit.peer.world import GROUP, Asker, World, host_settings
from zraft.core import messages as m
from zraft.core.entries import Batch, Kind, Membership, SnapshotMark
from zraft.core.events import Received, TimePassed
from zraft.core.memberships import encode_membership
from zraft.errors import ProtocolError, ReplicaFault, RequestError
from zraft.machine.backend import Backend
from zraft.machine.dict_backend import DictBackend
from zraft.machine.table_backend import TableBackend
from zraft.session.items import encode_items, encode_session_items, end_item, open_item, resume_item, write_item
from zraft.session.machine import ReplicatedMachine
from zraft.types import PeerId
from zraft.wire.frames import array_of
from zraft.wire.peering import Item, check_message, decode_messages, encode_message
from zraft.wire.requests import Request, decode_requests, encode_item
from zraft.wire.values import check_command, encode_value

NUMBERS = (-1, 0, 1, 2, 3, 4, 5, 6, 50, 2**62, 2**63 - 1)
_STORIES = 64


def _seeds(chance: Random) -> list[bytes]:
    return [chance.randbytes(8) for _ in range(_STORIES)]


# -- the core


def _message(chance: Random, sample: m.Message) -> m.Message:
    """Of the same type, with any fields; the addressee is this replica, or an earlier or later life of it."""
    fields: dict[str, Any] = {name: _field(chance, name, getattr(sample, name)) for name in sample.__struct_fields__}
    return type(sample)(**fields)


def _field(chance: Random, name: str, like: object) -> Any:
    match like:
        case bool():
            return bool(chance.randrange(2))
        case int():
            return chance.choice(range(5)) if name == "term" and chance.randrange(8) else chance.choice(NUMBERS)
        case list():
            return [_batch(chance) for _ in range(chance.randrange(3))]
        case SnapshotMark():
            index, term, time, changed = (chance.choice(NUMBERS) for _ in range(4))
            return SnapshotMark(index, term, time, changed, chance.choice((None, Membership((B,)), Membership((A, B)))))
        case bytes():
            return b""
    if name == "to":
        return A if chance.randrange(8) else chance.choice(MEMBERS)
    return chance.choice((B, B, *MEMBERS))


def _batch(chance: Random) -> Batch:
    kind = chance.choice((*Kind, 99, -1))
    voters = chance.sample(MEMBERS, chance.randrange(3))
    payload = encode_membership(Membership(tuple(voters))) if chance.randrange(2) else chance.randbytes(3)
    first, count, term, time, wall = (chance.choice(NUMBERS) for _ in range(5))
    return Batch(first, count, term, time, wall, kind, payload)


def _core(is_guarded: bool) -> Callable[[bytes], None]:
    """`is_guarded`: only messages that the door lets through. They come from members, and from who is none.

    A replica goes on, its invariants hold after every step (`Cluster.step`), or it stops with a typed fault, and then
    nothing of the step was carried out and every later one raises the same.
    """

    def feed(data: bytes) -> None:
        chance = Random(data)
        cluster = led_cluster(chance.choice(("a b c", "b a c")))
        raft = cluster["a"]
        for _ in range(chance.randrange(1, 12)):
            match chance.randrange(6):
                case 0:
                    cluster.hosts["a"].now += chance.randrange(2000)
                    event: Any = TimePassed()
                case 1:
                    cluster.save("a")
                    continue
                case 2 if chance.randrange(3) == 0:
                    event = chance.choice(_USUAL)
                case _:
                    message = chance.choice(MESSAGE_SAMPLES)
                    message = _message(chance, message) if chance.randrange(4) else message
                    if is_guarded and not _passes(message):
                        continue
                    event = Received(message)
            sent = len(cluster.network)
            cluster.step("a", event, type(event).__name__)
            if cluster.hosts["a"].fault is not None:
                assert len(cluster.network) == sent, "a step that failed has sent something"
                _stays_stopped(raft, cluster.hosts["a"])
                return
            assert raft.commit_index <= raft.log.last_index

    return feed


def _stays_stopped(raft: Any, host: CoreHost) -> None:
    try:
        raft.step(host.now, TimePassed())
    except ReplicaFault as again:
        said = str(again)
    else:
        said = "nothing"
    assert said == host.fault, "a replica that stopped goes on"


def _passes(message: m.Message) -> bool:
    try:
        check_message(message)
    except ProtocolError:
        return False
    return True


_USUAL = tuple(event for event in EVENT_SAMPLES if type(event).__name__ in
               {"Propose", "ProposeTime", "Read", "ChangeMembership", "TransferLeadership", "NodeLost", "NodeBack",
                "NodeSilent", "NodeRestarted", "Rouse"})  # fmt: skip


# -- machines


def _machine(backend: type[Backend]) -> Callable[[bytes], None]:
    """Commands that passed the door, and items of sessions: two replicas do the same, and what is refused does nothing.

    A snapshot between two batches changes nothing either. A batch of a form that nobody makes stops the replica.
    """

    def feed(data: bytes) -> None:
        chance = Random(data)
        one, other = (ReplicatedMachine(backend(PeerId("a", "a:1"))) for _ in range(2))
        for term in range(1, 6):
            commands = [_command(chance, backend) for _ in range(chance.randrange(1, 6))]
            commands = [command for command in commands if _is_let_in(command)]
            if not commands:
                continue
            is_light = bool(chance.randrange(2))
            if not is_light:
                payload = encode_session_items([_item(chance, command) for command in commands])
            else:
                payload = encode_items(commands)
            batch = Batch(one.last_applied + 1, len(commands), term, 10 * term, 0, Kind.COMMANDS, payload)
            for offset in range(batch.count):
                before = one.digest()
                [outcome] = one.apply_batch(batch, offset, 1)
                if is_light and isinstance(outcome, RequestError) and outcome.executed != "yes":
                    assert one.digest() == before, f"{outcome}, and another state"
            other.apply_batch(batch, replies=False)
            assert one.digest() == other.digest()
            _ask(chance, one, backend)

    return feed


def _command(chance: Random, backend: type[Backend]) -> bytes:
    """Of the right form, roughly of it, or anything."""
    if chance.randrange(6) == 0:
        return chance.randbytes(chance.randrange(1, 9))
    value = any_value(chance)
    if chance.randrange(4):
        value = [any_value(chance) for _ in range(chance.randrange(4))]
        if backend is TableBackend and chance.randrange(4):
            name = chance.choice(("put", "delete", "cas", "increment", "txn", "delete_range", "get"))
            value = [name, *value]
            if chance.randrange(2):
                return msgspec.msgpack.encode(any_of(backend.Command, chance))
    return encode_value(value)


def _is_let_in(command: bytes) -> bool:
    try:
        check_command(command)
    except RequestError:
        return False
    except ProtocolError:
        return False
    return True


def _item(chance: Random, command: bytes) -> bytes:
    session = chance.randrange(1, 6)
    match chance.randrange(8):
        case 0 | 1:
            return open_item(chance.choice((b"d", b"e")) * 16, 5000)
        case 2:
            return resume_item(b"d" * 16, chance.randrange(1, 4))
        case 3:
            return end_item(session, "stopped")
        case _:
            sequence = chance.randrange(1, 5)
            return write_item(
                command, session, sequence, chance.randrange(sequence), temporary=bool(chance.randrange(2))
            )


def _ask(chance: Random, machine: ReplicatedMachine, backend: type[Backend]) -> None:
    before = machine.digest()
    for _ in range(3):
        query = _command(chance, backend)
        try:
            machine.answer(query, watch=bool(chance.randrange(2)))
        except RequestError:
            pass
    assert machine.digest() == before, "a query has changed something"


# -- a node


def _host(what: str) -> Callable[[bytes], None]:
    """A node with a group of three, and two others: it goes on, whatever clients ask and nodes say.

    Every request is answered at most once, and a replica that stops says why.
    """

    def feed(data: bytes) -> None:
        chance = Random(data)
        world = World(settings=host_settings(max_result_bytes=1 << 16))
        world.found()
        node = world["n1:1"]
        asker = Anybody()
        for _ in range(chance.randrange(1, 12)):
            if what == "requests":
                request = _request(chance)
                if request is not None:
                    node.it.request(world.now, asker, request)
            else:
                for group, item in _messages(chance, world):
                    node.it.receive(world.now, group, item)
            if chance.randrange(3) == 0:
                world.settle()
                world.advance(chance.choice((1, 100, 600)))
        world.settle()
        assert node.it.fatal is None
        assert all(peer.fault is not None for peer in node.it.failed.values())

    return feed


class Anybody(Asker):
    """Takes what it is told; two requests of it may have one number."""

    def take(self, reply: Any) -> None:
        self.replies[reply.id] = reply


def _request(chance: Random) -> Request | None:
    request = any_of(Request, chance)
    if "peer" in request.__struct_fields__ and chance.randrange(8):
        request = msgspec.structs.replace(request, peer="p")
    if "name" in request.__struct_fields__ and chance.randrange(4) == 0:
        request = msgspec.structs.replace(request, name="p")
    if "token" in request.__struct_fields__ and chance.randrange(4):
        request = msgspec.structs.replace(request, token=b"t" * 16)
    if "group" in request.__struct_fields__ and chance.randrange(2):
        request = msgspec.structs.replace(request, group=GROUP)
    try:
        return decode_requests(array_of([encode_item(request)]))[0]
    except ProtocolError:
        return None


def _messages(chance: Random, world: World) -> list[tuple[Any, Item]]:
    """What another node may send: its members', or those of a life that is over, to a member here or to none."""
    ours, theirs = (world[name].peer().raft.me if "p" in world[name].it.peers else A for name in ("n1:1", "n2:1"))
    others = [msgspec.structs.replace(theirs, incarnation=7)]
    message = _message(chance, chance.choice(MESSAGE_SAMPLES))
    sender = theirs if chance.randrange(8) else others[0]
    term = world["n1:1"].peer().raft.current_term if "p" in world["n1:1"].it.peers else 1
    to = ours if chance.randrange(16) else msgspec.structs.replace(ours, incarnation=9)
    message = msgspec.structs.replace(message, sender=sender, to=to)
    if getattr(message, "time", 0) > 2**62:  # a leader that believes it says later times, which others refuse for ever
        message = msgspec.structs.replace(message, time=50)
    if chance.randrange(4):
        message = msgspec.structs.replace(message, term=max(0, term + chance.randrange(-1, 2)))
    group = GROUP if chance.randrange(16) else type(GROUP)(b"another group!!!")
    try:
        return decode_messages(array_of([encode_message(group, message)]), sender_node="n2:1", own_node="n1:1")
    except ProtocolError:
        return []


STEP_TARGETS = tuple(
    Target(name, feed, (), _seeds, cost=cost, peak_bytes=8 << 20)
    for name, feed, cost in (
        ("core.step", _core(is_guarded=False), Cost.STEPS),
        ("core.step behind the door", _core(is_guarded=True), Cost.STEPS),
        ("machine.dict", _machine(DictBackend), Cost.STEPS),
        ("machine.table", _machine(TableBackend), Cost.STEPS),
        ("host.requests", _host("requests"), Cost.NODES),
        ("host.messages", _host("messages"), Cost.NODES),
    )
)
