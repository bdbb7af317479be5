"""Membership change by joint consensus, with learners that catch up first (§4.1, §4.2, §4.3).

    stable C ──joining──> {voters C, learners J, target N} ──caught up──> joint {N, outgoing C} ──> stable N
                             │ no progress                       (at once where nobody joins)
                             └──> stable C again, CATCH_UP_TIMEOUT

One step at a time: the next configuration is appended only when the one before is committed (M2) and an entry of the
own term is (BM-031, BM-033). The steps follow from the log alone, so the next leader finishes what this one began.
A leader outside the new configuration leads until that is committed, without counting itself, then steps down (§4.2.2).
It takes no proposals after that configuration: so all that it ever took is decided when it goes, and whoever it tells
to campaign at once has everything.
"""

from __future__ import annotations

from zraft import limits
from zraft.core import departure, election, quorum, reads, replication
from zraft.core.entries import Batch, Kind, Membership
from zraft.core.events import ChangeMembership
from zraft.core.memberships import encode_membership
from zraft.core.messages import TimeoutNow
from zraft.core.output import Refusal
from zraft.core.progress import Progress, ProgressState
from zraft.core.replica import Replica
from zraft.core.roles import CatchUp, Leader
from zraft.types import Member, Millis


def change(replica: Replica, role: Leader, event: ChangeMembership) -> None:
    """Begin the change to `event.target`, or join the one under way if it has the same target."""
    membership = replica.membership
    target = tuple(dict.fromkeys(event.target))
    if membership is None or replica.commit_index < role.term_start:
        replica.refuse(event.ref, Refusal.NOT_STABLE)
    elif not target or len(target) > limits.PEERS_PER_GROUP:
        replica.refuse(event.ref, Refusal.NOT_A_VOTER)
    elif role.transfer is not None:
        replica.refuse(event.ref, Refusal.TRANSFERRING)
    elif set(_goal(membership)) == set(target):
        role.change_refs.append(event.ref)
        drive(replica, role)
    elif not membership.is_stable or replica.memberships.current_index > replica.commit_index:
        replica.refuse(event.ref, Refusal.CHANGE_IN_PROGRESS)
    elif not _could_decide(replica, role, membership, target, replica.settings.election_timeout_ms):
        replica.refuse(event.ref, Refusal.NO_MAJORITY)
    else:
        role.change_refs.append(event.ref)
        joining = tuple(member for member in target if member not in membership.voters)
        if joining:
            _append(replica, role, Membership(membership.voters, learners=joining, target=target))
        else:
            _append(replica, role, Membership(target, outgoing=membership.voters))


def _could_decide(
    replica: Replica, role: Leader, membership: Membership, target: tuple[Member, ...], within_ms: Millis
) -> bool:
    """A majority of `target` answered within this time, or is yet to prove itself as a learner (BM-048)."""

    def answers(member: Member) -> bool:
        progress = role.progress.get(member)
        if progress is None:
            return member == replica.me or member not in membership.voters
        return replica.now - progress.contact_ms < within_ms

    return quorum.is_majority(target, answers)


def _goal(membership: Membership) -> tuple[Member, ...]:
    """The voters at the end of whatever is under way."""
    return membership.target or membership.voters


def drive(replica: Replica, role: Leader) -> None:
    """Take the next step that the log allows: called whenever something was committed, caught up, or took long."""
    membership = replica.membership
    if membership is None or replica.role is not role:
        return
    if replica.memberships.current_index > replica.commit_index or replica.commit_index < role.term_start:
        return
    if membership.is_joint:
        _append(replica, role, Membership(membership.voters))
    elif membership.target:
        _drive_catch_up(replica, role, membership)
    else:
        replica.out.changed.extend(role.change_refs)
        role.change_refs.clear()
        departure.tell_departed(replica, role)
        if not membership.is_voter(replica.me):
            replica.fact(f"steps down from term {replica.current_term}: no longer a member")
            heir = election.best_successor(replica, role)
            if heir is not None:
                replica.send_now(TimeoutNow(replica.me, heir, replica.current_term))
            replica.become_follower(None)
            replica.leave(replica.memberships.current_index)


