"""Requests that are about replicas rather than about their state: at the door of a host.

Nothing here imports code or runs a backend that the node was not given. Replicas are born durable before anybody hears
their incarnation, and are deleted only while no configuration that they know names them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from zraft.core.entries import Membership
from zraft.core.events import Bootstrap as BootstrapEvent
from zraft.core.events import ChangeMembership as ChangeEvent
from zraft.core.events import TransferLeadership
from zraft.core.recovered import Recovered
from zraft.errors import (
    MembershipError,
    NotLeader,
    NotStable,
    PeersChanged,
    RequestError,
    TooLarge,
    UsageError,
)
from zraft.peer.duties import Client
from zraft.peer.peer import Peer
from zraft.storage.replica import RecoveredReplica, ReplicaMeta
from zraft.types import Member, Millis, PeerId
from zraft.wire.failures import error_to_failed
from zraft.wire.requests import (
    Bootstrap,
    ChangeMembership,
    GetConf,
    ListPeers,
    PeerEntry,
    Peers,
    Query,
    RemovePeer,
    Reply,
    Request,
    Result,
    Started,
    StartPeer,
    Stat,
    Status,
    Transfer,
    Write,
)
from zraft.wire.values import check_command

if TYPE_CHECKING:
    from zraft.peer.host import Host


BORN: Final = 0
"""The number of the save with which a replica's data is born; the core counts its own from 1."""

GONE: Final = -1
"""The number of the save that forgets a replica."""


