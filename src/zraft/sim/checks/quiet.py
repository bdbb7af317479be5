"""A leader is quiet only when nobody lacks anything.

Formula: a leader is quiet => its last entry is of its own term and committed, and the disks of all members hold the
same log up to there. Stronger than `core.quiet.is_idle`, which knows what the members said. Looked at after every step
of a quiet leader.
"""

from __future__ import annotations

from zraft.core.roles import Leader
from zraft.sim.checks.ghost import Step, Violation


def check(step: Step) -> None:
    """Of whoever took the step."""
    role, replica = step.replica.role, step.replica
    if type(role) is not Leader or not role.is_quiet:
        return
    end = step.node.log.end
    if end.term != replica.current_term or end.last != replica.commit_index:
        raise Violation("quiet", f"{replica.me} is quiet with {end}, committed is {replica.commit_index}")
    for member in role.progress:
        disk = step.ledger.node(member).disk
        found = disk.at(end.last)
        if found is None or found.digest != end.digest:
            raise Violation("quiet", f"{replica.me} is quiet at {end}, {member} holds {disk.end}")
