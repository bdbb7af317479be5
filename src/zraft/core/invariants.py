"""What must hold after every step. Production checks `check_step`, simulation `check_all` as well.

Numbers are those of docs/guarantees.md. A broken one raises InvariantViolation with both sides of it: the peer stops.
"""

from __future__ import annotations

from typing import NamedTuple

from zraft.core import quiet
from zraft.core.replica import Replica
from zraft.core.roles import Leader
from zraft.types import Index, Member, Term


class Watermarks(NamedTuple):
    """What only grows (I9), and the vote, which changes only with the term (I10)."""

    term: Term
    voted_for: Member | None
    commit_index: Index


def watermarks(replica: Replica) -> Watermarks:
    """As they are now."""
    return Watermarks(replica.current_term, replica.voted_for, replica.commit_index)


def check_step(replica: Replica, before: Watermarks) -> None:
    """I9, I10 and commit within the log: a handful of comparisons, cheap enough for every step."""
    term, voted_for, commit_index = before
    if replica.current_term < term:
        replica.violated(f"I9: term fell from {term}")
    if replica.commit_index < commit_index:
        replica.violated(f"I9: commit index fell from {commit_index} to {replica.commit_index}")
    if replica.commit_index > replica.log.last_index:
        replica.violated(f"commit index {replica.commit_index} beyond {replica.log!r}")
    if replica.current_term == term and voted_for is not None and replica.voted_for != voted_for:
        replica.violated(f"I10: vote changed from {voted_for} to {replica.voted_for}")


def check_all(replica: Replica) -> None:
    """Everything that one replica can know of itself."""
    check_log(replica)
    check_membership(replica)
    role = replica.role
    if type(role) is Leader:
        check_progress(replica, role)
        if role.is_quiet and not quiet.is_idle(replica, role):
            replica.violated(f"quiet, and somebody waits for something: {replica.log!r}, {role}")


def check_log(replica: Replica) -> None:
    """The four statements of `log.Log`."""
    log = replica.log
    lasts, terms, window = log.parts()
    if len(lasts) != len(terms) or not 0 <= window <= len(lasts):
        replica.violated(f"log parts disagree: {len(lasts)} indexes, {len(terms)} terms, window {window}")
    before_index, before_term = log.base_index, log.base_term
    for index, term in zip(lasts, terms, strict=True):
        if index <= before_index or term < before_term:
            replica.violated(f"log goes from ({before_index}, {before_term}) to ({index}, {term})")
        before_index, before_term = index, term
    if before_term > replica.current_term:
        replica.violated(f"log has term {before_term}")
    if replica.saves.durable_index > log.last_index:
        replica.violated(f"durable index {replica.saves.durable_index} beyond {log!r}")


def check_membership(replica: Replica) -> None:
    """M2: a leader appends a configuration only once the one before is committed.

    It cannot be asked of those that it inherited: its own commit index may be behind the one of who appended them.
    """
    current = replica.memberships.current_index
    before, _ = replica.memberships.as_of(current - 1)
    role = replica.role
    if type(role) is Leader and current > role.term_start and before > replica.commit_index:
        replica.violated(f"M2: configurations {before} and {current} are both uncommitted ({replica.commit_index})")


def check_progress(replica: Replica, role: Leader) -> None:
    """I11: match < next <= last + 1 for every follower; the own no-op is in the log."""
    for member, progress in role.progress.items():
        if not progress.match_index < progress.next_index <= replica.log.last_index + 1:
            replica.violated(
                f"I11: {member} match {progress.match_index} next {progress.next_index} last {replica.log.last_index}"
            )
        prev_index = progress.next_index - 1
        if prev_index > replica.log.base_index and not replica.log.is_boundary(prev_index):
            replica.violated(f"next index {progress.next_index} of {member} would split a batch")
    if replica.log.last_index < role.term_start:
        replica.violated(f"leads from {role.term_start} with {replica.log!r}")
