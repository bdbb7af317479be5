"""What the simulator remembers of a group, beside the product: trails of logs, disks and the committed ledger.

A log is remembered as a trail: per batch its last index, its term and the digest of everything up to it. Two trails
that have the same digest at an index are equal up to there, so most checks compare one number. A trail begins at
index 1 for ever: what a snapshot replaced stays in it.

Relies on `Output` being reported after every step, and every `Saved` event. Costs per batch, not per entry.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque

import google_crc32c
import msgspec

from zraft.core.entries import Batch, HardState, Kind, Membership, SnapshotMark
from zraft.core.events import Event
from zraft.core.memberships import decode_membership
from zraft.core.output import Output
from zraft.core.progress import Progress
from zraft.core.replica import Replica
from zraft.errors import ZraftError
from zraft.types import Index, Member, Term


class Violation(ZraftError):
    """A property does not hold. `name` is the property's, the text has both sides of the contradiction."""

    def __init__(self, name: str, text: str) -> None:
        self.name, self.text = name, text
        super().__init__(f"{name}: {text}")


class Mark(msgspec.Struct, frozen=True, gc=False):
    """One batch of a trail: `digest` is of the whole log up to and including it."""

    last: Index
    term: Term
    digest: int
    membership: Membership | None = None
    """Of a configuration entry."""
    batch: Batch | None = None
    """What it is the mark of; None for `START`."""

    def __str__(self) -> str:
        return f"({self.last}, term {self.term}, {self.digest & 0xFFFF:04x})"


START = Mark(0, 0, 0)
"""Before the first batch."""


def mark_after(before: Mark, batch: Batch) -> Mark:
    """The mark of `batch` in a log that ends with `before`."""
    fields = b"%d %d %d %d %d %d" % (before.digest, batch.first, batch.count, batch.term, batch.time, batch.kind)
    payload = google_crc32c.value(batch.payload)
    digest = google_crc32c.value(fields) << 32 | google_crc32c.extend(payload, fields)
    membership = decode_membership(batch.payload) if batch.kind == Kind.CONFIGURATION else None
    return Mark(batch.last, batch.term, digest, membership, batch)


class Trail:
    """The batches of one log, from the first one on."""

    __slots__ = ("configurations", "lasts", "marks")

    def __init__(self) -> None:
        self.lasts: list[Index] = []
        self.marks: list[Mark] = []
        self.configurations: list[Mark] = []
        """The marks that are configuration entries."""

    @property
    def end(self) -> Mark:
        """The last batch."""
        return self.marks[-1] if self.marks else START

    def at(self, index: Index) -> Mark | None:
        """The batch that ends at `index`; None where none does."""
        if index == 0:
            return START
        place = bisect_left(self.lasts, index)
        return self.marks[place] if place < len(self.lasts) and self.lasts[place] == index else None

    def term_at(self, index: Index) -> Term:
        """The term of the entry at `index`, 0 where there is none."""
        place = bisect_left(self.lasts, index)
        return self.marks[place].term if index > 0 and place < len(self.lasts) else 0

    def between(self, after: Index, last: Index) -> list[Mark]:
        """The batches that end after `after`, up to `last`."""
        return self.marks[bisect_right(self.lasts, after) : bisect_right(self.lasts, last)]

    def append(self, mark: Mark) -> None:
        self.lasts.append(mark.last)
        self.marks.append(mark)
        if mark.membership is not None:
            self.configurations.append(mark)

    def truncate_from(self, index: Index) -> None:
        place = bisect_left(self.lasts, index)
        del self.lasts[place:]
        del self.marks[place:]
        while self.configurations and self.configurations[-1].last >= index:
            self.configurations.pop()

    def become(self, other: Trail, last: Index) -> None:
        """Equal to `other` up to `last`."""
        place = bisect_right(other.lasts, last)
        self.lasts, self.marks = other.lasts[:place], other.marks[:place]
        self.configurations = [mark for mark in self.marks if mark.membership is not None]


class GhostSave(msgspec.Struct, frozen=True):
    """A save that was issued: what becomes true of the disk when it is durable."""

    number: int
    hard_state: HardState | None
    truncate_from: Index
    reset_to: SnapshotMark | None
    marks: list[Mark]


class GhostNode:
    """One life of one replica, and its disk, which outlives the life."""

    def __init__(self, me: Member) -> None:
        self.me = me
        self.log = Trail()
        self.disk = Trail()
        self.disk_state = HardState()
        """The last hard state that was reported durable."""
        self.promised: Trail | None = None
        """Of one that lost part of its log and abstains: what its disk would hold if it had lost nothing."""
        self.is_up = False
        self.term: Term = 0
        self.voted_for: Member | None = None
        self.commit_index: Index = 0
        self.is_leader = False
        self.leading: Term = 0
        """The term it led last in this life; 0: none."""
        self.issued = 0
        self.completed = 0
        self.saves: deque[GhostSave] = deque()
        self.matches: dict[Member, tuple[Progress, Index]] = {}
        """As leader: the largest match index seen per follower, and where."""

    @property
    def vouched(self) -> Trail:
        """What others may take for stored there: an abstaining replica's word is kept by not voting."""
        return self.disk if self.promised is None else self.promised

    def start_life(self) -> None:
        """Everything volatile is new."""
        self.is_up, self.is_leader, self.leading = True, False, 0
        self.issued = self.completed = 0
        self.saves.clear()
        self.matches.clear()

    def saved(self, number: int, ledger: Ledger) -> None:
        """Every save up to `number` is durable."""
        self.completed = max(self.completed, number)
        while self.saves and self.saves[0].number <= number:
            save = self.saves.popleft()
            if save.hard_state is not None:
                self.disk_state = save.hard_state
            if save.truncate_from:
                self.disk.truncate_from(save.truncate_from)
            if save.reset_to is not None:
                self.disk.become(ledger.committed, save.reset_to.index)
            for mark in save.marks:
                self.disk.append(mark)
            if save.marks or save.reset_to is not None:
                self.promise()

    def promise(self) -> None:
        """A save of an abstaining replica, where nothing was lost: what is there stays, with what follows it (§3.5)."""
        promised, end = self.promised, self.disk.end
        if promised is None:
            return
        known = promised.at(end.last)
        if known is None or known.digest != end.digest:
            promised.become(self.disk, end.last)


class Ledger:
    """What the group as a whole has done."""

    def __init__(self) -> None:
        self.committed = Trail()
        """Every batch that any replica ever took for committed."""
        self.commit_terms: list[Term] = []
        """Parallel to it: the largest term in which it, or one before it, was first seen committed."""
        self.leader_of: dict[Term, Member] = {}
        self.known: dict[tuple[Index, Term], Mark] = {}
        """Every batch that was ever in any log, by the (last index, term) that names it."""
        self.nodes: dict[Member, GhostNode] = {}

    def node(self, me: Member) -> GhostNode:
        """The ghost of this member, made when it is first seen."""
        ghost = self.nodes.get(me)
        if ghost is None:
            ghost = self.nodes[me] = GhostNode(me)
        return ghost


class Step:
    """One step of one replica, as every check sees it: `node` is from before it, `replica` and `out` from after it.

    The trail `node.log` is already that of after the step; `appended` are the marks that this step added.
    """

    __slots__ = ("appended", "event", "ledger", "node", "out", "replica")

    def __init__(self, ledger: Ledger, node: GhostNode, replica: Replica, event: Event, out: Output) -> None:
        self.ledger, self.node, self.replica, self.event, self.out = ledger, node, replica, event, out
        self.appended: list[Mark] = []
