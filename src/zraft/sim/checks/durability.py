"""What was durable is there after every crash, and nothing comes back from the dead.

Formulas, when a replica starts again on its disk: D1 its log holds every batch that was reported durable and not
truncated since, D2 it is contiguous, its batches were once in its log, and none is beyond what its last life had; D3
its term is not below the durable one, and the vote of that term is the durable one. Source: §3.8; BM-001, BM-002,
BM-027, BM-034. The same is asked, now and then, of the image that a power loss at this very moment would leave.
Who says that its disk lost something may have lost anything, and abstains: D4 its term is larger than any before, D5
when it votes again its disk holds what it would hold if nothing had been lost (BM-095, BM-096). What is lost and not
said violates D1.
"""

from __future__ import annotations

import msgspec

from zraft.core.entries import HardState, SnapshotMark
from zraft.core.replica import Replica
from zraft.sim.checks.ghost import GhostNode, Ledger, Mark, Trail, Violation
from zraft.types import Index, Term


class Found(msgspec.Struct, frozen=True):
    """What recovery found of one replica: the batches after `mark` by last index and term."""

    hard_state: HardState
    mark: SnapshotMark
    lasts: list[Index]
    terms: list[Term]


def found_by(replica: Replica) -> Found:
    """What a replica goes on from that has heard of nothing yet."""
    lasts, terms, _ = replica.log.parts()
    mark = SnapshotMark(replica.log.base_index, replica.log.base_term)
    state = HardState(replica.current_term, replica.voted_for, replica.abstains_below)
    return Found(state, mark, list(lasts), list(terms))


def check_recovered(ledger: Ledger, node: GhostNode, recovered: Found) -> Trail:
    """What recovery found, against the ghost of the disk. Returns it as the trail of the new life's log."""
    state, found = node.disk_state, recovered.hard_state
    if found.term < state.term or (found.term == state.term and state.voted_for not in (None, found.voted_for)):
        raise Violation("durability D3", f"{node.me} comes back with {found}, durable was {state}")
    trail = _trail(ledger, node, recovered)
    if has_lost(node, found):
        if found.term <= state.term or found.abstains_below <= state.term:
            raise Violation("durability D4", f"{node.me} lost data and comes back with {found}, durable was {state}")
        return trail
    if found.abstains_below and node.promised is not None:
        return trail  # what it has does not count yet: it may be a snapshot that the journal had not heard of
    durable = node.disk.end
    is_kept = _holds(trail, durable) or _was_truncated(node, durable.last) or _was_replaced(node, trail, recovered.mark)
    if durable.last and not is_kept:
        raise Violation("durability D1", f"{node.me} comes back with {trail.end}, durable was {durable}")
    if trail.end.last and found.term < trail.end.term:
        raise Violation("durability D3", f"{node.me} comes back in term {found.term} with {trail.end}")
    return trail


def has_lost(node: GhostNode, found: HardState) -> bool:
    """It says so, and had not when it last ended."""
    return found.abstains_below > node.disk_state.abstains_below


def check_whole(node: GhostNode) -> None:
    """It abstains no longer, and its disk says so.

    In memory a snapshot ends it before the journal has begun anew behind that; votes leave after both.
    """
    promised = node.promised
    if promised is not None and promised.end.digest != node.disk.end.digest:
        raise Violation("durability D5", f"{node.me} votes again with {node.disk.end}, promised was {promised.end}")


def _trail(ledger: Ledger, node: GhostNode, recovered: Found) -> Trail:
    trail, mark = Trail(), recovered.mark
    if mark.index:
        committed = ledger.committed.at(mark.index)
        if committed is None or committed.term != mark.term:
            raise Violation("durability D2", f"{node.me} has a snapshot at {mark}, committed is {committed}")
        trail.become(ledger.committed, mark.index)
    for last, term in zip(recovered.lasts, recovered.terms, strict=True):
        known = ledger.known.get((last, term))
        if known is None:
            raise Violation("durability D2", f"{node.me} comes back with ({last}, {term}), which was in no log")
        trail.append(known)
    return trail


def _holds(trail: Trail, mark: Mark) -> bool:
    found = trail.at(mark.last)
    return found is not None and found.digest == mark.digest


def _was_truncated(node: GhostNode, index: Index) -> bool:
    """A save that was under way truncated or reset it: either state of the disk is right."""
    return any((save.truncate_from and save.truncate_from <= index) or save.reset_to is not None for save in node.saves)


def _was_replaced(node: GhostNode, trail: Trail, mark: SnapshotMark) -> bool:
    """A snapshot that the log does not lead to takes the place of all of it (§5.1)."""
    if not mark.index:
        return False
    mine, theirs = node.disk.at(mark.index), trail.at(mark.index)
    return mine is None or theirs is None or mine.digest != theirs.digest
