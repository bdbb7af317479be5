"""Commit validity: what is committed is durable on a quorum of every configuration in force.

Formula: when a leader of term T moves its commit index to i: the entry at i is of term T, and each voter set of its
configuration in force has a majority of members whose *disk* holds the log up to i. Only a leader is the first to
commit. Source: §3.6.2, §4.3, §10.2.1; I6, BM-020, BM-090. Disks are the ghost's, fed by completions; see `durability`
for proof that completions tell the truth.
"""

from __future__ import annotations

from zraft.sim.checks.ghost import Ledger, Mark, Step, Violation
from zraft.types import Member


def check(step: Step) -> None:
    """A commit index that this step moved; runs before the ledger learns of it."""
    replica, node, ledger = step.replica, step.node, step.ledger
    commit_index = replica.commit_index
    if commit_index <= node.commit_index:
        return
    mark = node.log.at(commit_index)
    if mark is None:
        raise Violation("commit validity", f"{node.me} commits {commit_index} inside a batch or after {node.log.end}")
    if commit_index <= ledger.committed.end.last:
        return
    led = node.is_leader and node.term == replica.current_term  # it may step down by committing its own removal
    if replica.leader != replica.me and not led:
        raise Violation("commit validity", f"{node.me} commits {commit_index} before any leader did")
    if mark.term != replica.current_term:
        raise Violation("commit validity", f"{node.me} commits {mark} by counting in term {replica.current_term}")
    # The next step of a membership change is appended after, and because of, the commit: it did not decide it.
    later = [appended.last for appended in step.appended]
    in_force = [found.membership for found in node.log.configurations if found.last not in later]
    configuration = in_force[-1] if in_force else None
    if configuration is None:
        raise Violation("commit validity", f"{node.me} commits without a configuration")
    for voters in (configuration.voters, configuration.outgoing):
        holders = [voter for voter in voters if _holds(ledger, voter, mark)]
        if voters and len(holders) <= len(voters) // 2:
            names = ", ".join(map(str, holders))
            raise Violation("commit validity", f"{node.me} commits {mark} durable only on {names or 'nobody'}")


def _holds(ledger: Ledger, member: Member, mark: Mark) -> bool:
    node = ledger.nodes.get(member)
    found = node.vouched.at(mark.last) if node is not None else None
    return found is not None and found.digest == mark.digest
