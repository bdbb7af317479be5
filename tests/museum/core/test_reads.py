"""Reads: what others got wrong, played here."""

from __future__ import annotations

from tests.raftkit.cluster import Cluster, led_cluster, member
from zraft.core.messages import HeartbeatReply
from zraft.core.output import ReadReady, RoleName

A, B, C = member("a"), member("b"), member("c")


def _ready(cluster: Cluster) -> list[tuple[str, ReadReady]]:
    ready: list[tuple[str, ReadReady]] = []
    cluster.on_step = lambda host, event, output: ready.extend((host.me.peer.name, each) for each in output.reads_ready)
    return ready


def test_bm_063_new_leader_answers_nothing_before_its_no_op() -> None:
    """A committed x=2 and died before B knew: B's read waits, and then sees it."""
    cluster = led_cluster()
    cluster.propose("a", 1)
    cluster.deliver("a", "b")
    cluster.save("b")
    cluster.save("a")
    cluster.deliver("b", "a")
    assert cluster["a"].commit_index == 3
    cluster.crash("a")
    cluster.network.clear()
    cluster.win("b", "c")
    cluster.save("b")
    ready = _ready(cluster)
    cluster.read("b", 1)
    cluster.receive(HeartbeatReply(C, B, cluster["b"].current_term, 1))
    assert (ready, cluster["b"].commit_index) == ([], 2)
    cluster.stabilise()
    assert ready == [("b", ReadReady(1, 4))]


def test_bm_064_answers_to_an_earlier_round_confirm_nothing() -> None:
    """A leader is paused between two reads and replaced; then it gets the answers to the first one's round."""
    cluster = led_cluster()
    cluster.read("a", 1)
    cluster.deliver("a", "b")
    cluster.deliver("a", "c")
    late = [message for message in cluster.network if isinstance(message, HeartbeatReply)]
    cluster.deliver("b", "a")
    cluster.network.clear()
    cluster.isolate("a")
    cluster.elect("b")
    cluster.propose("b", 2)
    cluster.stabilise()
    ready = _ready(cluster)
    cluster.heal()
    cluster.read("a", 3)
    for _ in range(2):
        for reply in late:
            cluster.receive(reply)
    assert ready == []
    cluster.run(2000)
    assert ready == []


def test_bm_066_paused_leader_serves_nothing_on_memory_of_its_leadership() -> None:
    """There are no leases: after ten seconds asleep a read still needs answers, and gets those of a later term."""
    cluster = led_cluster()
    cluster.isolate("a")
    cluster.run(10_000, without="a")
    cluster.heal()
    assert cluster.leader() != "a"
    ready = _ready(cluster)
    cluster.read("a", 1)
    cluster.stabilise()
    assert ready == []
    assert cluster.role("a") is RoleName.FOLLOWER


def test_bm_067_partitioned_leader_answers_no_read() -> None:
    """Neither before nor after the other side has a leader."""
    cluster = led_cluster()
    cluster.isolate("a")
    ready = _ready(cluster)
    refused: list[int] = []
    cluster.read("a", 1)
    cluster.on_step = lambda host, event, output: refused.extend(each.ref for each in output.refused)
    cluster.run(1500)
    assert (ready, refused) == ([], [1])
    assert cluster.leader() != "a"
