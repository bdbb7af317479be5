"""Each check, on a situation that it must let pass and on the ones that it must name."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.unit.sim.scene import ABC, A, B, C, D, Scene, batch, changed, configuration
from zraft.core.entries import HardState, Membership, SnapshotMark
from zraft.core.events import Read, Received
from zraft.core.messages import (
    AppendEntries,
    AppendReply,
    Heartbeat,
    Message,
    PreVote,
    RequestVote,
    RequestVoteReply,
    SnapshotReply,
)
from zraft.core.output import Output, ReadReady
from zraft.core.roles import NEVER
from zraft.machine.backend import Context
from zraft.machine.dict_backend import DictBackend
from zraft.sim.checks import (
    commit_validity,
    durability,
    election_safety,
    leader_append_only,
    leader_completeness,
    log_matching,
    membership,
    monotonic,
    progress,
    quiet,
    state_machine_safety,
    votes,
    wire_messages,
)
from zraft.sim.checks.effects_order import EffectsOrder
from zraft.sim.checks.ghost import Violation
from zraft.sim.checks.read_index import ReadIndexes
from zraft.sim.checks.state_machine_safety import States
from zraft.sim.checks.votes import Votes
from zraft.types import Member


def expect_violation(check: Callable[[], object], text: str) -> None:
    with pytest.raises(Violation, match=text):
        check()


# -- election safety, votes


def test_two_leaders_in_one_term_are_named_by_role_and_by_message() -> None:
    """I1: also a leader that never noticed its own election."""
    scene = Scene()
    scene.lead(A, 2, B, C)
    election_safety.check_leader(scene.step(A, Output(role_change=changed(2, A))))
    election_safety.check_message(scene.ledger, Heartbeat(A, B, 2, 1, 0, 0))
    expect_violation(
        lambda: election_safety.check_message(scene.ledger, Heartbeat(B, A, 2, 1, 0, 0)), "both lead term 2"
    )
    scene.lead(C, 2, A, B)
    expect_violation(
        lambda: election_safety.check_leader(scene.step(C, Output(role_change=changed(2, C)))), "both lead"
    )


def test_a_vote_goes_to_a_log_that_is_up_to_date() -> None:
    """I7, and a grant answers a request of its receiver."""
    scene = Scene()
    scene.give(B, 1, 2)
    grant = Output(send_after_save=[RequestVoteReply(B, A, 3, True)])
    votes.check_grants(scene.step(B, grant, Received(RequestVote(A, B, 3, 3, 2))))
    longer_and_older = Received(RequestVote(A, B, 3, 9, 1))
    expect_violation(lambda: votes.check_grants(scene.step(B, grant, longer_and_older)), "up-to-date votes")
    expect_violation(lambda: votes.check_grants(scene.step(B, grant, Received(RequestVote(C, B, 3, 3, 2)))), "votes: ")


def test_a_vote_is_cast_once_in_a_term_for_ever() -> None:
    """BM-001: whatever a restart forgets; a request counts as a vote for its sender."""
    cast = Votes()
    cast.check_sent(RequestVoteReply(B, A, 3, True))
    cast.check_sent(RequestVoteReply(B, C, 3, False))
    cast.check_sent(RequestVoteReply(B, C, 4, True))
    expect_violation(lambda: cast.check_sent(RequestVoteReply(B, C, 3, True)), "one vote per term")
    expect_violation(lambda: cast.check_sent(RequestVote(B, A, 4, 0, 0)), "one vote per term")


def test_a_leader_has_votes_of_a_majority_of_each_voter_set() -> None:
    """§3.4, §4.3: votes of the very term (BM-005), counted by member (BM-006)."""
    scene, cast = Scene(), Votes()
    scene.give(A, 2, membership=Membership((A, B, C), outgoing=(A, D)))
    scene.lead(A, 3, B, C, D)
    for voter in (B, B, C):
        cast.check_sent(RequestVoteReply(voter, A, 3, True))
    expect_violation(lambda: cast.check_leader(scene.step(A)), "1 of 2 votes")
    cast.check_sent(RequestVoteReply(D, A, 3, True))
    cast.check_leader(scene.step(A))
    scene.follow(B, 3)
    cast.check_leader(scene.step(B))


# -- the log


def test_equal_index_and_term_mean_equal_logs() -> None:
    """I3: the second log to hold (index, term) must have the digest of the first."""
    scene = Scene()
    scene.give(A, 1)
    scene.give(B, 1)
    log_matching.follow_log(scene.step(A, Output(save=1, append=[batch(3, 1, b"one")])))
    step = scene.step(B, Output(save=1, append=[batch(3, 1, b"one")]))
    log_matching.follow_log(step)
    assert [mark.last for mark in step.appended] == [3]
    log_matching.follow_log(scene.step(B, Output(save=2, truncate_from=3)))
    assert scene.node(B).log.end.last == 2
    expect_violation(
        lambda: log_matching.follow_log(scene.step(B, Output(save=3, append=[batch(3, 1, b"two")]))), "another log had"
    )
    expect_violation(lambda: log_matching.follow_log(scene.step(C, Output(save=1, append=[batch(5, 1)]))), "appends 5")


def test_a_restored_snapshot_is_one_that_was_committed() -> None:
    """§5.1: the trail becomes the committed one."""
    scene = Scene()
    scene.commit(scene.give(A, 1, 2), 2)
    log_matching.follow_log(scene.step(B, Output(save=1, reset_to=SnapshotMark(3, 2))))
    assert scene.node(B).log.end == scene.node(A).log.end
    wrong = Output(save=2, reset_to=SnapshotMark(3, 1))
    expect_violation(lambda: log_matching.follow_log(scene.step(B, wrong)), "restores")


def test_a_leader_removes_nothing_and_nobody_removes_what_is_committed() -> None:
    """I2, I8."""
    scene = Scene()
    scene.lead(A, 2, B)
    node = scene.node(A)
    node.is_leader, node.term = True, 2
    leader_append_only.check(scene.step(A, Output()))
    expect_violation(lambda: leader_append_only.check(scene.step(A, Output(truncate_from=5))), "leader append-only")
    scene.follow(B, 2)
    scene.node(B).commit_index = 4
    leader_append_only.check(scene.step(B, Output(truncate_from=5)))
    expect_violation(lambda: leader_append_only.check(scene.step(B, Output(truncate_from=4))), "truncation")
    expect_violation(lambda: leader_append_only.check(scene.step(B, Output(reset_to=SnapshotMark(3, 1)))), "truncation")


def test_a_new_leader_has_what_earlier_terms_committed() -> None:
    """I4: only commits of earlier terms are asked for."""
    scene = Scene()
    marks = scene.give(A, 1, 2)
    scene.commit(marks[:2], 1)
    scene.commit(marks[2:], 5)
    scene.give(B, 1)
    scene.lead(B, 4, A)
    leader_completeness.check(scene.step(B))
    scene.lead(B, 6, A)
    expect_violation(lambda: leader_completeness.check(scene.step(B)), "leader completeness")
    scene.node(B).leading = 6
    leader_completeness.check(scene.step(B))
    scene.follow(C, 7)
    leader_completeness.check(scene.step(C))


# -- commit


def test_no_two_replicas_commit_different_entries() -> None:
    """I5: the first one writes the ledger."""
    scene = Scene()
    scene.give(A, 1, 2)
    scene.give(B, 1, 3)
    scene.replicas[A].commit_index = 3
    state_machine_safety.check(scene.step(A))
    assert (scene.ledger.committed.end.last, scene.ledger.commit_terms) == (3, [0, 0, 0])
    scene.replicas[B].commit_index = 2
    state_machine_safety.check(scene.step(B))
    state_machine_safety.check(scene.step(C))
    scene.replicas[B].commit_index = 3
    expect_violation(lambda: state_machine_safety.check(scene.step(B)), "state machine safety")
    scene.replicas[A].commit_index = 9
    expect_violation(lambda: state_machine_safety.check(scene.step(A)), "its log ends at")


def test_machine_states_are_equal_at_equal_indexes() -> None:
    """I5, by digest: what a replica holds is what the committed log gives, however it came there."""
    scene, states = Scene(), States()
    scene.commit(scene.give(A, 1), 1)
    machine = DictBackend(A.peer)
    states.check(scene.ledger, C, 0, machine.digest())
    machine.apply(["k", 1], Context())
    states.check(scene.ledger, A, 2, machine.digest())
    states.check(scene.ledger, B, 2, machine.digest())
    expect_violation(lambda: states.check(scene.ledger, C, 2, 78), "has 78, the log gives")
    expect_violation(lambda: states.check(scene.ledger, C, 3, 1), "nobody has committed")


def commit(scene: Scene, index: int) -> None:
    scene.replicas[A].commit_index = index
    commit_validity.check(scene.step(A))


def test_a_commit_is_durable_on_a_majority() -> None:
    """I6, BM-090: the leader's own disk counts when it is done, not before."""
    scene = Scene()
    scene.give(A, 2, durable=False)
    scene.give(B, 2)
    scene.lead(A, 2, B, C)
    expect_violation(lambda: commit(scene, 2), "durable only on p@b")
    scene.give(C, 2)
    commit(scene, 2)


