"""Whom to ask next, when to stop, and what to say when time is up: the decisions about one request.

    attempt failed ── refused(error) ──> ASK      `peer` at once, or after `pause` seconds
                                    ├──> SEARCH   after `pause` seconds: ask the peers that `known()` lists for their
                                    │             status and call `found`, which answers ASK or SEARCH again
                                    └──> STOP     the error is the answer

A request that may have run is never sent again, except a read. A peer that names a leader is believed at once, but only
a few times in a row: two peers that name each other cost a search, not a loop. A search that finds no leader is
repeated, with growing pauses, for as long as the caller has time. Nothing here knows how much that is.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from typing import Final

from zraft.client.waiting import said
from zraft.errors import NotLeader, NotStable, OutcomeUnknown, Overloaded, PeerUnavailable, RequestError, RequestTimeout
from zraft.types import PeerId
from zraft.wire.requests import PeerStatus

HOPS: Final = 3
"""Leaders that are believed in a row without a search."""
FIRST_PAUSE: Final = 0.01
LONGEST_PAUSE: Final = 0.15
"""Seconds between searches: doubled from the first to the second. A search serves every request that waits for it."""

_TRANSFERRING: Final = "transferring"


class Move(Enum):
    """What the caller does next."""

    ASK = auto()
    SEARCH = auto()
    STOP = auto()


class Route:
    """One request on its way. `peer` is whom to ask, `pause` how many seconds to wait before the next move."""

    __slots__ = ("_answering", "_hops", "_is_read", "_origin", "_redirect", "_searches", "_voters", "pause", "peer")

    def __init__(self, origin: PeerId, *, redirect: bool, is_read: bool) -> None:
        self.peer = origin
        self.pause = 0.0
        self._origin = origin
        self._redirect, self._is_read = redirect, is_read
        self._hops = 0
        """Leaders believed since the last search."""
        self._searches = 0
        self._voters: tuple[PeerId, ...] = ()
        self._answering: tuple[PeerId, ...] = ()
        """Of the last search: who votes, and which of them answered."""

    def refused(self, error: RequestError) -> Move:
        """The attempt at `peer` ended with `error`."""
        self.pause = 0.0
        if not self._redirect or not (self._is_read or error.executed == "no"):
            return Move.STOP
        match error:
            case NotLeader(leader=PeerId() as leader) if leader != self.peer and self._hops < HOPS:
                self._hops += 1
                self.peer = leader
                return Move.ASK
            case NotLeader():
                return self._search()
            case PeerUnavailable() | OutcomeUnknown():
                return self._search() if self._knows_others() else Move.STOP
            case Overloaded(reason=reason) if reason == _TRANSFERRING:
                self.pause = error.retry_after
                return Move.ASK
            case NotStable():
                self._searches += 1
                self.pause = self._growing()
                return Move.ASK
        return Move.STOP

    def known(self) -> tuple[PeerId, ...]:
        """Whom a search asks first: the peer that the caller named, and the voters that the last search told of."""
        return (self._origin, *(peer for peer in self._voters if peer != self._origin))

    def found(self, statuses: Sequence[PeerStatus]) -> Move:
        """The search is over; these peers answered, each with its status."""
        self._searches += 1
        self._hops = 0
        newest = max(statuses, key=lambda status: status.conf_index, default=None)
        if newest is not None and newest.peers:
            self._voters = newest.peers
        answering = {status.id for status in statuses}
        self._answering = tuple(peer for peer in self._voters if peer in answering)
        leader = _leader(statuses, answering)
        if leader is None:
            return self._search()
        self.peer, self.pause = leader, 0.0
        return Move.ASK

    def timed_out(self, seconds: float, *, is_sent: bool, why: str = "") -> RequestTimeout:
        """The error of a caller that waited `seconds`; `is_sent`: an attempt is under way and may still run."""
        if is_sent:
            text = f"{self.peer} did not answer within {said(seconds)}"
            return RequestTimeout(explained(text, why), executed="no" if self._is_read else "maybe")
        if not self._searches:
            return RequestTimeout(f"{self.peer.node} was not reached within {said(seconds)}", executed="no")
        return RequestTimeout(f"{self._missing()} (after {said(seconds)})", executed="no")

    def _missing(self) -> str:
        if not self._voters:
            return f"no leader: {self._origin} knows none, and no other peer"
        missing = [str(peer) for peer in self._voters if peer not in self._answering]
        return f"no leader: {answers(len(self._voters), missing)}"

    def _knows_others(self) -> bool:
        return self.peer != self._origin or any(peer != self._origin for peer in self._voters)

    def _search(self) -> Move:
        self.pause = self._growing() if self._searches else 0.0
        return Move.SEARCH

    def _growing(self) -> float:
        return min(LONGEST_PAUSE, FIRST_PAUSE * (1 << min(self._searches - 1, 10)))


def answers(voters: int, missing: Sequence[str]) -> str:
    """For messages: how many of the voters answer, and which do not."""
    names = f"missing {', '.join(missing)}" if missing else "none of them leads"
    return f"{voters - len(missing)} of {voters} voters answer, {names}"


def undecided(statuses: Sequence[PeerStatus]) -> str:
    """Why a group decides nothing of whose peers only these answer: for messages; "" where enough of them do."""
    newest = max(statuses, key=lambda status: status.conf_index, default=None)
    if newest is None:
        return ""
    answering = {status.id for status in statuses}
    missing = [str(peer) for peer in newest.peers if peer not in answering]
    return answers(len(newest.peers), missing) if missing and 2 * len(missing) >= len(newest.peers) else ""


def explained(text: str, why: str) -> str:
    """For messages: what happened, and the reason where one is known."""
    return f"{text}: {why}" if why else text


def _leader(statuses: Sequence[PeerStatus], answering: set[PeerId]) -> PeerId | None:
    """Who leads: of those that say so themselves the one of the newest term, else whom an answering peer follows.

    A leader that is only named by others counts if it answers too, for then it was asked and is merely newer elected;
    one that is named and silent is the one that was lost.
    """
    by_term = sorted(statuses, key=lambda status: status.term, reverse=True)
    for status in by_term:
        if status.role == "leader":
            return status.id
    for status in by_term:
        if status.leader is not None and status.leader in answering:
            return status.leader
    return None
