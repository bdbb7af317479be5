"""Thesis §3.3: terms are the clock of Raft."""

from __future__ import annotations

from tests.raftkit.cluster import Cluster, led_cluster, member
from zraft.core.entries import SnapshotMark
from zraft.core.messages import (
    AppendEntries,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    Message,
    ReadIndexReply,
    ReadIndexRequest,
    RequestVote,
    RequestVoteReply,
)
from zraft.core.output import RoleName

A, B, C = member("a"), member("b"), member("c")


def _requests(term: int) -> list[tuple[Message, type]]:
    return [
        (RequestVote(B, A, term, 9, 9), RequestVoteReply),
        (AppendEntries(B, A, term, 2, 2, 0, 0, []), AppendReply),
        (Heartbeat(B, A, term, 1, 0, 0), HeartbeatReply),
        (InstallSnapshot(B, A, term, SnapshotMark(9, 1)), AppendReply),
        (ReadIndexRequest(B, A, term, 1), ReadIndexReply),
    ]


def test_larger_term_is_adopted_by_leader_and_candidate() -> None:
    """§3.3: a server that sees a larger term adopts it and becomes follower."""
    cluster = led_cluster()
    cluster.receive(AppendReply(B, A, 7, False, 2))
    assert (cluster["a"].current_term, cluster["a"].role_name) == (7, RoleName.FOLLOWER)
    candidate = Cluster()
    for name in "abc":
        candidate.add(name, [1], "a b c")
    candidate.timeout("b")
    candidate.deliver("b", "c")
    candidate.deliver("c", "b")
    assert candidate["b"].role_name is RoleName.CANDIDATE
    candidate.receive(RequestVoteReply(C, B, 9, False))
    assert (candidate["b"].current_term, candidate["b"].role_name) == (9, RoleName.FOLLOWER)


def test_request_of_smaller_term_is_refused_with_own_term() -> None:
    """§3.3: the stale sender learns the current term, and nothing else happens."""
    for request, reply_type in _requests(1):
        cluster = led_cluster()
        cluster.receive(request)
        (reply,) = cluster.network
        assert type(reply) is reply_type
        assert (reply.term, reply.to) == (2, B)
        assert not getattr(reply, "granted", False)
        assert not getattr(reply, "accepted", False)
        assert cluster["a"].role_name is RoleName.LEADER


def test_reply_of_smaller_term_is_dropped() -> None:
    """§3.3: a late answer of an earlier term says nothing about this one."""
    cluster = led_cluster()
    before = cluster.as_leader("a").progress[B].match_index
    for reply in (AppendReply(B, A, 1, True, 99), HeartbeatReply(B, A, 1, 99), RequestVoteReply(B, A, 1, True)):
        cluster.receive(reply)
    assert not cluster.network
    assert cluster.as_leader("a").progress[B].match_index == before


def test_term_survives_restart_and_never_falls() -> None:
    """§3.3, §3.8: the term is durable before anybody hears of it, so a restart finds at least what was told."""
    cluster = led_cluster()
    cluster.elect("b")
    cluster.restart("c")
    assert cluster["c"].current_term == cluster["b"].current_term == 3


def test_message_for_another_life_is_dropped() -> None:
    """A member is a peer in one life: what is meant for another changes nothing (BM-114)."""
    cluster = led_cluster()
    cluster.receive(AppendReply(B, member("a", 2), 9, False, 2))
    assert cluster["a"].current_term == 2
