"""Quiet replicas: every event in either role, what keeps a group awake, and what a late or wrong answer does."""

from __future__ import annotations

from contextlib import suppress

import msgspec
import pytest

from tests.raftkit.cluster import Cluster, led_cluster, member
from tests.unit.core.samples import EVENT_SAMPLES, MESSAGE_SAMPLES
from zraft.core import invariants
from zraft.core.events import (
    ChangeMembership,
    Event,
    NodeBack,
    NodeRestarted,
    NodeSilent,
    Received,
    Rouse,
    Saved,
    SnapshotTaken,
    TimePassed,
    TransferLeadership,
)
from zraft.core.messages import Heartbeat, Message, QuiesceReply
from zraft.core.output import RoleName
from zraft.core.recovered import RaftSettings
from zraft.core.roles import NEVER, Follower
from zraft.errors import InvariantViolation, ReplicaFault, UsageError

SETTINGS = RaftSettings(quiet_beats=1)


def quiet_cluster(names: str = "a b c") -> Cluster:
    """A group that the first one leads, quiet."""
    cluster = led_cluster(names, SETTINGS)
    leader = names.split(maxsplit=1)[0]
    cluster.timeout(leader)
    cluster.stabilise()
    assert quiet(cluster) == sorted(cluster.hosts)
    return cluster


def quiet(cluster: Cluster) -> list[str]:
    return sorted(name for name, host in cluster.hosts.items() if host.raft is not None and host.up.role.is_quiet)


@pytest.mark.parametrize("leader", ["a", "b"])
@pytest.mark.parametrize("event", EVENT_SAMPLES, ids=lambda event: type(event).__name__)
def test_every_event_is_handled_by_who_is_quiet(leader: str, event: Event) -> None:
    """It is still quiet and nothing waits, or it is awake and has a deadline."""
    cluster = quiet_cluster("a b c" if leader == "a" else "b a c")
    raft = cluster["a"]
    with suppress(ReplicaFault, UsageError):
        output = raft.step(cluster.hosts["a"].now, event)
        assert (output.wake_at_ms >= NEVER) == raft.role.is_quiet
        invariants.check_all(raft.replica)
        if type(raft.role) is not Follower:
            calm = type(event) in (TimePassed, Saved, SnapshotTaken, NodeBack)
            assert raft.role.is_quiet == calm


@pytest.mark.parametrize("leader", ["a", "b"])
@pytest.mark.parametrize("message", MESSAGE_SAMPLES, ids=lambda message: type(message).__name__)
def test_every_message_is_handled_by_who_is_quiet(leader: str, message: Message) -> None:
    """Of an earlier term, of the own, and of a later one. A leader wakes by all but the answer to its own question."""
    for term in (0, 2, 3, 9):
        cluster = quiet_cluster("a b c" if leader == "a" else "b a c")
        raft = cluster["a"]
        with suppress(ReplicaFault):
            output = raft.step(
                cluster.hosts["a"].now, Received(msgspec.structs.replace(message, to=raft.me, term=term))
            )
            assert (output.wake_at_ms >= NEVER) == raft.role.is_quiet
            invariants.check_all(raft.replica)
            if raft.role_name is RoleName.LEADER:
                assert raft.role.is_quiet == (type(message) is QuiesceReply)


def test_a_quiet_follower_sleeps_through_what_concerns_another_node() -> None:
    """Silence or a restart of a node that does not lead it."""
    cluster = quiet_cluster()
    cluster.node_silent("b", "c", 500)
    cluster.step("b", NodeRestarted("c:1"), "node c restarted")
    cluster.step("b", NodeBack("a:1"), "node a back")
    assert quiet(cluster) == ["a", "b", "c"]


def test_an_awake_replica_takes_no_notice_of_nodes() -> None:
    """Its own heartbeats and timers tell it more."""
    cluster = led_cluster()
    for name in "abc":
        wake_at = cluster.hosts[name].wake_at
        for event in (NodeSilent("a:1", 0), NodeRestarted("a:1"), Rouse()):
            cluster.step(name, event, type(event).__name__)
        assert cluster.hosts[name].wake_at == wake_at
        assert cluster[name].leader == member("a")


