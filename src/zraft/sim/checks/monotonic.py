"""Term, vote, commit index and the numbers of saves move one way.

Formulas: current_term and commit_index never decrease in a life; voted_for changes only with the term, or from None.
Source: §3.3, §3.8; I9, I10, BM-003, BM-007, BM-019. Across lives see `durability`.
"""

from __future__ import annotations

from zraft.sim.checks.ghost import Step, Violation


def check(step: Step) -> None:
    """The replica against what it was before the step."""
    node, replica = step.node, step.replica
    term = replica.current_term
    if term < node.term:
        raise Violation("monotonic", f"{node.me}: term {node.term}, then {term}")
    if replica.commit_index < node.commit_index:
        raise Violation("monotonic", f"{node.me}: commit index {node.commit_index}, then {replica.commit_index}")
    if term == node.term and node.voted_for is not None and replica.voted_for != node.voted_for:
        raise Violation("monotonic", f"{node.me} voted for {node.voted_for}, then {replica.voted_for} in term {term}")
    if step.out.save and step.out.save != node.issued + 1:
        raise Violation("monotonic", f"{node.me}: save {step.out.save} after {node.issued}")
