"""Leadership transfer (§3.10): stop taking proposals, bring the target up to date, tell it to campaign at once."""

from __future__ import annotations

from zraft.core import election, replication
from zraft.core.events import TransferLeadership
from zraft.core.messages import TimeoutNow
from zraft.core.output import Refusal
from zraft.core.replica import Replica
from zraft.core.roles import Follower, Leader, Transfer


def begin(replica: Replica, role: Leader, event: TransferLeadership) -> None:
    """Hand over to `event.to`, or to the best successor. Gives up after an election timeout."""
    target = event.to if event.to is not None else election.best_successor(replica, role)
    if target == replica.me:
        replica.out.transferred.append(event.ref)
    elif target is None or replica.membership is None or target not in replica.membership.voters:
        replica.refuse(event.ref, Refusal.NOT_A_VOTER)
    elif role.transfer is not None:
        replica.refuse(event.ref, Refusal.TRANSFERRING)
    else:
        due = replica.now + replica.settings.election_timeout_ms
        role.transfer = Transfer(event.ref, target, due)
        replica.fact(f"hands leadership of term {replica.current_term} to {target}")
        replication.send_append(replica, role, target, role.progress[target])
        continue_transfer(replica, role)


def continue_transfer(replica: Replica, role: Leader) -> None:
    """Once the target has everything, and this leader's log is settled, it shall campaign."""
    transfer = role.transfer
    if transfer is None or transfer.is_told:
        return
    progress = role.progress.get(transfer.to)
    if progress is not None and progress.match_index == replica.log.last_index:
        transfer.is_told = True
        replica.send_now(TimeoutNow(replica.me, transfer.to, replica.current_term))


def check_deadline(replica: Replica, role: Leader) -> None:
    """The target has not taken over in time: go on leading."""
    transfer = role.transfer
    if transfer is not None and replica.now >= transfer.due_ms:
        role.transfer = None
        replica.fact(f"gives up the transfer to {transfer.to}")
        replica.refuse(transfer.ref, Refusal.TIMED_OUT)


def on_timeout_now(replica: Replica, role: Follower, message: TimeoutNow) -> None:
    """The leader asks this replica to take over: an election at once, which stickiness does not stop (§4.2.3)."""
    if role.leader == message.sender and election.may_campaign(replica):
        election.start_election(replica, transfer=True)