def test_a_joint_commit_is_durable_on_both_majorities() -> None:
    """§4.3."""
    scene = Scene()
    joint = Membership((A, B, C), outgoing=(A, D))
    for member in (A, B, C):
        scene.give(member, 2, membership=joint)
    scene.lead(A, 2, B, C, D)
    expect_violation(lambda: commit(scene, 2), "durable only on p@a")
    scene.give(D, 2, membership=joint)
    commit(scene, 2)


def test_only_entries_of_the_own_term_are_committed_by_counting() -> None:
    """BM-020, Figure 8; and only a leader commits first, at the end of a batch."""
    scene = Scene()
    for member in (A, B, C):
        scene.give(member, 2)
    scene.lead(A, 4, B, C)
    expect_violation(lambda: commit(scene, 2), "by counting in term 4")
    scene.follow(A, 4)
    expect_violation(lambda: commit(scene, 2), "before any leader did")
    expect_violation(lambda: commit(scene, 7), "inside a batch or after")
    scene.commit(scene.give(B, 2), 2)
    commit(scene, 2)
    scene.replicas[A].commit_index = 0
    commit_validity.check(scene.step(A))


def test_nothing_is_committed_without_a_configuration() -> None:
    """A log whose first entry is none."""
    scene = Scene()
    step = scene.step(A, Output(append=[batch(1, 2)]))
    log_matching.follow_log(step)
    scene.lead(A, 2)
    expect_violation(lambda: commit(scene, 1), "without a configuration")


