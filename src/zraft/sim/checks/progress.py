"""What a leader believes of its followers is true.

Formulas, for each follower p of a leader of term T: match[p] never decreases in T; match[p] < next[p] <= last_index +
1; p's disk holds the leader's log up to match[p], unless p is in a later term by now, whose leader may have replaced
what p held. Source: §3.5, §10.2.2; I11, BM-016, BM-017, BM-025. Looked at where a reply of p arrives, the only moment
at which the belief may grow, and for all when leadership begins.
"""

from __future__ import annotations

from zraft.core.events import Received
from zraft.core.messages import AppendReply, SnapshotReply
from zraft.core.roles import Leader
from zraft.sim.checks.ghost import Step, Violation
from zraft.types import Member


def check(step: Step) -> None:
    """The progress of the follower that this step heard from."""
    role, event = step.replica.role, step.event
    if type(role) is not Leader:
        return
    replies = (AppendReply, SnapshotReply)
    if step.node.leading != step.replica.current_term:
        for member in role.progress:
            _check_one(step, role, member)
    elif type(event) is Received and type(event.message) in replies and event.message.sender in role.progress:
        _check_one(step, role, event.message.sender)


def _check_one(step: Step, role: Leader, member: Member) -> None:
    node, progress = step.node, role.progress[member]
    match = progress.match_index
    if not match < progress.next_index <= node.log.end.last + 1:
        raise Violation(
            "progress", f"{node.me} of {member}: match {match}, next {progress.next_index}, log ends at {node.log.end}"
        )
    known, before = node.matches.get(member, (progress, 0))
    if known is not progress:
        before = 0  # it left and came back, or leadership did
    if match < before:
        raise Violation("progress", f"{node.me} of {member}: match {before}, then {match}")
    node.matches[member] = (progress, match)
    if match == before:
        return
    other = step.ledger.nodes.get(member)
    mine, theirs = node.log.at(match), other.vouched.at(match) if other is not None else None
    if mine is not None and theirs is not None and mine.digest == theirs.digest:
        return
    if mine is None or other is None or other.disk_state.term <= step.replica.current_term:
        raise Violation("progress", f"{node.me} believes that {member} holds {mine}; its disk holds {theirs}")
