"""Requests that are about replicas rather than about their state: at the door of a host.

Nothing here imports code or runs a backend that the node was not given. Replicas are born durable before anybody hears
their incarnation, and are deleted only while no configuration names them that is or could come into force.

    StartPeer ─> machine made ─> birth durable ─> runs ─> Started             RemovePeer ─> gone ─> durable ─> Result
                                   └ RemovePeer meanwhile: removed as soon as it is born
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from zraft.core.entries import Membership
from zraft.core.events import ChangeMembership as ChangeEvent
from zraft.core.events import TransferLeadership
from zraft.core.recovered import Recovered
from zraft.errors import (
    MembershipError,
    NewerExists,
    NotLeader,
    NotStable,
    OutcomeUnknown,
    PeersChanged,
    PeerUnavailable,
    ProtocolError,
    ReplicaFault,
    RequestError,
    TooLarge,
    UsageError,
)
from zraft.peer.aside import GONE, kept_entries, kept_entry
from zraft.peer.down import is_blank, last_named_at
from zraft.peer.duties import Client
from zraft.peer.peer import Peer
from zraft.peer.shelf import Chosen
from zraft.session.machine import ReplicatedMachine
from zraft.storage.replica import ReplicaMeta
from zraft.types import GroupId, Index, Member, Millis, PeerId
from zraft.wire.failures import error_to_failed
from zraft.wire.peering import check_membership
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
    SessionRequest,
    Started,
    StartPeer,
    Stat,
    Status,
    Transfer,
    Write,
)
from zraft.wire.session_requests import SessionWrite
from zraft.wire.values import check_command

if TYPE_CHECKING:
    from zraft.peer.host import Host


BORN: Final = 0
"""The number of the save with which a replica's data is born; the core counts its own from 1."""


class Birth:
    """A replica that is being made durable, and who waits for it."""

    __slots__ = ("machine", "meta", "removals", "waiting")

    def __init__(self, meta: ReplicaMeta, machine: ReplicatedMachine) -> None:
        self.meta = meta
        self.machine = machine
        self.waiting: list[tuple[Client, int]] = []
        self.removals: list[tuple[Client, RemovePeer]] = []
        """Whoever gave up waiting, and wants it gone again."""


