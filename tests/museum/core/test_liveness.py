"""Liveness, disks that stall, bounds: what others got wrong, played here."""

from __future__ import annotations

import pytest

from tests.raftkit.cluster import Cluster, led_cluster, member
from zraft.core.events import ChangeMembership, Received
from zraft.core.messages import AppendEntries
from zraft.core.output import Refusal, RoleName
from zraft.core.recovered import RaftSettings

A, B, C = member("a"), member("b"), member("c")


@pytest.mark.parametrize("leader", ["a", "b"])
def test_bm_107_chain_keeps_one_leader(leader: str) -> None:
    """a and c do not hear each other for a minute: at most three elections, then one leader."""
    cluster = led_cluster(" ".join([leader, *(name for name in "abc" if name != leader)]))
    cluster.cut.update(cluster.links("a", "c"))
    cluster.run(60_000)
    assert len(cluster.leaders()) == 1
    assert max(cluster[name].current_term for name in "abc") <= 5


def test_bm_107_chain_whose_end_is_lost_elects_again() -> None:
    """The leader at one end dies: the two that are left elect, although one heard it till the last."""
    cluster = led_cluster()
    cluster.cut.update(cluster.links("a", "c"))
    cluster.run(5000)
    cluster.crash(cluster.leader())
    cluster.run(4000)
    assert len(cluster.leaders()) == 1


def test_bm_108_leader_that_reaches_only_a_bridge_gives_way() -> None:
    """a, b and the bridge e are connected, the leader c reaches only e: within seconds one of the three leads."""
    cluster = led_cluster("c a b d e")
    cluster.isolate("d")
    for name in "ab":
        cluster.cut.update(cluster.links("c", name))
    cluster.run(4000)
    leader = cluster.leader()
    assert leader in ("a", "b", "e")
    cluster.propose(leader, 1)
    cluster.stabilise()
    assert cluster[leader].commit_index == cluster[leader].log.last_index


@pytest.mark.parametrize("joint", [False, True])
def test_bm_109_longer_log_with_the_lower_term_still_gets_a_leader(joint: bool) -> None:
    """Refusals carry the term and are adopted, so that two of three elect within a bound."""
    cluster = Cluster()
    cluster.add("a", [1, 2, 2], "a b c", term=5)
    cluster.add("b", [1, 2], "a b c")
    cluster.add("c", [1, 2, 2, 2, 2], "a b c")
    cluster.crash("b")
    if joint:
        cluster.run(4000)
        cluster.start("b")
        cluster.run(1000)
        cluster.add("d")
        leader = cluster.leader()
        cluster.step(leader, ChangeMembership(1, cluster.members("a b c d")), "change")
        cluster.deliver()
        for name in "abcd":
            cluster.save(name)
        cluster.crash(leader)
        cluster.network.clear()
    cluster.run(4000)
    assert len(cluster.leaders()) == 1
    leader = cluster.leader()
    assert cluster[leader].commit_index == cluster[leader].log.last_index


def test_bm_099_leader_with_a_dead_disk_gives_way() -> None:
    """It heartbeats, and stores nothing: within three election timeouts another one leads and commits."""
    cluster = led_cluster()
    cluster.propose("a", 1)
    for _ in range(300):
        for name, host in cluster.hosts.items():
            host.now += 10
            if host.now >= host.wake_at:
                cluster.timeout(name)
            if name != "a":
                cluster.save(name)
        cluster.deliver()
    assert cluster.leader() in ("b", "c")
    leader = cluster.leader()
    cluster.propose(leader, 2)
    cluster.deliver()
    for name in "bc":
        cluster.save(name)
    cluster.deliver()
    assert cluster[leader].commit_index == cluster[leader].log.last_index


