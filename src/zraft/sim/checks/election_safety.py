"""Election safety: at most one leader per term.

Formula: leader_of[term] has one value. Source: §3.4, Figure 3.2; I1. Looked at when a replica becomes leader and
whenever one speaks as a leader, so that a leader who never noticed its own election counts too. Cannot see: a leader
that says nothing.
"""

from __future__ import annotations

from zraft.core.messages import AppendEntries, Heartbeat, InstallSnapshot, Message, TimeoutNow
from zraft.sim.checks.ghost import Ledger, Step, Violation
from zraft.types import Member, Term


def check_leader(step: Step) -> None:
    """A replica that leads after this step is the leader of its term."""
    if step.node.is_leader or step.out.role_change is not None:
        replica = step.replica
        if replica.leader == replica.me:
            claim(step.ledger, replica.me, replica.current_term)


def check_message(ledger: Ledger, message: Message) -> None:
    """Who speaks as a leader is the leader of the message's term."""
    if type(message) in (AppendEntries, Heartbeat, InstallSnapshot, TimeoutNow):
        claim(ledger, message.sender, message.term)


def claim(ledger: Ledger, member: Member, term: Term) -> None:
    """`member` leads `term`."""
    leader = ledger.leader_of.setdefault(term, member)
    if leader != member:
        raise Violation("election safety", f"{member} and {leader} both lead term {term}")