class Admin:
    """Answers what the host itself is asked, and hands the rest to the replica concerned."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._births: dict[str, Birth] = {}
        self._removals: dict[str, list[tuple[Client, int]]] = {}
        """Replicas whose removal is being made durable, and who waits for it."""

    def admit_write(self, now: Millis, client: Client, peer: Peer, request: Write) -> bool:
        """True where the write waits for the end of the turn now; otherwise it was answered."""
        if not peer.is_leader:
            self._fail(client, request.id, self._not_leader(peer))
        elif self._is_sound(now, client, peer, request):
            peer.desk.writes.append(((client, request.id), request.command))
            return True
        return False

    def admit_session_write(self, now: Millis, client: Client, request: SessionWrite) -> None:
        """The write waits for the end of the turn, or it is answered."""
        peer = self._host.running(request.peer)
        if peer is None:
            self._host.no_such_peer(client, request.id, request.peer)
        elif not peer.is_leader:
            self._fail(client, request.id, self._not_leader(peer))
        elif self._is_sound(now, client, peer, request):
            self._host.touch(peer)
            peer.keeper.write(now, (client, request.id), request)

    def _is_sound(self, now: Millis, client: Client, peer: Peer, request: Write | SessionWrite) -> bool:
        """The command is one complete value, not too large, and there is room for it; otherwise that was answered."""
        size = memoryview(request.command).nbytes
        if size > self._host.settings.max_command_bytes:
            text = f"a command of {size} bytes; max_command_size is {self._host.settings.max_command_bytes}"
            self._fail(client, request.id, TooLarge(text))
        elif (refusal := self._host.space.refusal(now, peer)) is not None:
            self._fail(client, request.id, refusal)
        else:
            try:
                check_command(request.command)
            except RequestError as error:
                self._fail(client, request.id, error)
            except (ProtocolError, UsageError) as error:
                # Its own caller is told: others share the connection, which is none the worse.
                self._fail(client, request.id, RequestError(str(error)))
            else:
                return True
        return False

    def handle(self, now: Millis, client: Client, request: Request) -> None:
        """Everything but writes."""
        match request:
            case ListPeers():
                self._reply(client, Peers(request.id, (*self.entries(), *kept_entries(self._host))))
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
                peer = self._host.running(request.name)
                if peer is None:
                    self._host.no_such_peer(client, request.id, request.name)
                else:
                    self._bootstrap(now, client, peer, request)
            case Query() | GetConf() | ChangeMembership() | Transfer():
                peer = self._host.running(request.peer)
                if peer is None:
                    self._host.no_such_peer(client, request.id, request.peer)
                else:
                    self._for_peer(now, client, peer, request)
            case Write() | SessionWrite():
                raise UsageError("writes have their own doors")
            case _:
                self._for_session(now, client, request)

    def _for_session(self, now: Millis, client: Client, request: SessionRequest) -> None:
        peer = self._host.running(request.peer)
        if peer is None:
            self._host.no_such_peer(client, request.id, request.peer)
        elif not peer.is_leader:
            self._fail(client, request.id, self._not_leader(peer))
        else:
            self._host.touch(peer)
            self._host.has_local(peer)
            peer.keeper.request(now, (client, request.id), request)

    def _for_peer(
        self, now: Millis, client: Client, peer: Peer, request: Query | GetConf | ChangeMembership | Transfer
    ) -> None:
        self._host.touch(peer)
        if isinstance(request, Query) and request.local:
            peer.desk.wait_local((client, request.id), request)
            self._host.has_local(peer)
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
        wanted = (request.group, request.backend)
        if name in self._births:
            birth = self._births[name]
            if (birth.meta.group, birth.meta.backend) == wanted and not birth.removals:
                birth.waiting.append((client, request.id))
            else:
                host.refuse_create(client, request.id, name, "already_present")
        elif name in host.peers:
            peer = host.peers[name]
            if (peer.meta.group, peer.meta.backend) == wanted and is_blank(peer.raft) and peer.fault is None:
                self._reply(client, Started(request.id, peer.raft.me))
            else:
                host.refuse_create(client, request.id, name, "already_present")
        elif name in host.failed or name in host.stopped:
            host.refuse_create(client, request.id, name, "already_present")
        else:
            self._conceive(client, request)

    def _conceive(self, client: Client, request: StartPeer) -> None:
        """A replica that runs when it is durable. Its machine is made first: what cannot run is not born."""
        host, name = self._host, request.name
        meta = ReplicaMeta(name, request.group, host.chance.bits() >> 1 or 1, request.backend)
        try:
            machine = host.make_machine(meta)
        except ReplicaFault as fault:
            if request.backend in host.backends:
                host.note(name, f"cannot be made: {fault}", is_alarm=True)
            host.refuse_create(client, request.id, name, "unknown_backend")
            return
        birth = self._births[name] = Birth(meta, machine)
        birth.waiting.append((client, request.id))
        host.store.create_replica(meta, BORN)

    def settled(self, now: Millis, name: str, number: int) -> None:
        """A birth or a removal is durable. What was removed is gone even if the same job made it anew."""
        for client, waiting in self._removals.pop(name, []):
            self._reply(client, Result(waiting, 0))
        if number == BORN and name in self._births:
            self._born(now, self._births.pop(name))

    def _born(self, now: Millis, birth: Birth) -> None:
        """The replica's identity is durable: run it, and only now say who it is (BM-043)."""
        host, meta = self._host, birth.meta
        host.run(meta, Recovered(), Chosen(birth.machine), now)
        member = Member(PeerId(meta.name, host.node), meta.incarnation)
        for client, number in birth.waiting:
            self._reply(client, Started(number, member))
        for client, request in birth.removals:
            self._remove(client, request)

    def _remove(self, client: Client, request: RemovePeer) -> None:
        host, name = self._host, request.name
        found = self._known(name)
        kept = kept_entry(host, name) if found is None and name not in (*self._births, *self._removals) else None
        if kept is not None:
            name = kept.member.peer.name
            found = self._known(name)
        if name in self._births and self._births[name].meta.group == request.group:
            self._births[name].removals.append((client, request))
        elif name in self._removals and found is None:
            self._removals[name].append((client, request.id))
        elif found is None or found[0] != request.group:
            host.no_such_peer(client, request.id, name)
        elif found[1] is not None and request.conf_index <= found[1]:
            text = f"{PeerId(name, host.node)} knows of no configuration without it: change that of its group first"
            self._fail(client, request.id, MembershipError(text))
        else:
            host.shelf.leave(found[2])
            host.forget_peer(name)
            host.store.remove_replica(name, GONE)
            self._removals.setdefault(name, []).append((client, request.id))

    def _known(self, name: str) -> tuple[GroupId, Index | None, ReplicaMeta] | None:
        """The group of a replica, and the index that a configuration without it must be above; None: any will do."""
        host = self._host
        if name in host.peers:
            peer = host.peers[name]
            named_at = last_named_at(peer.raft.memberships, peer.raft.commit_index, peer.raft.me)
            if peer.raft.abstains_below:  # it may have forgotten more than it knows
                return peer.meta.group, peer.raft.memberships.current_index, peer.meta
            return peer.meta.group, named_at or None, peer.meta
        if name in host.stopped:
            stopped = host.stopped[name]
            return stopped.meta.group, stopped.last_named_at or None, stopped.meta
        if name in host.failed:
            failed = host.failed[name]
            # What is corrupt may have forgotten more than it knows.
            return failed.meta.group, None if failed.is_blank else failed.memberships.current_index, failed.meta
        kept = host.aside.get(name)
        return (kept.meta.group, None, kept.meta) if kept is not None else None

    def close(self, reason: str) -> None:
        """The host stops: nobody hears of a birth or a removal any more."""
        waiting = [waits for birth in self._births.values() for waits in birth.waiting]
        waiting += [(client, request.id) for birth in self._births.values() for client, request in birth.removals]
        waiting += [waits for removal in self._removals.values() for waits in removal]
        for client, number in waiting:
            self._fail(client, number, OutcomeUnknown(reason))
        self._births.clear()
        self._removals.clear()

    @property
    def is_empty(self) -> bool:
        """Nobody waits for a birth or a removal."""
        return not (self._births or self._removals)

    def refuse(self, client: Client, number: int, reason: str) -> None:
        """Answer that nothing can be had here."""
        self._fail(client, number, PeerUnavailable(reason))

    def _bootstrap(self, now: Millis, client: Client, peer: Peer, request: Bootstrap) -> None:
        """The blank replica founds its group; asked again by its founder, it answers the same."""
        membership = Membership(tuple(request.members))
        asked = (client, request.id)
        try:
            check_membership(membership)
        except ProtocolError as error:
            self._fail(client, request.id, MembershipError(str(error)))
            return
        if not is_blank(peer.raft):
            if peer.raft.memberships.as_of(1)[1] == membership:
                peer.answer_when_saved(asked, 1)
            else:
                self._host.refuse_create(client, request.id, request.name, "already_present")
        elif peer.raft.me not in membership.voters:
            self._fail(client, request.id, MembershipError(f"{peer.id} is not among the founding members"))
        else:
            self._host.touch(peer)
            peer.found(now, asked, membership)

    def _change(self, now: Millis, client: Client, peer: Peer, request: ChangeMembership) -> None:
        """Any set to any set, if the caller knows the present one; the target of a running change may be joined."""
        membership = peer.raft.membership
        if membership is None:
            self._fail(client, request.id, NotStable("the peer belongs to no group yet"))
            return
        target = tuple(request.new_members)
        try:
            check_membership(Membership(target))
        except ProtocolError as error:
            self._fail(client, request.id, MembershipError(str(error)))
            return
        present = sorted(member.peer for member in membership.outgoing or membership.voters)
        goal = membership.target or membership.voters
        if sorted(request.old_peers) != present and sorted(goal) != sorted(target):
            text = f"the peers are {', '.join(map(str, present))}"
            self._fail(client, request.id, PeersChanged(text, peers=present))
            return
        index = peer.raft.memberships.current_index
        if 0 < request.conf_index < index and membership.is_stable and sorted(goal) != sorted(target):
            text = f"the configuration was changed at {index}, after {request.conf_index}; ask for it and try again"
            self._fail(client, request.id, NewerExists(text))
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
        found = [PeerEntry(peer.raft.me, peer.meta.group, peer.backend, peer.role) for peer in host.peers.values()]
        metas = [failed.meta for failed in host.failed.values()] + [stopped.meta for stopped in host.stopped.values()]
        for meta in metas:
            member = Member(PeerId(meta.name, host.node), meta.incarnation)
            found.append(PeerEntry(member, meta.group, meta.backend, "failed"))
        return tuple(sorted(found, key=lambda entry: entry.member))

    def _not_leader(self, peer: Peer) -> NotLeader:
        leader = peer.raft.leader
        return NotLeader(leader=leader.peer if leader is not None else None)

    def _reply(self, client: Client, reply: Reply) -> None:
        self._host.outbox.duties.replies.append((client, reply))

    def _fail(self, client: Client, number: int, error: RequestError) -> None:
        self._reply(client, error_to_failed(number, error))