class Admin:
    """Answers what the host itself is asked, and hands the rest to the replica concerned."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._births: dict[str, tuple[ReplicaMeta, list[tuple[Client, int]]]] = {}
        """Replicas that are being made durable, and who waits for them."""
        self._removals: dict[str, list[tuple[Client, int]]] = {}
        """Replicas whose removal is being made durable, and who waits for it."""

    def admit_write(self, client: Client, peer: Peer, request: Write) -> bool:
        """True where the write waits for the end of the turn now; otherwise it was answered."""
        size = memoryview(request.command).nbytes
        if not peer.is_leader:
            self._fail(client, request.id, self._not_leader(peer))
        elif size > self._host.settings.max_command_bytes:
            text = f"a command of {size} bytes; max_command_size is {self._host.settings.max_command_bytes}"
            self._fail(client, request.id, TooLarge(text))
        else:
            try:
                check_command(request.command)
            except RequestError as error:
                self._fail(client, request.id, error)
            except UsageError as error:
                self._fail(client, request.id, RequestError(str(error)))
            else:
                peer.desk.writes.append(((client, request.id), request.command))
                return True
        return False

    def handle(self, now: Millis, client: Client, request: Request) -> None:
        """Everything but writes."""
        match request:
            case ListPeers():
                self._reply(client, Peers(request.id, self.entries()))
            case Stat():
                status = self._host.status(request.peer)
                if status is None:
                    self._host.no_such_peer(client, request.id, request.peer)
                else:
                    self._reply(client, Status(request.id, status))
            case StartPeer():
                self._start_peer(client, request)
            case RemovePeer():
                self._remove(client, request)
            case Bootstrap():
                peer = self._host.peers.get(request.name)
                if peer is None:
                    self._host.no_such_peer(client, request.id, request.name)
                else:
                    self._bootstrap(now, client, peer, request)
            case Query() | GetConf() | ChangeMembership() | Transfer():
                peer = self._host.peers.get(request.peer)
                if peer is None:
                    self._host.no_such_peer(client, request.id, request.peer)
                else:
                    self._for_peer(now, client, peer, request)
            case Write():
                raise UsageError("writes have their own door")

    def _for_peer(
        self, now: Millis, client: Client, peer: Peer, request: Query | GetConf | ChangeMembership | Transfer
    ) -> None:
        self._host.touch(peer)
        if isinstance(request, Query) and request.local:
            peer.desk.wait_local((client, request.id), request)
        elif not peer.is_leader:
            self._fail(client, request.id, self._not_leader(peer))
        elif isinstance(request, Query | GetConf):
            peer.desk.queries.append(((client, request.id), request))
        elif isinstance(request, ChangeMembership):
            self._change(now, client, peer, request)
        else:
            self._transfer(now, client, peer, request)

    def _start_peer(self, client: Client, request: StartPeer) -> None:
        """Make an empty replica; asked again while it is blank, answer the same."""
        host, name = self._host, request.name
        meta = ReplicaMeta(name, request.group, 0, request.backend)
        if name in self._births:
            meta, waiting = self._births[name]
            if (meta.group, meta.backend) == (request.group, request.backend):
                waiting.append((client, request.id))
            else:
                host.refuse_create(client, request.id, name, "already_present")
        elif name in host.peers:
            peer = host.peers[name]
            same = (peer.meta.group, peer.meta.backend) == (request.group, request.backend)
            if same and is_blank(peer):
                self._reply(client, Started(request.id, peer.raft.me))
            else:
                host.refuse_create(client, request.id, name, "already_present")
        elif name in host.failed:
            host.refuse_create(client, request.id, name, "already_present")
        elif request.backend not in host.backends:
            host.refuse_create(client, request.id, name, "unknown_backend")
        else:
            meta = msgspec.structs.replace(meta, incarnation=host.chance.bits() >> 1 or 1)
            self._births[name] = (meta, [(client, request.id)])
            host.store.create_replica(meta, BORN)

    def settled(self, now: Millis, name: str, number: int) -> None:
        """A birth or a removal is durable. What was removed is gone even if the same job made it anew."""
        for client, waiting in self._removals.pop(name, []):
            self._reply(client, Result(waiting, 0))
        if number == BORN and name in self._births:
            self._born(now, name)

    def _born(self, now: Millis, name: str) -> None:
        """The replica's identity is durable: run it, and only now say who it is (BM-043)."""
        meta, waiting = self._births.pop(name)
        self._host.start_peer(meta, RecoveredReplica(meta, Recovered()), now)
        member = Member(PeerId(name, self._host.node), meta.incarnation)
        for client, number in waiting:
            self._reply(client, Started(number, member))

    def _remove(self, client: Client, request: RemovePeer) -> None:
        host, name = self._host, request.name
        peer = host.peers.get(name)
        if name in self._removals:
            self._removals[name].append((client, request.id))
        elif peer is None or peer.meta.group != request.group:
            host.no_such_peer(client, request.id, name)
        elif is_member(peer) and request.conf_index <= peer.raft.memberships.current_index:
            error = MembershipError(f"{peer.id} belongs to its group's configuration: change that first")
            self._fail(client, request.id, error)
        else:
            peer.desk.close(f"peer {peer.id} was removed")
            del host.peers[name]
            host.store.remove_replica(name, GONE)
            self._removals.setdefault(name, []).append((client, request.id))

    def _bootstrap(self, now: Millis, client: Client, peer: Peer, request: Bootstrap) -> None:
        """The blank replica founds its group; asked again by its founder, it answers the same."""
        members = tuple(request.members)
        if not is_blank(peer):
            if peer.raft.memberships.as_of(1)[1] == Membership(members):
                self._reply(client, Result(request.id, 1))
            else:
                self._host.refuse_create(client, request.id, request.name, "already_present")
        elif peer.raft.me not in members:
            self._fail(client, request.id, MembershipError(f"{peer.id} is not among the founding members"))
        else:
            self._host.touch(peer)
            peer.step(now, BootstrapEvent(Membership(members)))
            self._reply(client, Result(request.id, 1))

    def _change(self, now: Millis, client: Client, peer: Peer, request: ChangeMembership) -> None:
        """Any set to any set, if the caller knows the present one; the target of a running change may be joined."""
        membership = peer.raft.membership
        if membership is None:
            self._fail(client, request.id, NotStable("the peer belongs to no group yet"))
            return
        target = tuple(request.new_members)
        present = sorted(member.peer for member in membership.outgoing or membership.voters)
        goal = membership.target or membership.voters
        if sorted(request.old_peers) != present and sorted(goal) != sorted(target):
            text = f"the peers are {', '.join(map(str, present))}"
            self._fail(client, request.id, PeersChanged(text))
            return
        ref = peer.desk.ask((client, request.id), request)
        peer.step(now, ChangeEvent(ref, target))

    def _transfer(self, now: Millis, client: Client, peer: Peer, request: Transfer) -> None:
        membership = peer.raft.membership
        voters = membership.voters if membership is not None else ()
        to = next((member for member in voters if member.peer == request.to), None)
        if to is None:
            self._fail(client, request.id, MembershipError(f"{request.to} is not a voter of this group"))
        else:
            ref = peer.desk.ask((client, request.id), request)
            peer.step(now, TransferLeadership(ref, to))

    def entries(self) -> tuple[PeerEntry, ...]:
        """Every replica of the host, by name."""
        host = self._host
        found = [
            PeerEntry(peer.raft.me, peer.meta.group, peer.backend, peer.status().role) for peer in host.peers.values()
        ]
        found += [
            PeerEntry(
                Member(PeerId(name, host.node), failed.meta.incarnation),
                failed.meta.group,
                failed.meta.backend,
                "failed",
            )
            for name, failed in host.failed.items()
        ]
        return tuple(sorted(found, key=lambda entry: entry.member))

    def _not_leader(self, peer: Peer) -> NotLeader:
        leader = peer.raft.leader
        return NotLeader(leader=leader.peer if leader is not None else None)

    def _reply(self, client: Client, reply: Reply) -> None:
        self._host.outbox.duties.replies.append((client, reply))

    def _fail(self, client: Client, number: int, error: RequestError) -> None:
        self._reply(client, error_to_failed(number, error))


def is_member(peer: Peer) -> bool:
    """The newest configuration that it knows names it."""
    return peer.raft.membership is not None and peer.raft.me in peer.raft.membership.everyone()


def is_blank(peer: Peer) -> bool:
    """It holds nothing and has promised nothing: no configuration, no entries, no term."""
    raft = peer.raft
    return raft.membership is None and raft.log.last_index == 0 and raft.current_term == 0
