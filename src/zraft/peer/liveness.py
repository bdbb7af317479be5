"""Which other nodes live, for the quiet groups that trust them: one heartbeat per pair of nodes stands for all groups.

A quiet leader and each of its quiet followers are on two nodes that agree: the leader's lists the follower under
`leads`, the follower's lists itself under `follows`. Nodes that share such a pair beat each other. Three things wake
whoever is quiet, each by an event of the core; whoever wakes behaves as any awake replica does:

    NodeSilent       no beat for an election timeout
    NodeRestarted    a beat with another epoch: nobody there is what it was
    Rouse            the two nodes disagree, for whatever reason: a message that was lost, a replica that was stopped

Disagreement is found by a sum over `leads` in each beat. Where it is not that of the own `follows`, the next beat
claims all of these; the other node denies what it does not lead quietly, and wakes those of its leaders that nobody
follows. So no follower stays quiet for a leader that is none, whatever was lost on the way, as long as beats arrive.

Safety does not rest on this: a wrong answer costs a campaign or a few heartbeats (docs/decisions/0007).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final

from zraft.core import quiet
from zraft.core.events import Event, NodeRestarted, NodeSilent, Rouse
from zraft.core.recovered import RaftSettings
from zraft.core.roles import Leader
from zraft.limits import QUIET_CLAIMS
from zraft.peer.peer import Peer
from zraft.types import GroupId, Member, Millis, Term
from zraft.wire.peering import NodeBeat

_MASK: Final = 2**63 - 1

Wake = Callable[[str, Event], None]
"""Lets an event happen to the replica of that name."""


def token_of(group: GroupId, term: Term, follower: Member) -> int:
    """63 bits that name `follower`, quiet in `term` of `group`. The same on both nodes; another term is another one."""
    text = f"{term} {follower.incarnation} {follower.peer}".encode()
    return int.from_bytes(hashlib.blake2b(group + text, digest_size=8).digest(), "big") & _MASK


class _Neighbour:
    """Another node, while quiet groups are shared with it or something is to be cleared up."""

    __slots__ = (
        "claims_at",
        "denials",
        "epoch",
        "follows",
        "follows_sum",
        "heard_ms",
        "leads",
        "leads_sum",
        "told_sum",
    )

    def __init__(self, now: Millis) -> None:
        self.epoch: int | None = None
        self.heard_ms = now
        self.leads: dict[int, str] = {}
        """Tokens of followers there that are quiet with a leader here: the leader's name."""
        self.follows: dict[int, str] = {}
        """Tokens of followers here that are quiet with a leader there: their names."""
        self.leads_sum = self.follows_sum = 0
        self.told_sum: int | None = None
        """What the last beat said that it leads, until it was compared."""
        self.denials: list[int] = []
        self.claims_at = 0
        """Where the next claims begin, if there are more than one beat holds."""

    @property
    def is_shared(self) -> bool:
        return bool(self.leads or self.follows)


