"""The divergence alarm: replicas that applied the same log compare what came of it (BM-119).

    every replica   takes a sample at the same indexes (`sampling`)
    a follower      reports its newest samples to its leader
    the leader      compares them with its own: `StateVerdict` to everybody where they differ

Who is odd is what a majority of voters differs from; where no majority can be had any more, it is the followers that
differ from their leader, whose answers clients have seen. Who is odd stops by ReplicaFault, be it the leader. All
others say so, too, in their notes and in their status, until a later sample finds everybody alike.

The protocol does not depend on any of this. What is lost on the way comes again with the next report.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec

from zraft.core.entries import Membership
from zraft.errors import ReplicaFault
from zraft.limits import ALARM_KEPT, ALARM_PATIENCE_MS, ALARM_REPORTED
from zraft.peer.sampling import Sampling
from zraft.session.effects import method_of
from zraft.types import Index, Member, Millis
from zraft.wire.states import Sample, State, StateReport, StateVerdict

if TYPE_CHECKING:
    from zraft.core.entries import Batch
    from zraft.peer.peer import Peer
    from zraft.session.outcomes import Outcome

NEXT: Final = "see docs/operate/divergence.md"


class Alarm:
    """Of one replica. `standing` says who is known to have diverged; empty: nobody is."""

    __slots__ = ("_alike", "_doubt_ms", "_peer", "_reports", "_told", "sampling", "standing")

    def __init__(self, peer: Peer, every: int) -> None:
        self._peer = peer
        self.sampling = Sampling(every, peer.machine.last_applied)
        self.standing = ""
        self._reports: dict[Index, dict[Member, Sample]] = {}
        """What others reported, by index."""
        self._alike: dict[Member, Index] = {}
        """The last sample in which each other member was like this one."""
        self._doubt_ms: Millis | None = None
        """Since when it is open who has the majority."""
        self._told: tuple[Member, ...] = ()
        """Who was odd when it was last told."""

    def apply(self, batch: Batch, offset: int, limit: int) -> list[Outcome]:
        """Applies what is to be looked at. Raises ReplicaFault where this replica turns out to be odd."""
        outcomes, sample = self.sampling.apply(self._peer.machine, batch, offset, limit)
        if sample is not None:
            self._sampled(sample)
        return outcomes

    def _sampled(self, sample: Sample) -> None:
        raft = self._peer.raft
        leader = raft.leader
        if leader == raft.me:
            self._compare(sample)
        elif leader is not None:
            newest = list(self.sampling.samples.values())[-ALARM_REPORTED:]
            method = method_of(self._peer.machine)
            self._send(StateReport(raft.me, leader, raft.current_term, method, newest))

    def _send(self, word: State) -> None:
        self._peer.send_beside(word)

    def heard(self, word: State) -> None:
        """Another replica said this. Raises ReplicaFault where this replica turns out to be odd."""
        raft = self._peer.raft
        if word.to != raft.me or word.term != raft.current_term:
            return
        if isinstance(word, StateVerdict):
            if word.sender == raft.leader:
                self._judged(word)
        elif raft.leader == raft.me and word.method == method_of(self._peer.machine):
            self._reported(word)

    # -- the leader

    def _reported(self, report: StateReport) -> None:
        for sample in report.samples:
            self._reports.setdefault(sample.index, {})[report.sender] = sample
        while len(self._reports) > ALARM_KEPT:
            del self._reports[min(self._reports)]
        for sample in report.samples:
            own = self.sampling.samples.get(sample.index)
            if own is not None:
                self._compare(own)

    def _compare(self, own: Sample) -> None:
        """What is known of the states at this index."""
        raft = self._peer.raft
        membership = raft.membership
        if membership is None:
            return
        reports = self._reports.get(own.index, {})
        found = {raft.me: own}
        for member in membership.everyone():
            sample = reports.get(member)
            if sample is not None and sample.first == own.first:
                found[member] = sample
        different = [member for member, sample in found.items() if sample.digest != own.digest]
        for member in found:
            if member not in different:
                self._alike[member] = max(self._alike.get(member, 0), own.index)
        if different:
            wanted = self._wanted(own, found, membership)
            if wanted is not None:
                self._condemn(own, wanted, found)
        elif self._told and all(member in found or not membership.is_voter(member) for member in self._told):
            self._tell(own, (), 0, 0)

    def _wanted(self, own: Sample, found: dict[Member, Sample], membership: Membership) -> int | None:
        """The digest that counts; None: a voter who is silent so far may tell."""
        voters = [member for member in membership.everyone() if membership.is_voter(member)]
        counts = Counter(found[member].digest for member in voters if member in found)
        digest, most = counts.most_common(1)[0] if counts else (own.digest, 0)
        if 2 * most > len(voters):
            self._doubt_ms = None
            return digest
        silent = [member for member in voters if member not in found]
        now = self._peer.raft.replica.now
        if self._doubt_ms is None:
            self._doubt_ms = now
            names = ", ".join(str(member.peer) for member in silent)
            if silent:
                self._note(f"the states after index {own.index} differ; {names} may tell which one counts")
        if 2 * (most + len(silent)) > len(voters) and now - self._doubt_ms < ALARM_PATIENCE_MS:
            return None
        self._doubt_ms = None
        return own.digest

    def _condemn(self, own: Sample, wanted: int, found: dict[Member, Sample]) -> None:
        odd = tuple(member for member, sample in found.items() if sample.digest != wanted)
        right = next(sample for sample in found.values() if sample.digest == wanted)
        differences = [_first_difference(right, found[member]) for member in odd]
        exact = min((index for index in differences if index), default=0)
        alike = self._alike_with(odd, found)
        self._tell(msgspec.structs.replace(own, digest=wanted), odd, alike, exact)
        if self._peer.raft.me in odd:
            self._stop(own.index, alike, exact)

    def _alike_with(self, odd: tuple[Member, ...], found: dict[Member, Sample]) -> Index:
        """The last sample in which who is odd was like who is not."""
        me = self._peer.raft.me
        others = [member for member in found if (member in odd) != (me in odd)]
        return min((self._alike.get(member, 0) for member in others), default=0)

    def _tell(self, wanted: Sample, odd: tuple[Member, ...], alike: Index, exact: Index) -> None:
        """Everybody hears of it once; who is odd, whenever it reports again."""
        raft = self._peer.raft
        is_news, self._told = odd != self._told, odd
        everyone = raft.membership.everyone() if raft.membership is not None else ()
        for member in everyone:
            if member != raft.me and (is_news or member in odd):
                verdict = StateVerdict(
                    raft.me, member, raft.current_term, wanted.index, wanted.digest, list(odd), alike, exact
                )
                self._send(verdict)
        if is_news:
            self._stand(odd, wanted.index, alike, exact)

    # -- everybody

    def _judged(self, verdict: StateVerdict) -> None:
        own = self.sampling.samples.get(verdict.index)
        if self._peer.raft.me in verdict.odd:
            # Who was started anew since may have come to another state, or to none that is known, at this index.
            if own is not None and own.digest != verdict.digest:
                self._stop(verdict.index, verdict.alike, verdict.exact)
        else:
            self._told = tuple(verdict.odd)
            self._stand(self._told, verdict.index, verdict.alike, verdict.exact)

    def _stand(self, odd: tuple[Member, ...], index: Index, alike: Index, exact: Index) -> None:
        names = ", ".join(str(member.peer) for member in odd)
        if odd:
            self.standing = f"{names} diverged: {_between(index, alike, exact)}; {NEXT}"
            self._note(self.standing)
        elif self.standing:
            self.standing = ""
            self._note(f"all states are alike after index {index}")

    def _stop(self, index: Index, alike: Index, exact: Index) -> None:
        raise ReplicaFault(f"its state diverged from that of its group: {_between(index, alike, exact)}; {NEXT}")

    def _note(self, text: str) -> None:
        self._peer.note(text, is_alarm=True)


def _between(index: Index, alike: Index, exact: Index) -> str:
    """Where to look."""
    since = f"alike after index {alike}, " if alike else ""
    return f"{since}another one after index {index}" + (f", entry {exact} had another effect" if exact else "")


def _first_difference(one: Sample, other: Sample) -> Index:
    """The first entry whose effects differ; 0: none of those that were noted."""
    pairs = enumerate(zip(one.effects, other.effects, strict=False), one.first)
    return next((index for index, (mine, theirs) in pairs if mine != theirs), 0)
