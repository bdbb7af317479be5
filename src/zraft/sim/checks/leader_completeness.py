"""Leader completeness: what was committed in an earlier term is in the log of every later leader.

Formula: at become_leader(T), log contains every entry committed in a term below T. Source: §3.6.3, Figure 3.2; I4.
One digest at the last such entry compares the whole prefix. The term of a commit is that of the leader that was first
seen to take it for committed, or larger, which makes the check weaker, never wrong.
"""

from __future__ import annotations

from bisect import bisect_left

from zraft.sim.checks.ghost import Step, Violation


def check(step: Step) -> None:
    """A replica that became leader in this step."""
    replica, node, ledger = step.replica, step.node, step.ledger
    if replica.leader != replica.me or node.leading == replica.current_term:
        return
    count = bisect_left(ledger.commit_terms, replica.current_term)
    if not count:
        return
    wanted = ledger.committed.marks[count - 1]
    found = node.log.at(wanted.last)
    if found is None or found.digest != wanted.digest:
        raise Violation(
            "leader completeness", f"{node.me} leads term {replica.current_term} with {found}, committed is {wanted}"
        )
