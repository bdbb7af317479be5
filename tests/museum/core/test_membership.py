"""Membership change: what others got wrong, played here."""

from __future__ import annotations

from tests.raftkit.cluster import Cluster, led_cluster, member
from zraft.core.entries import Membership, SnapshotMark
from zraft.core.events import ChangeMembership
from zraft.core.messages import AppendEntries, AppendReply, InstallSnapshot, RequestVoteReply
from zraft.core.output import Output, Refusal, RoleName

A, B, C, D = member("a"), member("b"), member("c"), member("d")


def change(cluster: Cluster, name: str, target: str, ref: int = 9) -> Output:
    """Ask `name` for it."""
    return cluster.step(name, ChangeMembership(ref, cluster.members(target)), f"change {target}")


def test_bm_031_no_change_before_an_own_entry_is_committed() -> None:
    """Two leaders' changes with disjoint quorums: the second one may not begin before its no-op is committed."""
    cluster = led_cluster("a b c d")
    cluster.add("e")
    change(cluster, "a", "a b c d e")
    cluster.network.clear()
    cluster.isolate("a", "e")
    cluster.win("b", "c", "d")
    assert [each.why for each in change(cluster, "b", "b c d").refused] == [Refusal.NOT_STABLE]
    cluster.stabilise()
    assert change(cluster, "b", "b c d").refused == []
    cluster.stabilise()
    cluster.heal()
    cluster.elect("a")
    cluster.run(2000)
    assert cluster.leaders() == ["b"]


def test_bm_032_configuration_rules_when_it_is_in_the_log() -> None:
    """Committed and not yet applied anywhere: whoever was removed by it does not campaign, applied or not."""
    cluster = led_cluster()
    change(cluster, "a", "a b")
    cluster.deliver("a", "c")
    cluster.save("c")
    assert cluster["c"].membership == Membership((A, B), outgoing=(A, B, C))
    cluster.isolate("c")
    cluster.stabilise()
    cluster.heal()
    cluster.receive(_last_append(cluster, "c"))
    assert cluster["c"].membership == Membership((A, B))
    for _ in range(5):
        cluster.timeout("c")
    assert (cluster.role("c"), cluster["c"].current_term) == (RoleName.LEARNER, 2)


def _last_append(cluster: Cluster, to: str) -> AppendEntries:
    """The leader's last entry, as it would have sent it to `to`."""
    before, last = cluster.hosts["a"].disk.journal()[-2:]
    return AppendEntries(A, cluster.hosts[to].me, 2, before.last, before.term, before.last, 0, [last])


def test_bm_033_joint_configuration_is_committed_before_the_final_one_follows() -> None:
    """The leader dies in between; the next one needs both majorities for its no-op, and only then goes on."""
    cluster = led_cluster("a b c d e")
    change(cluster, "a", "a b")
    for _ in range(3):
        cluster.time("a", 50)  # heartbeats: the leader looks whether the change can go on
        cluster.save("a")
    assert cluster["a"].membership == Membership((A, B), outgoing=cluster.members("a b c d e"))
    cluster.deliver("a", "b")
    cluster.save("b")
    cluster.crash("a")
    cluster.network.clear()
    cluster.restart("b")
    cluster.start("a")
    cluster.isolate("a", "b")
    cluster.run(6000)
    assert cluster.terms("b") == [1, 2, 2], "a and b are all of the new set and no majority of the old"
    cluster.heal()
    cluster.run(6000)
    leader = cluster[cluster.leader()]
    assert leader.membership is not None
    assert leader.membership.is_stable


def test_bm_034_appended_configuration_survives_a_restart() -> None:
    """Not committed, and in force all the same; when it is truncated, the one before is."""
    cluster = led_cluster()
    change(cluster, "a", "a b")
    cluster.deliver("a", "c")
    cluster.save("c")
    cluster.restart("c")
    assert cluster["c"].membership == Membership((A, B), outgoing=(A, B, C))
    cluster.crash("a")
    cluster.network.clear()
    cluster.crash("c")
    cluster.start("a")
    assert cluster["a"].membership == Membership((A, B, C))