# -- what only grows


def test_term_commit_index_and_saves_move_one_way() -> None:
    """I9."""
    scene = Scene()
    node, replica = scene.node(A), scene.replicas[A]
    node.term, node.commit_index, node.issued = 3, 5, 7
    replica.current_term, replica.commit_index = 3, 5
    monotonic.check(scene.step(A, Output(save=8)))
    expect_violation(lambda: monotonic.check(scene.step(A, Output(save=7))), "save 7 after 7")
    replica.commit_index = 4
    expect_violation(lambda: monotonic.check(scene.step(A)), "commit index 5, then 4")
    replica.current_term = 2
    expect_violation(lambda: monotonic.check(scene.step(A)), "term 3, then 2")


def test_a_vote_changes_only_with_the_term() -> None:
    """I10, BM-003."""
    scene = Scene()
    node, replica = scene.node(A), scene.replicas[A]
    node.term, node.voted_for = 3, B
    replica.current_term, replica.voted_for = 4, C
    monotonic.check(scene.step(A))
    replica.current_term, replica.voted_for = 3, None
    expect_violation(lambda: monotonic.check(scene.step(A)), "voted for p@b")


def test_what_a_leader_believes_of_a_follower_is_on_its_disk() -> None:
    """I11, BM-016, BM-017."""
    scene = Scene()
    for member in (A, B):
        scene.give(member, 2, 2)
    role = scene.lead(A, 2, B)
    node, reply = scene.node(A), Received(AppendReply(B, A, 2, True, 3))
    progress.check(scene.step(A))
    node.leading = 2
    role.progress[B].match_index = 3
    progress.check(scene.step(A, event=reply))
    role.progress[B].match_index = 2
    expect_violation(lambda: progress.check(scene.step(A, event=reply)), "match 3, then 2")
    role.progress[B].match_index = role.progress[B].next_index
    expect_violation(lambda: progress.check(scene.step(A, event=reply)), "next")
    role = scene.lead(A, 2, B, C)
    progress.check(scene.step(A, event=reply))
    role.progress[C].match_index = 3
    expect_violation(
        lambda: progress.check(scene.step(A, event=Received(SnapshotReply(C, A, 2, True, 3)))), "disk holds None"
    )
    scene.node(C).disk_state = HardState(3)
    node.matches.clear()
    progress.check(scene.step(A, event=Received(SnapshotReply(C, A, 2, True, 3))))
    scene.follow(A, 2)
    progress.check(scene.step(A, event=reply))


# -- messages


