"""State machine safety: no two replicas take different entries for committed at one index.

Formula: committed[i] is single-valued; also the digest of the machine's state after applying up to i, where it is
reported. Source: §3.6.3, Figure 3.2; I5. The first replica to commit an index writes it into the ledger; every other
must agree.
"""

from __future__ import annotations

from zraft.sim.checks.ghost import Ledger, Step, Violation
from zraft.types import Index, Member


def check(step: Step) -> None:
    """What this step committed, against the ledger, which grows by what is new."""
    ledger, node, commit_index = step.ledger, step.node, step.replica.commit_index
    if commit_index <= node.commit_index:
        return
    end = ledger.committed.end.last
    if node.commit_index < end:
        last = min(end, commit_index)
        mine, theirs = node.log.at(last), ledger.committed.at(last)
        if mine is None or theirs is None or mine.digest != theirs.digest:
            raise Violation("state machine safety", f"{node.me} commits {mine} where {theirs} is committed")
    if commit_index > end:
        term = max(step.replica.current_term, ledger.commit_terms[-1] if ledger.commit_terms else 0)
        for mark in node.log.between(end, commit_index):
            ledger.committed.append(mark)
            ledger.commit_terms.append(term)
        if ledger.committed.end.last != commit_index:
            raise Violation("state machine safety", f"{node.me} commits {commit_index}, its log ends at {node.log.end}")


class States:
    """Digests of machine states, by the index that they are after."""

    def __init__(self) -> None:
        self._digests: dict[Index, tuple[object, Member]] = {}

    def check(self, ledger: Ledger, member: Member, applied: Index, digest: object) -> None:
        """`member` has applied up to `applied`, and its state has this digest."""
        if applied > ledger.committed.end.last:
            raise Violation("state machine safety", f"{member} applied {applied}, which nobody has committed")
        other, first = self._digests.setdefault(applied, (digest, member))
        if other != digest:
            raise Violation("state machine safety", f"after {applied} {member} has {digest}, {first} had {other}")
