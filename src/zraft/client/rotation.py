"""Which peer a light session asks next: list order from the current leader, wrapping, with rests for those that failed.

A peer that cannot be reached rests for `fail_timeout`, one that answered without leading for `election_timeout`: by
then it may lead. A peer that another one names as the leader is asked at once, unless it has failed. Decides only: the
time is passed in, in seconds of any clock that never goes back.
"""

from __future__ import annotations

from collections.abc import Sequence

from zraft.client.waiting import FOREVER, said
from zraft.errors import AllPeersFailed, NoPeers, RequestTimeout
from zraft.types import PeerId


class Rotation:
    """The peers of one light session. Raises `NoPeers` where there are none."""

    __slots__ = ("_election_s", "_fail_s", "_failed_until", "_passive_until", "at", "peers")

    def __init__(self, peers: Sequence[PeerId], *, fail_s: float, election_s: float) -> None:
        self.peers = list(dict.fromkeys(peers))
        if not self.peers:
            raise NoPeers("a light session needs at least one peer")
        self._fail_s, self._election_s = fail_s, election_s
        self._failed_until: dict[PeerId, float] = {}
        self._passive_until: dict[PeerId, float] = {}
        self.at = 0
        """Where in the list the peer is that is thought to lead."""

    @property
    def leader(self) -> PeerId:
        """Who is thought to lead: at first the first one."""
        return self.peers[self.at]

    def choose(self, now: float) -> PeerId | None:
        """Whom to ask; None: everybody rests, the first of them until `rests_until`. Raises `AllPeersFailed`."""
        count, failed = len(self.peers), 0
        for step in range(count):
            peer = self.peers[(self.at + step) % count]
            if self._failed_until.get(peer, 0.0) > now:
                failed += 1
            elif self._passive_until.get(peer, 0.0) <= now:
                return peer
        if failed == count:
            raise AllPeersFailed(f"none of {count} peers can be reached: {', '.join(map(str, self.peers))}")
        return None

    def rests_until(self, now: float) -> float:
        """When the first of those that answered without leading may be asked again."""
        return min(
            (
                until
                for peer, until in self._passive_until.items()
                if until > now and self._failed_until.get(peer, 0.0) <= now
            ),
            default=now,
        )

    def succeeded(self, peer: PeerId) -> None:
        """The peer has done what a leader does."""
        self._failed_until.pop(peer, None)
        self._passive_until.pop(peer, None)
        self._lead(peer)

    def failed(self, peer: PeerId, now: float) -> None:
        """The peer cannot be reached, or is not there."""
        self._failed_until[peer] = now + self._fail_s

    def refused(self, peer: PeerId, leader: PeerId | None, now: float) -> None:
        """The peer answered that it does not lead; `leader` is whom it follows. One that is new is a peer from now on."""
        self._failed_until.pop(peer, None)
        self._passive_until[peer] = now + self._election_s
        if leader is None or leader == peer or self._failed_until.get(leader, 0.0) > now:
            return
        if leader not in self.peers:
            self.peers.append(leader)
        if self._passive_until.get(leader, 0.0) <= now or self.leader != leader:
            self._passive_until.pop(leader, None)
            self._lead(leader)

    def timed_out(self, seconds: float, now: float) -> RequestTimeout:
        """The error of a caller who found no leader in time."""
        missing = [str(peer) for peer in self.peers if self._failed_until.get(peer, 0.0) > now]
        names = f"missing {', '.join(missing)}" if missing else "none of them leads"
        count = len(self.peers)
        text = f"no leader: {count - len(missing)} of {count} voters answer, {names} (after {said(seconds)})"
        return RequestTimeout(text, executed="no")

    def _lead(self, peer: PeerId) -> None:
        if peer in self.peers:
            self.at = self.peers.index(peer)


def rest_of(seconds: float, default: float) -> float:
    """A rest as a user wrote it."""
    return default if seconds == FOREVER else seconds
