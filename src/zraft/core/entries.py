"""What a log is made of: batches. The batch, not the entry, is the unit of the log.

A leader makes a batch of all that arrived in one turn. From then on nobody splits it: not a message, not the journal,
not a truncation, not a snapshot. So every log that holds (index, term) of a batch's last entry holds exactly that
batch, `prev_index` is always the last index of a batch, and no work is done per entry before apply.

    index   1     2 3 4     5     6 7
    batch  [c]   [. . .]   [n]   [. .]        c configuration, n no-op, . commands
    term    1     1         2     2
"""

from __future__ import annotations

from enum import IntEnum

import msgspec

from zraft.types import Index, Member, Millis, Term


class Kind(IntEnum):
    """What a batch carries. A kind that this version does not know stops the peer: nothing is ever skipped (BM-117)."""

    NOOP = 0
    """Exactly one entry without payload: a new leader's first (§3.6.2)."""
    COMMANDS = 1
    """`payload` is what the machine understands: an array of `count` items. The core never looks inside."""
    CONFIGURATION = 2
    """Exactly one entry; `payload` is an encoded `Membership`."""
    TIME = 3
    """Exactly one entry without payload: replicated time moves on because the machine has something due."""


class Batch(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Consecutive entries of one term, made at one moment by one leader."""

    first: Index
    """Index of the first entry; at least 1."""
    count: int
    """Entries in the batch; at least 1."""
    term: Term
    """Term of the leader that made it; at least 1."""
    time: Millis
    """Replicated time: milliseconds since the group's birth. Never decreases along a log."""
    wall: int
    """The leader's wall clock in milliseconds since 1970, informative only; 0 where the core made the batch itself."""
    kind: int
    """A `Kind`; an int here so that an unknown one arrives and can be refused with its number."""
    payload: bytes

    @property
    def last(self) -> Index:
        """Index of the last entry."""
        return self.first + self.count - 1


class Membership(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The content of a configuration entry. It takes effect when appended, not when committed (§4.1).

    | situation        | voters | outgoing | learners | target  |
    |------------------|--------|----------|----------|---------|
    | stable           | all    | –        | –        | –       |
    | catching up      | old    | –        | joining  | new set |
    | joint (§4.3)     | new    | old      | –        | –       |

    `target` lets the next leader finish a change whose leader was lost while the learners caught up.
    """

    voters: tuple[Member, ...]
    outgoing: tuple[Member, ...] = ()
    learners: tuple[Member, ...] = ()
    target: tuple[Member, ...] = ()

    @property
    def is_joint(self) -> bool:
        """Decisions need a majority of `voters` and one of `outgoing`."""
        return bool(self.outgoing)

    @property
    def is_stable(self) -> bool:
        """No change is under way."""
        return not (self.outgoing or self.learners or self.target)

    def everyone(self) -> tuple[Member, ...]:
        """Voters, outgoing voters and learners, each once, in this order."""
        return tuple(dict.fromkeys((*self.voters, *self.outgoing, *self.learners)))

    def is_voter(self, member: Member) -> bool:
        """Its vote and its acknowledgements count."""
        return member in self.voters or member in self.outgoing


class SnapshotMark(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where a snapshot stands: it replaces the log up to and including `index` (§5.1). All zero: no snapshot.

    `index` is always the last index of a batch. `membership` is the configuration as of `index`, appended at
    `membership_index`; None only where the group has none yet (a blank replica).
    """

    index: Index = 0
    term: Term = 0
    time: Millis = 0
    membership_index: Index = 0
    membership: Membership | None = None


class HardState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What must be durable before any promise (§3.8): the term, and the vote cast in it (None: none yet)."""

    term: Term = 0
    voted_for: Member | None = None
    abstains_below: Term = 0
    """It lost part of its log: it votes again when that ends with an entry of this term or a later one. 0: it votes."""