def test_an_append_is_a_piece_of_the_sender_s_own_log() -> None:
    """I12, BM-023."""
    scene = Scene()
    scene.give(A, 2, 3)

    def send(prev: int, prev_term: int, *terms: int, first: int = 0) -> None:
        batches = [batch((first or prev + 1) + place, term) for place, term in enumerate(terms)]
        message = AppendEntries(A, B, 3, prev, prev_term, 0, 0, batches)
        wire_messages.check(scene.step(A, Output(send_now=[message])))

    send(1, 1, 2, 3)
    send(3, 3)
    send(0, 0)
    expect_violation(lambda: send(1, 2, 2), "prev that the sender's log does not")
    expect_violation(lambda: send(1, 1, 2, 3, 3), "which it does not have")
    expect_violation(lambda: send(1, 1, 3, 2), "is sent after")
    expect_violation(lambda: send(1, 1, 2, first=3), "is sent after")


def test_an_acknowledgement_names_no_more_than_was_sent() -> None:
    """BM-016; and nobody speaks in another's name."""
    scene = Scene()
    event = Received(AppendEntries(A, B, 3, 3, 2, 0, 0, [batch(4, 3)]))

    def answer(index: int) -> None:
        wire_messages.check(scene.step(B, Output(send_after_save=[AppendReply(B, A, 3, True, index)]), event))

    answer(4)
    expect_violation(lambda: answer(9), "acknowledges more than was sent")
    stray = Output(send_after_save=[AppendReply(B, A, 3, True, 99)])
    wire_messages.check(scene.step(B, stray))
    expect_violation(lambda: wire_messages.check(scene.step(C, stray)), "in the name of")


def test_a_promise_leaves_after_its_save_and_only_once_made() -> None:
    """I13, BM-001, BM-057, BM-090."""
    scene, order = Scene(), EffectsOrder()
    node = scene.node(B)
    node.disk_state, node.issued = HardState(3, A), 4
    grant: Message = RequestVoteReply(B, A, 3, True)
    expect_violation(lambda: order.check_sent(node, grant), "which no step made")
    order.check_made(scene.step(B, Output(send_after_save=[grant, RequestVoteReply(B, C, 3, False)])))
    expect_violation(lambda: order.check_sent(node, grant), "before save 4")
    node.completed = 4
    order.check_sent(node, grant)
    expect_violation(lambda: order.check_sent(node, grant), "which no step made")
    order.check_sent(node, RequestVoteReply(B, C, 3, False))
    order.check_sent(node, PreVote(B, C, 9, 0, 0))
    expect_violation(lambda: order.check_sent(node, AppendReply(B, A, 4, False, 0)), "durable is only")
    order.check_made(scene.step(B, Output(send_after_save=[grant])))
    order.restart()
    expect_violation(lambda: order.check_sent(node, grant), "which no step made")


def test_a_read_sees_what_was_committed_anywhere_before() -> None:
    """§6.4, BM-063, BM-064, BM-067."""
    scene, reads = Scene(), ReadIndexes()
    scene.commit(scene.give(A, 1, 1), 1)
    for ref in (1, 2, 3):
        reads.check_asked(scene.step(B, event=Read(ref)))
    reads.check_ready(scene.step(B, Output(reads_ready=[ReadReady(1, 3)])))
    expect_violation(
        lambda: reads.check_ready(scene.step(B, Output(reads_ready=[ReadReady(2, 2)]))), "3 was committed before"
    )
    reads.restart(B)
    reads.check_ready(scene.step(B, Output(reads_ready=[ReadReady(3, 0)])))


# -- membership


def put_in_force(scene: Scene, member: Member, *configurations: Membership) -> None:
    """The replica follows what its ghost's log has: entry 1, then these."""
    replica, log = scene.replicas[member], scene.node(member).log
    replica.memberships.append(1, ABC)
    step = scene.step(member)
    for each in configurations:
        index = log.end.last + 1
        log_matching.follow_log(scene.step(member, Output(append=[configuration(index, 2, each)])))
        replica.memberships.append(index, each)
    step.appended = log.marks[1:]
    membership.check(step)


def test_the_configuration_in_force_is_the_last_one_in_the_log() -> None:
    """M4, also after a truncation (BM-034)."""
    scene = Scene()
    scene.give(A, 2)
    expect_violation(lambda: membership.check(scene.step(A)), "membership M4")
    scene.replicas[A].memberships.append(1, Membership((A,)))
    changed_role = Output(role_change=changed(2, A))
    expect_violation(lambda: membership.check(scene.step(A, changed_role)), "membership M4")
    membership.check(scene.step(B))


def test_adjacent_configurations_have_quorums_that_meet() -> None:
    """M1: by joint consensus, or by one voter."""
    scene = Scene()
    scene.give(A)
    joint = Membership((C, D), outgoing=(A, B, C))
    put_in_force(scene, A, joint, Membership((C, D)), Membership((D,)))
    scene = Scene()
    scene.give(B)
    expect_violation(lambda: put_in_force(scene, B, Membership((C, D, A, B)), Membership((A,))), "membership M1")


