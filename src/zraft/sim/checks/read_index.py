"""Read index: a read sees everything that was committed anywhere before it arrived.

Formula: ReadReady(ref, index) => index >= the ledger's last index when Read(ref) was given to the replica. Source:
§6.4; BM-063, BM-064, BM-067. Stronger than what clients can observe, and true: a majority followed the leader after
the read arrived, so nobody else had been elected before that, and an entry of its own term tells it all earlier
commits. Cannot see: what is done with the state that was read; for that see `witness`.
"""

from __future__ import annotations

from zraft.core.events import Read
from zraft.sim.checks.ghost import Step, Violation
from zraft.types import Index, Member


class ReadIndexes:
    """Reads that were asked for, with what was committed then."""

    def __init__(self) -> None:
        self._floors: dict[tuple[Member, int], Index] = {}

    def restart(self, member: Member) -> None:
        """A new life of `member` counts its reads anew."""
        for key in [key for key in self._floors if key[0] == member]:
            del self._floors[key]

    def check_asked(self, step: Step) -> None:
        """A read arrives; to be called before the ledger learns what this step commits."""
        if type(step.event) is Read:
            self._floors[step.node.me, step.event.ref] = step.ledger.committed.end.last

    def check_ready(self, step: Step) -> None:
        """Reads that may run now."""
        for ready in step.out.reads_ready:
            floor = self._floors.pop((step.node.me, ready.ref), 0)
            if ready.index < floor:
                raise Violation("read index", f"{step.node.me} reads at {ready.index}, {floor} was committed before")