def _drive_catch_up(replica: Replica, role: Leader, membership: Membership) -> None:
    states = {learner: _catch_up_of(replica, role, learner) for learner in membership.learners}
    is_ready = all(_is_ready(replica, role.progress[learner], state) for learner, state in states.items())
    settings, target = replica.settings, membership.target
    if is_ready and _could_decide(replica, role, membership, target, settings.election_timeout_ms):
        _append(replica, role, Membership(membership.target, outgoing=membership.voters))
    elif not _could_decide(replica, role, membership, target, settings.catch_up_ms) or any(
        _is_stuck(replica, role.progress[learner], state) for learner, state in states.items()
    ):
        replica.fact("gives up a membership change: a new member makes no progress, or too many are silent")
        _append(replica, role, Membership(membership.voters))
        for ref in role.change_refs:
            replica.refuse(ref, Refusal.CATCH_UP_TIMEOUT)
        role.change_refs.clear()


def _is_ready(replica: Replica, progress: Progress, state: CatchUp) -> bool:
    """It has caught up and still answers: a vote given to a silent server may cost the group its majority (BM-048)."""
    return state.is_done and replica.now - progress.contact_ms < replica.settings.election_timeout_ms


def _is_stuck(replica: Replica, progress: Progress, state: CatchUp) -> bool:
    """No progress for too long. Who lives and fetches a snapshot makes progress of which nothing is seen here."""
    since = progress.contact_ms if state.is_done else state.progressed_ms
    if replica.now - since < replica.settings.catch_up_ms:
        return False
    lives = replica.now - progress.contact_ms < replica.settings.election_timeout_ms
    return not (lives and progress.state is ProgressState.SNAPSHOT)


def _catch_up_of(replica: Replica, role: Leader, learner: Member) -> CatchUp:
    state = role.catch_up.get(learner)
    if state is None:
        state = CatchUp(goal=replica.log.last_index, began_ms=replica.now, progressed_ms=replica.now)
        role.catch_up[learner] = state
    return state


def learner_progressed(replica: Replica, role: Leader, member: Member) -> None:
    """A learner acknowledged more: it is caught up when a round took it no longer than an election timeout (§4.2.1).

    One that has the whole log is caught up however long that took: without traffic no further round would end.
    """
    membership = replica.membership
    if membership is None or member not in membership.learners:
        return
    state, progress = _catch_up_of(replica, role, member), role.progress[member]
    if progress.match_index > state.match_index:
        state.match_index, state.progressed_ms = progress.match_index, replica.now
    if progress.match_index >= state.goal and progress.state is ProgressState.REPLICATE:
        was_quick = replica.now - state.began_ms <= replica.settings.election_timeout_ms
        state.goal, state.began_ms = replica.log.last_index, replica.now
        state.is_done = state.is_done or was_quick or progress.match_index >= state.goal


def _append(replica: Replica, role: Leader, membership: Membership) -> None:
    """A configuration takes effect here, when it is appended, not when it is committed (§4.1, BM-032)."""
    before = replica.membership
    index = replica.log.last_index + 1
    time = replication.leader_time(replica, role)
    payload = encode_membership(membership)
    replica.append(Batch(index, 1, replica.current_term, time, 0, Kind.CONFIGURATION, payload))
    replica.memberships.append(index, membership)
    replica.fact(f"configuration {index}: {describe(membership)}")
    members = [member for member in membership.everyone() if member != replica.me]
    gone = [member for member in role.departed if member not in members]
    role.departed = tuple(dict.fromkeys((*gone, *departure.left_out(before, membership))))
    role.progress = {
        member: role.progress.get(member) or Progress(replica.log.last_index, replica.now) for member in members
    }
    role.catch_up = {member: state for member, state in role.catch_up.items() if member in membership.learners}
    replication.broadcast_append(replica, role)
    reads.check_round(replica, role)  # whoever has yet to answer may not count any more


def describe(membership: Membership) -> str:
    """One line for logs and goldens."""
    parts = [f"voters {_names(membership.voters)}"]
    for label, members in (
        ("outgoing", membership.outgoing),
        ("learners", membership.learners),
        ("target", membership.target),
    ):
        if members:
            parts.append(f"{label} {_names(members)}")
    return ", ".join(parts)


def _names(members: tuple[Member, ...]) -> str:
    return " ".join(str(member) for member in members)