class Liveness:
    """Of one host. `begin_turn`, then the replicas' turns, then `end_turn`; `received` at any time."""

    def __init__(self, node: str, settings: RaftSettings, epoch: int) -> None:
        """`epoch`: 63 bits and more, drawn at this start."""
        self._node, self._settings, self._epoch = node, settings, epoch & _MASK
        self._neighbours: dict[str, _Neighbour] = {}
        self._resting: dict[str, tuple[object, list[tuple[str, bool, int]]]] = {}
        """Per replica that is quiet, or about to be: what it was when last looked at, and its (node, leads, token)s."""
        self._received: list[NodeBeat] = []
        self.due_ms: Millis | None = None
        """When the next beats leave; None: nobody waits for any."""

    def received(self, beat: NodeBeat) -> None:
        """A beat arrived; it counts from the next turn on."""
        self._received.append(beat)

    def begin_turn(self, now: Millis, active: Iterable[Peer], wake: Wake) -> None:
        """See to what arrived, and to who is silent. `active` are the replicas that something happened to."""
        if not self._received and (self.due_ms is None or now < self.due_ms):
            return
        for peer in active:
            self.look_at(now, peer)
        received, self._received = self._received, []
        for beat in received:
            self._hear(now, beat, wake)
        if self.due_ms is not None and now >= self.due_ms:
            for node, neighbour in self._neighbours.items():
                if neighbour.is_shared and now - neighbour.heard_ms >= self._settings.election_timeout_ms:
                    for name in _names(neighbour):
                        wake(name, NodeSilent(node, neighbour.heard_ms))

    def end_turn(self, now: Millis) -> list[NodeBeat]:
        """The beats that are due. To be called when every replica of this turn was looked at."""
        if self.due_ms is None or now < self.due_ms:
            return []
        beats = []
        for node, neighbour in list(self._neighbours.items()):
            beat = self._beat_to(node, neighbour)
            if beat is not None:
                beats.append(beat)
            elif not neighbour.is_shared:
                del self._neighbours[node]
        self.due_ms = now + self._settings.heartbeat_ms if self._neighbours else None
        return beats

    # -- who is quiet with whom

    def look_at(self, now: Millis, peer: Peer) -> None:
        """The replica may have gone quiet, or woken."""
        name, replica = peer.meta.name, peer.raft.replica
        partners = quiet.partners(replica)
        known = self._resting.get(name)
        if not partners:
            if known is not None:
                self.forget(name)
            return
        is_leader = type(replica.role) is Leader
        seen = (replica.current_term, is_leader, partners)
        if known is not None and known[0] == seen:
            return
        self.forget(name)
        entries = []
        for partner in partners:
            follower = partner if is_leader else replica.me
            token = token_of(peer.meta.group, replica.current_term, follower)
            entries.append((partner.peer.node, is_leader, token))
            self._add(now, name, partner.peer.node, is_leader=is_leader, token=token)
        self._resting[name] = seen, entries

    def _add(self, now: Millis, name: str, node: str, *, is_leader: bool, token: int) -> None:
        neighbour = self._neighbour(now, node)
        if not neighbour.is_shared:
            neighbour.heard_ms, neighbour.epoch = now, None
        if is_leader:
            neighbour.leads[token] = name
            neighbour.leads_sum = (neighbour.leads_sum + token) & _MASK
        else:
            neighbour.follows[token] = name
            neighbour.follows_sum = (neighbour.follows_sum + token) & _MASK

    def _neighbour(self, now: Millis, node: str) -> _Neighbour:
        neighbour = self._neighbours.get(node)
        if neighbour is None:
            neighbour = self._neighbours[node] = _Neighbour(now)
            if self.due_ms is None:
                self.due_ms = now
        return neighbour

    def forget(self, name: str) -> None:
        """The replica is awake, or does not run any more."""
        known = self._resting.pop(name, None)
        for node, is_leader, token in known[1] if known is not None else ():
            neighbour = self._neighbours[node]
            if is_leader and neighbour.leads.pop(token, None) is not None:
                neighbour.leads_sum = (neighbour.leads_sum - token) & _MASK
            elif not is_leader and neighbour.follows.pop(token, None) is not None:
                neighbour.follows_sum = (neighbour.follows_sum - token) & _MASK

    # -- beats

    def _beat_to(self, node: str, neighbour: _Neighbour) -> NodeBeat | None:
        told, neighbour.told_sum = neighbour.told_sum, None
        is_disputed = told is not None and told != neighbour.follows_sum
        denials, neighbour.denials = neighbour.denials, []
        if not (is_disputed or denials or neighbour.is_shared):
            return None
        claims, is_all = self._claims(neighbour) if is_disputed else (None, True)
        return NodeBeat(self._node, node, self._epoch, neighbour.leads_sum, claims, is_all, denials[:QUIET_CLAIMS])

    def _claims(self, neighbour: _Neighbour) -> tuple[list[int], bool]:
        follows = neighbour.follows
        if len(follows) <= QUIET_CLAIMS:
            return list(follows), True
        at = neighbour.claims_at if neighbour.claims_at < len(follows) else 0
        neighbour.claims_at = at + QUIET_CLAIMS
        return list(islice(follows, at, at + QUIET_CLAIMS)), False

    def _hear(self, now: Millis, beat: NodeBeat, wake: Wake) -> None:
        if beat.sender not in self._neighbours and not beat.leads and beat.claims is None:
            return  # nothing is shared, and both agree about that
        neighbour = self._neighbour(now, beat.sender)
        neighbour.heard_ms = now
        if neighbour.epoch not in (None, beat.epoch):
            for name in _names(neighbour):
                wake(name, NodeRestarted(beat.sender))
        neighbour.epoch = beat.epoch
        neighbour.told_sum = beat.leads
        for token in beat.denials:
            if (follower := neighbour.follows.get(token)) is not None:
                wake(follower, Rouse())
        if beat.claims is not None:
            neighbour.denials += [token for token in beat.claims if token not in neighbour.leads]
            if beat.claims_all:
                claimed = frozenset(beat.claims)
                for name in {name: None for token, name in neighbour.leads.items() if token not in claimed}:
                    wake(name, Rouse())


def _names(neighbour: _Neighbour) -> list[str]:
    return list(dict.fromkeys((*neighbour.leads.values(), *neighbour.follows.values())))