def test_a_leader_changes_one_thing_at_a_time_and_after_its_own_commit() -> None:
    """M2, M3, BM-031."""
    scene = Scene()
    scene.give(A)
    scene.lead(A, 2, B, C)
    expect_violation(lambda: put_in_force(scene, A, Membership((A, B))), "membership M2")
    scene = Scene()
    scene.give(A)
    scene.lead(A, 2, B, C)
    scene.replicas[A].commit_index = 1
    expect_violation(lambda: put_in_force(scene, A, Membership((A, B))), "membership M3")
    scene = Scene()
    scene.give(A, 2)
    scene.lead(A, 2, B, C)
    scene.replicas[A].commit_index = 2
    put_in_force(scene, A, Membership((A, B)))


def test_learners_and_strangers_do_not_lead() -> None:
    """M5; one that is on its way out may."""
    scene = Scene()
    scene.give(A)
    scene.give(D)
    for member in (A, D):
        scene.lead(member, 2)
    membership.check_new_leader(scene.step(A))
    expect_violation(lambda: membership.check_new_leader(scene.step(D)), "membership M5")
    scene.node(D).leading = 2
    membership.check_new_leader(scene.step(D))


# -- quiet


def test_a_leader_is_quiet_only_when_everybody_has_everything() -> None:
    """On disk, committed, and of its own term."""
    scene = Scene()
    for member in (A, B, C):
        scene.give(member, 2)
    role = scene.lead(A, 2, B, C)
    quiet.check(scene.step(B))
    scene.node(C).disk.truncate_from(2)
    quiet.check(scene.step(A))  # awake: its followers may lack something
    role.heartbeat_due_ms = NEVER
    expect_violation(lambda: quiet.check(scene.step(A)), "committed is 0")
    scene.replicas[A].commit_index = 2
    expect_violation(lambda: quiet.check(scene.step(A)), "holds .1, term 1")
    scene.give(C, 2)
    quiet.check(scene.step(A))
    scene.replicas[A].current_term = 3
    expect_violation(lambda: quiet.check(scene.step(A)), "is quiet with")


# -- durability


def found(
    *terms: int, term: int = 5, voted_for: Member | None = None, mark: SnapshotMark | None = None
) -> durability.Found:
    mark = mark or SnapshotMark()
    lasts = [mark.index + place for place in range(1, len(terms) + 1)]
    return durability.Found(HardState(term, voted_for), mark, lasts, list(terms))


def test_what_was_durable_is_there_after_a_crash() -> None:
    """D1, and more may be there: what was under way."""
    scene = Scene()
    scene.give(A, 1, 2)
    ledger, node = scene.ledger, scene.node(A)
    durability.check_recovered(ledger, node, found(1, 1, 2))
    node.disk.truncate_from(3)
    assert durability.check_recovered(ledger, node, found(1, 1, 2)).end.last == 3
    expect_violation(lambda: durability.check_recovered(ledger, node, found(1)), "durability D1")
    scene.save(A, 1, truncate_from=2)
    durability.check_recovered(ledger, node, found(1))


def test_nothing_comes_back_that_was_never_there() -> None:
    """D2, also below a snapshot."""
    scene = Scene()
    scene.commit(scene.give(A, 1), 1)
    ledger, node = scene.ledger, scene.node(B)
    expect_violation(lambda: durability.check_recovered(ledger, node, found(1, 1, 4)), "which was in no log")
    durability.check_recovered(ledger, node, found(mark=SnapshotMark(2, 1)))
    wrong = found(mark=SnapshotMark(2, 2))
    expect_violation(lambda: durability.check_recovered(ledger, node, wrong), "has a snapshot at")


def test_term_and_vote_come_back() -> None:
    """D3, BM-002: never below what is durable, and never below the log."""
    scene = Scene()
    scene.give(A, 4)
    ledger, node = scene.ledger, scene.node(A)
    node.disk_state = HardState(5, B)
    durability.check_recovered(ledger, node, found(1, 4, voted_for=B))
    durability.check_recovered(ledger, node, found(1, 4, term=6))
    expect_violation(lambda: durability.check_recovered(ledger, node, found(1, 4)), "durability D3")
    expect_violation(lambda: durability.check_recovered(ledger, node, found(1, 4, term=4)), "durability D3")
    node.disk_state = HardState()
    expect_violation(lambda: durability.check_recovered(ledger, node, found(1, 4, term=3)), "in term 3")
