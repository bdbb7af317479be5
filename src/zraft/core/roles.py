"""The four roles, each owning the data that only it has (§3.4). Whoever changes role loses what the old one knew.

    Follower ──timeout──> PreCandidate ──majority would──> Candidate ──majority voted──> Leader
        ^                      │ refused, leader heard       │ larger term, leader heard    │ larger term, no quorum
        └──────────────────────┴─────────────────────────────┴──────────────────────────────┘

A learner is a follower whose configuration does not let it vote, a blank replica one that has no configuration.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import ClassVar, Final, TypeAlias, final

from zraft.core.progress import Progress
from zraft.types import Index, Member, Millis, Term

NEVER: Final[Millis] = 1 << 62
"""A deadline that no clock reaches: whoever has it is quiet."""


@final
@dataclass(slots=True, eq=False)
class Follower:
    """Follows `leader`, once it has heard of one in this term."""

    election_due_ms: Millis
    leader: Member | None = None
    reads: dict[int, tuple[int, Millis]] = field(default_factory=dict)
    """Reads that the leader was asked about: own number -> (caller's ref, when asked)."""
    time_offset: Millis = 0
    """While quiet: replicated time minus the local clock, as it was then."""

    @property
    def is_quiet(self) -> bool:
        """It waits for no election: it trusts its leader's node (`quiet`)."""
        return self.election_due_ms >= NEVER


@final
@dataclass(slots=True, eq=False)
class PreCandidate:
    """Asks whether an election could be won, without disturbing anybody (§9.6)."""

    is_quiet: ClassVar[bool] = False
    election_due_ms: Millis
    votes: dict[Member, bool] = field(default_factory=dict)


@final
@dataclass(slots=True, eq=False)
class Candidate:
    """Asks for votes in the current term. Its own vote counts when it is durable, like any other (§3.8)."""

    is_quiet: ClassVar[bool] = False
    election_due_ms: Millis
    own_vote_save: int
    """Number of the save that makes the own vote durable."""
    votes: dict[Member, bool] = field(default_factory=dict)


@final
@dataclass(slots=True, eq=False)
class PendingRead:
    """A read whose leader has yet to prove itself: `ref` of the caller, or the asker and its number."""

    ref: int
    asker: Member | None = None


@final
@dataclass(slots=True, eq=False)
class CatchUp:
    """A learner on its way to a vote, in rounds (§4.2.1): each must bring it to where the log ended when it began."""

    goal: Index
    began_ms: Millis
    match_index: Index = 0
    progressed_ms: Millis = 0
    is_done: bool = False


@final
@dataclass(slots=True, eq=False)
class Transfer:
    """Leadership is being handed to `to` (§3.10)."""

    ref: int
    to: Member
    due_ms: Millis
    is_told: bool = False


@final
@dataclass(slots=True, eq=False)
class Leader:
    """Replicates. There is at most one of its `term` (I1)."""

    progress: dict[Member, Progress]
    """Every member but itself, in the order of the configuration."""
    term: Term
    term_start: Index
    """Index of its no-op: nothing counts before this is committed (§3.6.2, §6.4, §4.1)."""
    time_offset: Millis
    """Replicated time minus the local clock: time goes on from the largest that was seen."""
    heartbeat_due_ms: Millis
    quorum_due_ms: Millis
    """From when on silence counts against it: everybody has an election timeout to answer at first."""
    round: int = 0
    """Number of the last heartbeat round; never reused within the term (BM-064)."""
    reads: list[PendingRead] = field(default_factory=list)
    """Waiting for `read_round` to be confirmed."""
    read_round: int = 0
    read_index: Index = 0
    next_reads: deque[PendingRead] = field(default_factory=deque)
    """Arrived since that round began; they share the next one."""
    change_refs: list[int] = field(default_factory=list)
    """Callers that wait for the membership change under way."""
    catch_up: dict[Member, CatchUp] = field(default_factory=dict)
    transfer: Transfer | None = None
    departed: tuple[Member, ...] = ()
    """Whom the configuration in force left out; they are told when it is committed."""
    idle_beats: int = 0
    """Heartbeats since anything happened."""
    idle_mark: tuple[Index, int] = (0, 0)
    """Last index and round, as they are at the next heartbeat if nothing happens."""
    agreed: dict[Member, None] = field(default_factory=dict)
    """Followers that agreed to be quiet."""

    @property
    def is_quiet(self) -> bool:
        """No heartbeat is due: everybody agreed (`quiet`)."""
        return self.heartbeat_due_ms >= NEVER


Role: TypeAlias = Follower | PreCandidate | Candidate | Leader