def test_a_silence_is_never_later_than_now_and_its_campaign_never_earlier() -> None:
    """A node that stood still for an hour wakes its followers one after the other, not all at once."""
    cluster = quiet_cluster()
    host = cluster.hosts["b"]
    host.now += 3_600_000
    cluster.node_silent("b", "a", 3_600_000)
    assert host.now <= host.wake_at < host.now + SETTINGS.election_timeout_ms


def test_a_leader_that_is_busy_is_never_quiet() -> None:
    """Every heartbeat finds something new in the log."""
    cluster = led_cluster("a b c", SETTINGS)
    for number in range(1, 20):
        cluster.propose("a", number)
        cluster.stabilise()
        cluster.timeout("a")
        cluster.stabilise()
        assert quiet(cluster) == []


def test_reads_keep_a_group_awake_though_they_change_nothing() -> None:
    """Each begins a round."""
    cluster = led_cluster("a b c", SETTINGS)
    for number in range(1, 10):
        cluster.read("a", number)
        cluster.stabilise()
        cluster.timeout("a")
        cluster.stabilise()
        assert quiet(cluster) == []


def test_a_change_or_a_transfer_under_way_keeps_the_group_awake() -> None:
    """Both have deadlines of their own."""
    cluster = led_cluster("a b c", SETTINGS)
    cluster.add("d")
    cluster.isolate("d")
    cluster.step("a", ChangeMembership(7, cluster.members("a b d")), "change")
    for _ in range(10):
        cluster.timeout("a")
        cluster.stabilise()
        assert quiet(cluster) == []
    cluster = led_cluster("a b c", SETTINGS)
    cluster.isolate("b")
    cluster.step("a", TransferLeadership(8, member("b")), "transfer to b")
    cluster.timeout("a")
    cluster.stabilise()
    assert quiet(cluster) == []


def test_a_group_without_the_setting_is_never_quiet() -> None:
    """0: never."""
    cluster = led_cluster()
    cluster.run(20_000)
    assert quiet(cluster) == []


def test_the_only_voter_asks_nobody() -> None:
    """It is quiet as soon as it is idle."""
    cluster = Cluster("a", SETTINGS)
    cluster.bootstrap("a", "a")
    cluster.run(2_000)
    assert quiet(cluster) == ["a"]
    cluster.propose("a", 1)
    cluster.run(2_000)
    assert (quiet(cluster), cluster.commits()) == (["a"], {"a": 3})


def test_answers_to_an_earlier_question_do_not_count() -> None:
    """Of another attempt, of a later round than was asked, or when nothing is asked."""
    cluster = led_cluster("a b c", SETTINGS)
    term, role = cluster["a"].current_term, cluster.as_leader("a")
    for number in (0, 1, role.round, role.round + 1, 10**9):
        cluster.receive(QuiesceReply(member("b"), member("a"), term, number, True))
        cluster.receive(QuiesceReply(member("c"), member("a"), term, number, True))
    cluster.receive(QuiesceReply(member("x"), member("a"), term, role.round, True))
    assert not role.agreed
    assert quiet(cluster) == []


def test_one_refusal_ends_the_attempt() -> None:
    """Whoever agreed is woken by the next heartbeat."""
    cluster = led_cluster("a b c", SETTINGS)
    cluster.timeout("a")
    cluster.deliver("a", "b")
    cluster.deliver("b", "a")
    assert list(cluster.as_leader("a").agreed) == [member("b")]
    number = cluster.as_leader("a").round
    cluster.receive(QuiesceReply(member("c"), member("a"), cluster["a"].current_term, number, False))
    assert not cluster.as_leader("a").agreed
    cluster.drop()
    cluster.timeout("a")
    assert {type(message) for message in cluster.network} == {Heartbeat}
    cluster.stabilise()
    assert quiet(cluster) == []


def test_a_quiet_leader_with_something_under_way_breaks_an_invariant() -> None:
    """The simulator looks after each step."""
    cluster = quiet_cluster()
    replica = cluster["a"].replica
    cluster.as_leader("a").change_refs.append(1)
    with pytest.raises(InvariantViolation, match="quiet, and somebody waits"):
        invariants.check_all(replica)