def test_bm_035_snapshot_replaces_a_configuration_that_was_never_committed() -> None:
    """B leads with a configuration of its own; the snapshot of a later leader rules, and B is no voter in it."""
    cluster = led_cluster("b a c")
    cluster.isolate("b")
    change(cluster, "b", "b")
    cluster.save("b")
    cluster.heal()
    mark = SnapshotMark(60, 7, 9, 50, Membership((A, C)))
    cluster.receive(InstallSnapshot(A, B, 7, mark))
    cluster.finish_restore("b")
    cluster.save("b")
    assert (cluster["b"].membership, cluster["b"].memberships.current_index) == (Membership((A, C)), 50)
    for _ in range(5):
        cluster.timeout("b")
    assert (cluster.role("b"), cluster["b"].current_term) == (RoleName.LEARNER, 7)


def test_bm_038_configuration_is_in_the_snapshot() -> None:
    """Change, snapshot, compaction, restart: the same configuration."""
    cluster = led_cluster()
    cluster.add("d")
    change(cluster, "a", "a b d")
    cluster.run(500)
    for name in "abd":
        cluster.snapshot(name)
        cluster.restart(name)
        assert cluster[name].membership == Membership((A, B, D))
        assert cluster[name].log.batch_count == 0


def test_bm_039_promoted_learner_that_has_not_heard_of_it_votes() -> None:
    """{b, c} promoted a, c is dead and a knows itself as a learner: b needs its vote and wins."""
    cluster = led_cluster("b c")
    cluster.add("a")
    change(cluster, "b", "a b c")
    while cluster["b"].log.last_index < 4:
        cluster.deliver()
        for name in "abc":
            cluster.save(name)
    cluster.isolate("a")
    cluster.stabilise()
    assert cluster.role("a") is RoleName.LEARNER
    assert cluster["c"].membership == Membership((A, B, C))
    cluster.heal()
    cluster.crash("b")
    cluster.elect("c")
    cluster.run(1000)
    assert (cluster.leaders(), cluster["a"].voted_for) == (["c"], C)


def test_bm_042_removed_server_deposes_nobody() -> None:
    """It was removed while cut off; for ten seconds after it is back, leader and term stay."""
    cluster = led_cluster("a b c d")
    cluster.isolate("d")
    change(cluster, "a", "a b c")
    cluster.run(3000)
    cluster.heal()
    cluster.run(10_000)
    assert cluster.leaders() == ["a"]
    assert {cluster[name].current_term for name in "abcd"} == {2}


def test_bm_043_other_life_of_a_member_is_not_that_member() -> None:
    """B lost its disk: what the new life says does not count, what is meant for the old one it does not take."""
    cluster = led_cluster()
    cluster.crash("b")
    cluster.add("b")
    newborn = cluster.hosts["b"].me
    assert newborn.incarnation == 2
    cluster.propose("a", 1)
    cluster.save("a")
    cluster.receive(AppendReply(newborn, A, 2, True, 3))
    cluster.run(1000)
    assert cluster["a"].commit_index == 3, "committed by a and c"
    assert cluster.as_leader("a").progress[B].match_index == 2
    assert (cluster.role("b"), cluster["b"].log.last_index) == (RoleName.BLANK, 0)
    cluster.crash("a")
    cluster.run(3000)
    cluster.receive(RequestVoteReply(newborn, C, cluster["c"].current_term, True))
    assert cluster.leaders() == [], "c alone is no majority, whatever the newborn says"


def test_bm_045_isolated_leader_removes_nobody() -> None:
    """Its change is appended here and committed nowhere; the other side elects, and the change is overwritten."""
    cluster = led_cluster()
    cluster.isolate("a")
    done: list[int] = []
    cluster.on_step = lambda host, event, output: done.extend(output.changed)
    change(cluster, "a", "a")
    cluster.run(3000)
    assert (done, cluster.leaders() != ["a"]) == ([], True)
    cluster.heal()
    cluster.run(3000)
    assert cluster["a"].membership == Membership((A, B, C))


def test_bm_048_dead_newcomer_does_not_stop_the_group() -> None:
    """A second member that never comes up: writes go on, and the change is given up."""
    cluster = Cluster("a")
    cluster.bootstrap("a", "a")
    cluster.run(10)
    cluster.add("b")
    cluster.crash("b")
    change(cluster, "a", "a b")
    for ref in range(5):
        cluster.propose("a", ref)
        cluster.stabilise()
        assert cluster["a"].commit_index == cluster["a"].log.last_index
    cluster.run(6000)
    assert cluster["a"].membership == Membership((A,))
