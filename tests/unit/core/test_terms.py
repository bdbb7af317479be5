"""Answers to requests of an earlier term: their sender may act in the newer one by then, so they say nothing in it."""

from __future__ import annotations

import pytest

from tests.raftkit.cluster import Cluster, led_cluster, member
from zraft.core.entries import SnapshotMark
from zraft.core.messages import (
    AppendEntries,
    AppendReply,
    Heartbeat,
    InstallSnapshot,
    Message,
    RequestVote,
    RequestVoteReply,
)
from zraft.core.output import RoleName

A, B, C = member("a"), member("b"), member("c")


def _late(kind: type[Message], index: int) -> Message:
    match kind.__name__:
        case "Heartbeat":
            return Heartbeat(A, B, 2, 500, 0, 0)
        case "InstallSnapshot":
            return InstallSnapshot(A, B, 2, SnapshotMark(index, 2))
        case _:
            return AppendEntries(A, B, 2, index, 2, 2, 0, [])


@pytest.mark.parametrize("kind", [AppendEntries, Heartbeat, InstallSnapshot])
def test_answer_to_an_old_request_changes_nothing_for_the_same_leader_of_a_new_term(kind: type[Message]) -> None:
    """a led term 2 and leads term 4: b's answer to a message of term 2 is no refusal, and no round, of term 4."""
    cluster = led_cluster()
    cluster.propose("a", 1)
    cluster.run(200)
    cluster.snapshot("a")
    cluster.elect("b")
    cluster.isolate("b")
    cluster.elect("a")
    cluster.heal()
    cluster["b"].replica.set_term(4)
    cluster["b"].replica.become_follower(None)
    progress = cluster.as_leader("a").progress[B]
    before = (progress.state, progress.match_index, progress.next_index, progress.round)
    cluster.receive(_late(kind, progress.next_index - 1))
    cluster.save("b")
    assert cluster.deliver("b", "a") == 1
    assert cluster.hosts["a"].fault is None
    assert (progress.state, progress.match_index, progress.next_index, progress.round) == before
    cluster.run(1500)
    assert cluster["b"].commit_index == cluster["a"].commit_index
    assert not any("offers snapshot" in line for line in cluster.trace)


def _candidate() -> Cluster:
    cluster = Cluster()
    for name in "abc":
        cluster.add(name, [1], "a b c")
    cluster.crash("c")
    for _ in range(2):
        cluster.timeout("a")
        cluster.deliver("a", "b", "PreVote")
        cluster.deliver("b", "a", "PreVoteReply")
        cluster.save("a")
        cluster.save("b")
    assert (cluster.role("a"), cluster["a"].current_term) == (RoleName.CANDIDATE, 3)
    return cluster


def test_old_request_for_a_vote_does_not_spoil_the_new_one() -> None:
    """b's vote for a in term 3 is being saved, a's request of term 2 arrives late: no refusal overtakes the vote."""
    cluster = _candidate()
    first, second = [message for message in cluster.network if isinstance(message, RequestVote) and message.to == B]
    cluster.network.clear()
    cluster.receive(second)
    cluster.receive(first)
    assert cluster.network == []
    cluster.save("b")
    cluster.deliver("b", "a")
    assert cluster.role("a") is RoleName.LEADER


def test_grant_counts_after_a_refusal_of_the_same_voter() -> None:
    """The refusal answered an older request; a vote that was cast stays cast, whatever arrives after it."""
    cluster = _candidate()
    cluster.receive(RequestVoteReply(B, A, 3, False))
    assert cluster.role("a") is RoleName.CANDIDATE
    cluster.receive(RequestVoteReply(B, A, 3, True))
    assert cluster.role("a") is RoleName.LEADER


def test_stale_leader_still_learns_the_term() -> None:
    """That is what the answer is for."""
    cluster = led_cluster()
    cluster.receive(AppendReply(B, A, 9, False, 0))
    assert (cluster.role("a"), cluster["a"].current_term) == (RoleName.FOLLOWER, 9)
