"""What an operator asks of a host, in a few words each."""

from __future__ import annotations

from tests.unit.peer.world import GROUP, World, peer_id
from zraft.errors import (
    CreateError,
)
from zraft.types import GroupId, Member
from zraft.wire.requests import (
    Bootstrap,
    ChangeMembership,
    ListPeers,
    PeerEntry,
    Peers,
    RemovePeer,
    Started,
    StartPeer,
    Transfer,
)

OTHER = GroupId(b"another group!!!")


def start(world: World, name: str = "p", backend: str = "dict", group: GroupId = GROUP) -> int:
    return world.ask("n1:1", lambda number: StartPeer(number, name, group, backend))


def remove(world: World, name: str = "p", *, node: str = "n1:1", conf_index: int = 0, group: GroupId = GROUP) -> int:
    return world.ask(node, lambda number: RemovePeer(number, name, group, conf_index))


def bootstrap(world: World, members: list[Member], node: str = "n1:1", name: str = "p") -> int:
    return world.ask(node, lambda number: Bootstrap(number, name, members))


def change(world: World, node: str, members: list[Member], old: list[str]) -> int:
    peers = [peer_id(one) for one in old]
    return world.ask(node, lambda number: ChangeMembership(number, "p", members, peers))


def transfer(world: World, node: str, to: str) -> int:
    return world.ask(node, lambda number: Transfer(number, "p", peer_id(to)))


def entries(world: World, node: str = "n1:1") -> list[PeerEntry]:
    number = world.ask(node, ListPeers)
    world.settle()
    reply = world.asker.reply(number)
    assert isinstance(reply, Peers)
    return list(reply.peers)


def problem(world: World, number: int) -> str:
    error = world.asker.error(number)
    assert isinstance(error, CreateError)
    return next(iter(error.errors.values()))


def member_of(world: World, number: int) -> Member:
    reply = world.asker.reply(number)
    assert isinstance(reply, Started)
    return reply.member


def members_of(world: World, node: str) -> list[Member]:
    membership = world[node].peer().raft.membership
    assert membership is not None
    return list(membership.voters)
