"""Configurations change one safe step at a time, and the one in force is the last one in the log.

Formulas: M1 two adjacent configurations share a voter set that both must win (so their quorums meet), or differ by
one voter; M2 a leader appends a configuration only when the one before is committed; M3 and only when an entry of its
own term is; M4 configuration in force = last one in (snapshot ++ log), at every step; M5 who leads is a voter of it;
M6 who leaves its group is no voter of the last committed one, when it is told so and when its data is put aside.
Source: §4.1, §4.3, the correction of 2015; BM-031 to BM-035.
"""

from __future__ import annotations

from zraft.core.entries import Membership
from zraft.core.events import Bootstrap
from zraft.sim.checks.ghost import Ledger, Mark, Step, Violation
from zraft.types import Member


def check(step: Step) -> None:
    """The configuration in force after this step, and the ones that the step appended."""
    node, replica = step.node, step.replica
    configurations = node.log.configurations
    expected = configurations[-1] if configurations else None
    in_force = replica.memberships.current_index
    if in_force != (expected.last if expected is not None else 0):
        raise Violation("membership M4", f"{node.me} follows the configuration at {in_force}, the log has {expected}")
    for mark in step.appended:
        if mark.membership is not None:
            _check_appended(step, mark)
    is_new = step.appended or step.out.role_change is not None or step.out.truncate_from
    if is_new and expected is not None and replica.membership != expected.membership:
        raise Violation("membership M4", f"{node.me} follows {replica.membership}, the log has {expected.membership}")


def check_new_leader(step: Step) -> None:
    """M5, when leadership begins: learners and removed replicas never lead."""
    replica, configurations = step.replica, step.node.log.configurations
    if replica.leader != replica.me or step.node.leading == replica.current_term:
        return
    membership = configurations[-1].membership if configurations else None
    before = configurations[-2].membership if len(configurations) > 1 else None
    if not any(known is not None and known.is_voter(replica.me) for known in (membership, before)):
        raise Violation("membership M5", f"{replica.me} leads and is no voter of {membership}")


def check_left(step: Step) -> None:
    """M6, when a replica says that it is needed no longer."""
    configurations = step.ledger.committed.configurations
    last = configurations[-1].membership if configurations else None
    if step.out.left and (last is None or last.is_voter(step.node.me)):
        raise Violation("membership M6", f"{step.node.me} leaves as of {step.out.left} and is a voter of {last}")


def check_departed(ledger: Ledger, member: Member) -> None:
    """M6, when its data is put aside: nobody counts on it by then, whatever it was when it was told to go."""
    configurations = ledger.committed.configurations
    last = configurations[-1].membership if configurations else None
    if last is not None and last.is_voter(member):
        raise Violation("membership M6", f"{member} is gone and is a voter of {last}")


def _check_appended(step: Step, mark: Mark) -> None:
    node, replica, new = step.node, step.replica, mark.membership
    place = node.log.configurations.index(mark)
    if new is None or place == 0:
        return
    before = node.log.configurations[place - 1]
    if before.membership is not None and not _quorums_meet(before.membership, new):
        raise Violation("membership M1", f"{new} follows {before.membership} at {mark.last}")
    if replica.leader != replica.me or mark.term != replica.current_term or type(step.event) is Bootstrap:
        return
    if before.last > replica.commit_index:
        raise Violation("membership M2", f"{node.me} appends {mark.last}; {before.last} is not yet committed")
    if node.log.term_at(replica.commit_index) != replica.current_term:
        raise Violation("membership M3", f"{node.me} appends {mark.last} before an entry of its term is committed")


def _quorums_meet(one: Membership, other: Membership) -> bool:
    sets = [frozenset(voters) for voters in (one.voters, one.outgoing) if voters]
    others = [frozenset(voters) for voters in (other.voters, other.outgoing) if voters]
    return any(a == b or (len(a ^ b) <= 1) for a in sets for b in others)
