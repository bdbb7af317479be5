"""Which peer a light session asks next, and what an error says about the peer that was asked.

    error of an attempt ── blame(error) ──> ABSENT    the peer is not asked for `fail_s`
                                       ├──> FOLLOWER  it is not asked for `election_s`; a leader that it names is next
                                       ├──> BUSY      it is asked again after a moment
                                       └──> NOBODY    another peer would say the same: the error is the answer

The peers stand in a ring, in the order in which they were given. The leader is the one that is asked; where it must
not be asked the next in the ring that may be becomes it. A peer that names a leader is believed, unless that one failed
a moment ago; two that name each other are believed a few times and then cost a wait, not a loop.

Decides only: `now` comes from outside and nothing here waits.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto
from typing import Final

from zraft.client.routing import answers
from zraft.errors import NotLeader, OutcomeUnknown, Overloaded, PeerUnavailable, RequestError, RequestTimeout
from zraft.limits import PEERS_PER_GROUP
from zraft.types import PeerId

FAIL_S: Final = 1.0
ELECTION_S: Final = 0.5
SHORTEST_S: Final = 0.01
"""No peer is asked again sooner, whatever was set: a ring of dead peers must not become a busy loop."""
HOPS: Final = 3
"""How often in a row a peer is believed that names one which has just said that it does not lead."""

_TRANSFERRING: Final = "transferring"
_RING: Final = 2 * PEERS_PER_GROUP
"""Peers in the ring: those given, and those that others named since."""


class Blame(Enum):
    """What an error says about the peer that gave it."""

    ABSENT = auto()
    FOLLOWER = auto()
    BUSY = auto()
    NOBODY = auto()


def blame(error: RequestError) -> Blame:
    """Whether another peer could answer better. A connection that was lost is the caller's to tell: that is ABSENT."""
    match error:
        case PeerUnavailable():
            return Blame.ABSENT
        case NotLeader() | OutcomeUnknown():
            return Blame.FOLLOWER
        case Overloaded(reason=reason) if reason == _TRANSFERRING:
            return Blame.BUSY
    return Blame.NOBODY


class Attempts:
    """One request: may it be sent again, and may it have run already? `is_repeatable`: running it twice is allowed."""

    __slots__ = ("_is_read", "_is_repeatable", "_may_have_run")

    def __init__(self, *, is_read: bool, is_repeatable: bool) -> None:
        self._is_read, self._is_repeatable = is_read, is_read or is_repeatable
        self._may_have_run = False

    def may_repeat(self, error: RequestError) -> bool:
        """After an attempt that ended with `error`."""
        if error.executed != "no":
            self._may_have_run = True
        return error.executed == "no" or (error.executed == "maybe" and self._is_repeatable)

    def final(self, error: RequestError) -> RequestError:
        """The error, true to every attempt and not only to the last. A read has no effect."""
        if self._is_read:
            error.executed = "no"
        elif self._may_have_run and error.executed == "no":
            error.executed = "maybe"
        return error


class Rotation:
    """The ring of one session. `leader` is whom it asks, or would if it might."""

    __slots__ = ("_election_s", "_fail_s", "_failed", "_hops", "_idle", "_peers", "_why", "leader")

    def __init__(
        self, peers: Iterable[PeerId], *, fail_s: float = FAIL_S, election_s: float = ELECTION_S, leader: PeerId | None
    ) -> None:
        """There is at least one peer. `leader` None: the first; one that is not among them comes after the others."""
        self._peers = list(dict.fromkeys(peers))
        self._fail_s, self._election_s = max(fail_s, SHORTEST_S), max(election_s, SHORTEST_S)
        self._failed: dict[PeerId, float] = {}
        """Until when a peer that failed is not asked."""
        self._idle: dict[PeerId, float] = {}
        """Until when a peer that was not the leader is not asked."""
        self._why: dict[PeerId, str] = {}
        self._hops = 0
        self.leader = self._peers[0]
        if leader is not None:
            self._join(leader)
            self.leader = leader

    @property
    def peers(self) -> list[PeerId]:
        """The ring, in its order."""
        return list(self._peers)

    def choose(self, now: float) -> PeerId | None:
        """Whom to ask now; that one is the leader from now on. None: nobody before `free_at`."""
        at = self._peers.index(self.leader)
        for peer in (*self._peers[at:], *self._peers[:at]):
            if self._free_at(peer) <= now:
                self.leader = peer
                return peer
        return None

    def free_at(self) -> float:
        """When the first of the peers may be asked again."""
        return min(map(self._free_at, self._peers))

    def is_lost(self, now: float) -> bool:
        """Every peer failed less than `fail_s` ago."""
        return all(self._failed.get(peer, now) > now for peer in self._peers)

    def failed(self, peer: PeerId, why: str, now: float) -> None:
        """The peer or its node does not serve."""
        self._failed[peer] = now + self._fail_s
        self._why[peer] = why
        self.choose(now)

    def not_leader(self, peer: PeerId, named: PeerId | None, now: float) -> None:
        """The peer does not lead; it may have named the one that does."""
        self._idle[peer] = now + self._election_s
        if peer == self.leader and named is not None and named != peer and self._believes(named, now):
            self._join(named)
            self._idle.pop(named, None)
            self.leader = named
        self.choose(now)

    def _believes(self, named: PeerId, now: float) -> bool:
        if self._failed.get(named, now) > now:
            return False
        if self._idle.get(named, now) > now:
            self._hops += 1
            return self._hops <= HOPS
        self._hops = 0
        return True

    def missing(self, now: float) -> str:
        """Why nobody can be asked: for messages. Before any peer has failed or denied to lead, none was heard of."""
        if not self._failed and not self._idle:
            return f"no leader: no answer yet from {', '.join(map(str, self._peers))}"
        absent = [peer for peer in self._peers if self._failed.get(peer, now) > now]
        return f"no leader: {answers(len(self._peers), [f'{peer} ({self._why[peer]})' for peer in absent])}"

    def _free_at(self, peer: PeerId) -> float:
        return max(self._failed.get(peer, 0.0), self._idle.get(peer, 0.0))

    def _join(self, peer: PeerId) -> None:
        """A peer that was named is one of the ring; the group has changed since it was given."""
        if peer not in self._peers:
            if len(self._peers) >= _RING:
                gone = self._peers.pop()
                for table in (self._failed, self._idle):
                    table.pop(gone, None)
            self._peers.append(peer)


def timed_out(rotation: Rotation, said: str, now: float) -> RequestTimeout:
    """The error of a request that found nobody to ask for so long."""
    return RequestTimeout(f"{rotation.missing(now)} (after {said})", executed="no")
