"""What the surviving folders of a broken group add up to: which one is the most complete, and what may be lost.

Reads only. `copies_in` says what a folder has of each group, `plan` compares the copies of a group as an election would
(§3.6.1): the log whose last entry has the largest term, and of those the longest, has everything that was committed,
if it is the best of a majority. How far something was committed is on no disk; a snapshot is of committed entries only.

A copy can be brought back up to `end`: its state at a snapshot, or none where the log begins at 1, and the log from
there on, as far as it has no gap.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from zraft.core.entries import Membership
from zraft.core.memberships import MembershipHistory
from zraft.storage.disk import Disk
from zraft.storage.recovery import Survey, survey
from zraft.storage.replica import ReplicaMeta, is_kept_aside
from zraft.types import GroupId, Index, Member, Term


class Shot(msgspec.Struct, frozen=True):
    """A snapshot that belongs to a copy. `problem`: why it is of no use; "" where every byte was checked."""

    index: Index
    term: Term
    path: str
    problem: str = ""


class Copy(msgspec.Struct, frozen=True):
    """One replica's data in one folder. (`last_index`, `last_term`): the end of its log before the first gap."""

    folder: str
    meta: ReplicaMeta
    term: Term
    log_after: Index
    """The log begins after this index; what is before is in snapshots."""
    last_index: Index
    last_term: Term
    known_index: Index
    """The last entry that was ever seen there, readable or not; above `last_index` where something is missing."""
    membership: Membership | None
    shots: tuple[Shot, ...]
    fault: str
    """"" where everything that was durable is there."""
    has_left: bool
    """It had left the group, and was only kept."""

    @property
    def base(self) -> Shot | None:
        """The newest snapshot that its state can begin with; None: there is none, or the log begins at 1."""
        usable = [shot for shot in self.shots if not shot.problem and shot.index >= self.log_after]
        return max(usable, key=lambda shot: shot.index, default=None)

    @property
    def end(self) -> tuple[Term, Index] | None:
        """Up to where it can be brought back; None: not at all, the log begins after a snapshot that is missing."""
        base = self.base
        if base is None:
            return (self.last_term, self.last_index) if not self.log_after and self.last_index else None
        return max((self.last_term, self.last_index), (base.term, base.index))

    @property
    def is_sound(self) -> bool:
        """It has everything that it ever acknowledged."""
        return not self.fault and self.end is not None


class Plan(msgspec.Struct, frozen=True):
    """What can be done for one group."""

    group: GroupId
    copies: tuple[Copy, ...]
    """The most complete one first."""
    best: Copy | None
    """None: no copy can be brought back."""
    voters: tuple[Member, ...]
    """Of the newest configuration that is known."""
    missing: tuple[Member, ...]
    """Voters of whom no sound copy is here."""
    is_complete: bool
    """`best` has everything that was ever acknowledged, because a majority of the voters is here and sound."""
    committed: Index
    """At least up to here was committed."""


def copies_in(folder: str, disk: Disk, shots: dict[int, list[Shot]]) -> list[Copy]:
    """What a folder has of each of its replicas. `shots`: snapshots by incarnation.

    Raises CorruptData where neither state file can be read, StorageError where a newer program wrote it, OSError.
    """
    found = survey(disk)
    rotten = [owner for owner, trace in found.traces.items() if trace.rotten_lsn]
    left = survey(disk, rotten) if rotten else found
    return [_copy(folder, disk, found, left, owner, shots.get(owner, [])) for owner in found.traces]


def _copy(folder: str, disk: Disk, found: Survey, left: Survey, owner: int, shots: list[Shot]) -> Copy:
    """`left` has no log with a gap in it; `found` knows more, and cannot be relied on."""
    was, trace = found.traces[owner], left.traces[owner]
    recovered = trace.recovered(disk, tail_bytes=0).recovered
    hard_state = was.row.hard_state
    fault = str(was.fault or "")
    if not fault and hard_state.abstains_below and (recovered.terms or [0])[-1] < hard_state.abstains_below:
        fault = "it lost part of its log before, and had not got that back"
    if not fault and recovered.mark.index and not any(shot.index >= recovered.mark.index for shot in shots):
        fault = f"the log begins after {recovered.mark.index}, and no snapshot leads to it"
    mark = recovered.mark
    return Copy(
        folder,
        was.row.meta,
        hard_state.term,
        mark.index,
        recovered.lasts[-1] if recovered.lasts else mark.index,
        recovered.terms[-1] if recovered.terms else mark.term,
        max(was.index.last_index, was.mark.index, *(shot.index for shot in shots), 0),
        MembershipHistory(recovered).current,
        tuple(sorted(shots, key=lambda shot: shot.index)),
        fault,
        is_kept_aside(was.row.meta),
    )


def plans(copies: Iterable[Copy]) -> list[Plan]:
    """One for each group, in the order of their ids."""
    groups: dict[GroupId, list[Copy]] = {}
    for copy in copies:
        groups.setdefault(copy.meta.group, []).append(copy)
    return [_plan(group, groups[group]) for group in sorted(groups)]


def _plan(group: GroupId, copies: list[Copy]) -> Plan:
    ranked = sorted(copies, key=lambda copy: (not copy.has_left, copy.end or (0, 0), copy.is_sound), reverse=True)
    best = ranked[0] if ranked[0].end is not None and not ranked[0].has_left else None
    newest = max(copies, key=lambda copy: (copy.last_term, copy.last_index))
    membership = (best or newest).membership
    voters = membership.voters if membership is not None else ()
    outgoing = membership.outgoing if membership is not None else ()
    here = [copy.meta.incarnation for copy in copies if copy.is_sound and not copy.has_left]
    everyone = tuple(dict.fromkeys((*voters, *outgoing)))
    missing = tuple(member for member in everyone if member.incarnation not in here)
    has_majority = bool(voters) and all(_is_majority(part, missing) for part in (voters, outgoing) if part)
    marks = [copy.log_after for copy in copies] + [shot.index for copy in copies for shot in copy.shots]
    # What was committed is in the best sound log, and so in any other one that an election would prefer to that.
    is_complete = best is not None and has_majority
    return Plan(group, tuple(ranked), best, everyone, missing, is_complete, max(marks, default=0))


def _is_majority(voters: Sequence[Member], missing: Sequence[Member]) -> bool:
    return 2 * sum(voter not in missing for voter in voters) > len(voters)
