"""Thesis §6, as far as it is the core's: finding the leader, and linearizable reads."""

from __future__ import annotations

from tests.raftkit.cluster import Cluster, led_cluster, member
from zraft.core.messages import HeartbeatReply, ReadIndexReply, ReadIndexRequest
from zraft.core.output import ReadReady, Refusal, Refused, RoleName


def test_any_replica_names_the_leader() -> None:
    """§6.1, §6.2: a follower refuses and says who leads."""
    cluster = led_cluster()
    assert cluster.propose("b", 1).refused == [Refused(1, Refusal.NOT_LEADER, member("a"))]


def test_leader_without_a_majority_steps_down() -> None:
    """§6.2: after an election timeout without answers, so that its clients look elsewhere."""
    cluster = led_cluster()
    cluster.isolate("a")
    cluster.run(700)
    assert cluster.role("a") is not RoleName.LEADER


def test_leader_under_a_stream_of_reads_steps_down_too() -> None:
    """§6.2: the rounds of reads do not put off what a leader looks at with its own heartbeat."""
    cluster = led_cluster()
    cluster.isolate("a")
    for ref in range(100):
        cluster.time("a", 10)
        cluster.read("a", ref)
    assert cluster.role("a") is not RoleName.LEADER


def test_leader_that_was_held_up_gives_everybody_time_to_answer() -> None:
    """§6.2: nobody can have answered what was not sent."""
    cluster = led_cluster()
    cluster.time("a", 5000)
    assert cluster.role("a") is RoleName.LEADER
    cluster.isolate("a")
    cluster.run(700)
    assert cluster.role("a") is not RoleName.LEADER


def test_read_waits_for_a_round_that_began_after_it() -> None:
    """§6.4: an answer to an earlier heartbeat proves nothing about now (BM-064)."""
    cluster = led_cluster()
    cluster.timeout("a")
    cluster.deliver("a", "b")
    early = cluster.under_way("b", "a")
    cluster.drop()
    cluster.read("a", 1)
    for reply in early:
        cluster.receive(reply)
    assert cluster.hosts["a"].last.reads_ready == []
    cluster.deliver("a", "b")
    cluster.deliver("b", "a")
    assert cluster.hosts["a"].last.reads_ready == [ReadReady(1, 2)]


def test_read_waits_for_a_commit_of_the_own_term() -> None:
    """§6.4: before that a new leader does not know what is committed (BM-063)."""
    cluster = Cluster()
    for name in "abc":
        cluster.add(name, [1, 1], "a b c")
    cluster.win("a", "b", "c")
    cluster.read("a", 7)
    ready: list[ReadReady] = []
    cluster.on_step = lambda host, event, output: ready.extend(output.reads_ready)
    for other in "bc":
        cluster.deliver("a", other, "Heartbeat")
        cluster.deliver(other, "a", "HeartbeatReply")
    assert ready == []
    cluster.stabilise()
    assert ready == [ReadReady(7, 3)]


def test_read_index_is_the_commit_index_when_the_round_began() -> None:
    """§6.4: what was acknowledged before the read arrived is seen."""
    cluster = led_cluster()
    cluster.propose("a", 1)
    cluster.stabilise()
    ready: list[ReadReady] = []
    cluster.on_step = lambda host, event, output: ready.extend(output.reads_ready)
    cluster.read("a", 1)
    cluster.stabilise()
    assert ready == [ReadReady(1, 3)]


def test_reads_that_arrive_meanwhile_share_the_next_round() -> None:
    """§6.4: however many they are, one more round answers them."""
    cluster = led_cluster()
    cluster.read("a", 0)
    for ref in range(1, 50):
        assert cluster.read("a", ref).send_now == []
    before = cluster.as_leader("a").round
    ready: list[int] = []
    cluster.on_step = lambda host, event, output: ready.extend(each.ref for each in output.reads_ready)
    cluster.stabilise()
    assert ready == list(range(50))
    assert cluster.as_leader("a").round == before + 1


def test_replaced_leader_answers_no_read() -> None:
    """§6.4, BM-067: no majority follows it any more, so no round is confirmed."""
    cluster = led_cluster()
    cluster.isolate("a")
    cluster.elect("b")
    cluster.propose("b", 1)
    cluster.stabilise()
    ready: list[ReadReady] = []
    cluster.on_step = lambda host, event, output: ready.extend(output.reads_ready)
    cluster.read("a", 1)
    cluster.receive(HeartbeatReply(member("b"), member("a"), 3, 99))
    cluster.run(2000)
    assert ready == []


def test_follower_asks_the_leader_for_a_read_index() -> None:
    """§6.4: the leader's round counts; the follower answers when it has applied so far."""
    cluster = led_cluster()
    ready: list[tuple[str, ReadReady]] = []
    cluster.on_step = lambda host, event, output: ready.extend((host.me.peer.name, each) for each in output.reads_ready)
    cluster.read("b", 4)
    cluster.stabilise()
    assert ready == [("b", ReadReady(4, 2))]


def test_read_at_a_follower_fails_when_the_leader_is_lost() -> None:
    """§6.4: each is refused once: by the new role, by a leader that is none any more, or when nothing came back."""
    refused: list[int] = []
    cluster = led_cluster()
    cluster.on_step = lambda host, event, output: refused.extend(each.ref for each in output.refused)
    cluster.read("b", 1)
    cluster.crash("a")
    cluster.run(2500)
    assert refused == [1]
    leader = cluster.leader()
    other = "b" if leader == "c" else "c"
    cluster.read(other, 2)
    (request,) = cluster.under_way(kind="ReadIndexRequest")
    assert isinstance(request, ReadIndexRequest)
    cluster.receive(ReadIndexReply(request.to, request.sender, request.term, request.read, 0))
    cluster.receive(ReadIndexReply(request.to, request.sender, request.term, request.read, 9))
    assert refused == [1, 2]