def test_bm_099_leader_that_slept_does_not_blame_its_disk() -> None:
    """The save was under way when the process was stopped; its completion waits behind the timer."""
    cluster = led_cluster()
    cluster.propose("a", 1)
    cluster.time("a", 5000)
    assert cluster.role("a") is RoleName.LEADER
    cluster.save("a")
    cluster.stabilise()
    assert cluster["a"].commit_index == 3


def test_bm_111_slow_follower_holds_no_more_than_its_window() -> None:
    """Large entries to one that does not answer: so many messages and bytes are under way, and no more."""
    settings = RaftSettings(window_messages=4, window_bytes=4000, append_bytes=1000)
    cluster = led_cluster("a b c", settings)
    for ref in range(40):
        cluster.propose("a", ref, payload_bytes=900)
    messages = [message for message in cluster.under_way("a", "b") if isinstance(message, AppendEntries)]
    assert len(messages) <= 4
    assert sum(len(batch.payload) for message in messages for batch in message.batches) <= 4000 + 1000


def test_bm_111_leader_without_a_majority_says_so_beyond_its_bound() -> None:
    """Retries of clients do not fill the memory, and what an earlier leader left counts."""
    cluster = led_cluster("a b c", RaftSettings(uncommitted_bytes=100))
    cluster.isolate("a")
    refused = [cluster.propose("a", ref, payload_bytes=30).refused for ref in range(10)]
    assert [len(each) for each in refused] == [0] * 4 + [1] * 6
    assert refused[-1][0].why is Refusal.UNCOMMITTED_LIMIT


@pytest.mark.parametrize("size", [100, 101, 5000])
def test_bm_112_entry_as_large_as_a_message_or_larger_still_goes(size: int) -> None:
    """At least one batch goes in every message, never an empty one in a loop."""
    cluster = led_cluster("a b c", RaftSettings(append_bytes=100))
    for ref in range(3):
        cluster.propose("a", ref, payload_bytes=size)
    for message in cluster.under_way("a", "b"):
        assert isinstance(message, AppendEntries)
        assert len(message.batches) == 1
    cluster.stabilise()
    assert cluster["b"].log.last_index == 5


def test_bm_112_backlog_is_sent_in_messages_of_bounded_size() -> None:
    """A thousand batches that one follower missed, from the journal too: none above the bound."""
    sizes: list[int] = []
    cluster = led_cluster("a b c", RaftSettings(append_bytes=200, cache_bytes=500, load_bytes=2000))
    cluster.on_step = lambda host, event, output: sizes.extend(
        sum(len(batch.payload) for batch in message.batches)
        for message in output.send_now
        if isinstance(message, AppendEntries)
    )
    cluster.isolate("c")
    for ref in range(1000):
        cluster.propose("a", ref, payload_bytes=20)
        cluster.stabilise()
    cluster.heal()
    cluster.run(2000)
    assert cluster["c"].commit_index == 1002
    assert max(sizes) <= 200


def test_bm_112_lost_messages_release_their_places() -> None:
    """Everything under way was lost with the connection: the window is free again."""
    cluster = led_cluster("a b c", RaftSettings(window_messages=2))
    for _ in range(10):
        cluster.propose("a", 1)
        cluster.propose("a", 2)
        cluster.connection_lost("a", "b")
        cluster.connection_back("a", "b")
        cluster.drop("a", "b")
        cluster.connection_lost("a", "b")
    cluster.connection_back("a", "b")
    cluster.stabilise()
    assert cluster["b"].log.last_index == cluster["a"].log.last_index


def test_bm_114_message_for_somebody_else_changes_nothing() -> None:
    """Wrong life, wrong name: dropped, and said so."""
    cluster = led_cluster()
    raft = cluster["b"]
    for wrong in (member("b", 7), member("z")):
        output = raft.step(0, Received(AppendEntries(A, wrong, 9, 0, 0, 0, 0, [])))
        assert (output.save, output.send_now, len(output.facts)) == (0, [], 1)
    assert (raft.current_term, cluster.role("b")) == (2, RoleName.FOLLOWER)
