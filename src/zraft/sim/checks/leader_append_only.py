"""Leader append-only, and no truncation of what is committed.

Formulas: a replica that led T before a step and leads T after it removed nothing from its log (§3.5, Figure 3.2; I2);
no replica removes an entry at or below its own commit index (I8, BM-015).
"""

from __future__ import annotations

from zraft.sim.checks.ghost import Step, Violation


def check(step: Step) -> None:
    """What this step removed from the log."""
    out, node, replica, me = step.out, step.node, step.replica, step.node.me
    if not out.truncate_from and out.reset_to is None:
        return
    if node.is_leader and replica.leader == replica.me and replica.current_term == node.term:
        raise Violation("leader append-only", f"{me} leads term {node.term} and truncates from {out.truncate_from}")
    if out.truncate_from and out.truncate_from <= node.commit_index:
        raise Violation("truncation", f"{me} committed {node.commit_index} and truncates from {out.truncate_from}")
    if out.reset_to is not None and out.reset_to.index < node.commit_index:
        raise Violation("truncation", f"{me} committed {node.commit_index} and resets to {out.reset_to.index}")
