"""Thesis §4: configurations change while the group serves."""

from __future__ import annotations

import pytest

from tests.raftkit.cluster import Cluster, led_cluster, member
from zraft.core.events import ChangeMembership
from zraft.core.messages import AppendReply, RequestVote
from zraft.core.output import Output, Refusal, RoleName
from zraft.core.recovered import RaftSettings


def change(cluster: Cluster, name: str, target: str, ref: int = 9) -> Output:
    """Ask `name` for it."""
    return cluster.step(name, ChangeMembership(ref, cluster.members(target)), f"change {target}")


def _voters(cluster: Cluster, name: str) -> tuple[str, str]:
    membership = cluster[name].membership
    assert membership is not None
    return (
        "".join(each.peer.name for each in membership.voters),
        "".join(each.peer.name for each in membership.outgoing),
    )


def test_configuration_takes_effect_when_it_is_appended() -> None:
    """§4.1: on the leader at once, on a follower with the message, committed or not."""
    cluster = led_cluster()
    change(cluster, "a", "a b")
    assert _voters(cluster, "a") == ("ab", "abc")
    cluster.deliver("a", "b")
    assert _voters(cluster, "b") == ("ab", "abc")
    assert cluster["b"].commit_index == 2


def test_joint_decisions_need_both_majorities() -> None:
    """§4.3: all of the new set and the leader are not enough without a majority of the old."""
    cluster = led_cluster()
    for name in "de":
        cluster.add(name)
    change(cluster, "a", "a d e")
    cluster.run(30)
    assert _voters(cluster, "a") == ("ade", "")
    cluster = led_cluster()
    for name in "de":
        cluster.add(name)
    cluster.isolate("b", "c")
    cluster.cut.difference_update(cluster.links("a", "b"))
    change(cluster, "a", "a d e")
    cluster.deliver("a", "b")
    cluster.save("b")
    cluster.save("a")
    cluster.deliver("b", "a")
    cluster.isolate("b")
    cluster.stabilise()
    assert _voters(cluster, "a") == ("ade", "abc")
    progress = cluster.as_leader("a").progress
    assert progress[member("d")].match_index == progress[member("e")].match_index == 4
    assert cluster["a"].commit_index == 3


def test_joint_election_needs_both_majorities() -> None:
    """§4.3: a candidate whose log ends with a joint configuration asks both sets."""
    cluster = led_cluster("a b c d")
    change(cluster, "a", "a b")
    cluster.deliver("a", "b")
    cluster.save("b")
    cluster.crash("a")
    cluster.network.clear()
    cluster.elect("b")
    cluster.run(5000)
    assert "b" not in cluster.leaders()
    assert cluster.terms("b") == [1, 2, 2]


def test_new_configuration_follows_when_the_joint_one_is_committed() -> None:
    """§4.3: and not before; then the caller is told, when it is committed itself."""
    cluster = led_cluster()
    done: list[int] = []
    cluster.on_step = lambda host, event, output: done.extend(output.changed)
    change(cluster, "a", "a b")
    assert cluster["a"].log.last_index == 3
    cluster.stabilise()
    assert (cluster["a"].log.last_index, _voters(cluster, "a"), done) == (4, ("ab", ""), [9])


def test_one_change_at_a_time() -> None:
    """§4.1: until one is committed the next is refused; the same one is joined."""
    cluster = led_cluster()
    change(cluster, "a", "a b", 1)
    assert [each.why for each in change(cluster, "a", "b c", 2).refused] == [Refusal.CHANGE_IN_PROGRESS]
    done: list[int] = []
    cluster.on_step = lambda host, event, output: done.extend(output.changed)
    assert change(cluster, "a", "b a", 3).refused == []
    cluster.stabilise()
    assert done == [1, 3]


def test_no_change_before_an_entry_of_the_own_term_is_committed() -> None:
    """§4.1, the correction of 2015: otherwise two leaders' changes may have disjoint quorums (BM-031)."""
    cluster = led_cluster()
    cluster.win("b", "c")
    assert [each.why for each in change(cluster, "b", "a b").refused] == [Refusal.NOT_STABLE]
    cluster.stabilise()
    assert change(cluster, "b", "a b").refused == []


@pytest.mark.parametrize("size", [0, 32])
def test_configuration_has_one_to_thirty_one_voters(size: int) -> None:
    """A group without voters can decide nothing, one of too many decides slowly."""
    cluster = led_cluster()
    target = tuple(member(f"n{number}") for number in range(size))
    output = cluster.step("a", ChangeMembership(1, target), "change")
    assert [each.why for each in output.refused] == [Refusal.NOT_A_VOTER]


def test_new_servers_catch_up_without_a_vote() -> None:
    """§4.2.1: while d learns the log, the three decide alone."""
    cluster = led_cluster()
    cluster.add("d")
    cluster.isolate("d")
    change(cluster, "a", "a b c d")
    cluster.run(500)
    assert _voters(cluster, "a") == ("abc", "")
    cluster.propose("a", 1)
    cluster.stabilise()
    assert cluster["a"].commit_index == 4
    cluster.heal()
    cluster.run(2000)
    assert _voters(cluster, "a") == ("abcd", "")
    assert cluster.role("d") is RoleName.FOLLOWER


def test_learner_is_caught_up_after_a_quick_round() -> None:
    """§4.2.1: a round that took longer than an election timeout is followed by another."""
    cluster = led_cluster()
    cluster.add("d")
    cluster.isolate("d")
    change(cluster, "a", "a b c d")
    cluster.run(700)
    cluster.propose("a", 1)
    cluster.stabilise()
    cluster.heal()
    cluster.receive(AppendReply(member("d"), member("a"), 2, True, 3))
    assert _voters(cluster, "a") == ("abc", "")
    cluster.receive(AppendReply(member("d"), member("a"), 2, True, 4))
    assert _voters(cluster, "a") == ("abcd", "abc")


def test_change_is_given_up_when_a_learner_makes_no_progress() -> None:
    """§4.2.1: the group goes back to what it was and says so (BM-048)."""
    cluster = led_cluster("a b c", RaftSettings(catch_up_ms=2000))
    cluster.add("d")
    cluster.isolate("d")
    refused: list[Refusal] = []
    cluster.on_step = lambda host, event, output: refused.extend(each.why for each in output.refused)
    change(cluster, "a", "a b c d")
    cluster.run(2200)
    assert (_voters(cluster, "a"), refused) == (("abc", ""), [Refusal.CATCH_UP_TIMEOUT])
    assert cluster["a"].membership is not None
    assert cluster["a"].membership.is_stable


def test_learner_that_fetches_a_snapshot_is_not_given_up() -> None:
    """§4.2.1: of a long fetch nothing is seen here; as long as the learner lives it counts as progress."""
    cluster = led_cluster("a b c", RaftSettings(catch_up_ms=1000))
    cluster.snapshot("a")
    cluster.add("d")
    change(cluster, "a", "a b c d")
    cluster.is_fetching_slow = True
    cluster.run(3000)
    assert cluster.hosts["d"].restoring is not None
    cluster.is_fetching_slow = False
    cluster.run(1000)
    assert _voters(cluster, "a") == ("abcd", "")


def test_leader_outside_the_configuration_leads_until_it_is_committed() -> None:
    """§4.2.2: it does not count itself meanwhile, then steps down and hands over."""
    cluster = led_cluster()
    change(cluster, "a", "b c")
    cluster.deliver()
    for name in "abc":
        cluster.save(name)
    cluster.deliver()
    assert (_voters(cluster, "a"), cluster.role("a")) == (("bc", ""), RoleName.LEADER)
    cluster.save("a")
    cluster.deliver("a", "b")
    cluster.save("b")
    cluster.deliver("b", "a")
    assert cluster["a"].commit_index == 3
    cluster.stabilise()
    assert cluster.role("a") is RoleName.LEARNER
    assert cluster.leaders() == ["b"]


def test_server_whose_own_log_removes_it_still_campaigns() -> None:
    """§4.2.2: a alone has the entry that removes it; b votes for nobody else, and has not got that entry."""
    cluster = led_cluster("a b")
    change(cluster, "a", "b")
    cluster.deliver("a", "b")
    cluster.save("b")
    cluster.save("a")
    cluster.deliver("b", "a")
    cluster.save("a")
    assert (_voters(cluster, "a"), _voters(cluster, "b")) == (("b", ""), ("b", "ab"))
    cluster.network.clear()
    cluster.restart("a")
    cluster.run(4000)
    assert cluster.leaders() == ["b"]
    assert (_voters(cluster, "b"), cluster.role("a")) == (("b", ""), RoleName.LEARNER)


def test_change_that_would_cost_the_majority_is_refused() -> None:
    """A set of which a majority is silent could not decide anything any more (BM-048)."""
    cluster = led_cluster("a b c d e")
    cluster.crash("d")
    cluster.crash("e")
    cluster.run(1000)
    assert [each.why for each in change(cluster, "a", "a d e").refused] == [Refusal.NO_MAJORITY]
    assert change(cluster, "a", "a b d").refused == []
    cluster.run(200)
    assert _voters(cluster, "a") == ("abd", "")


def test_learner_that_has_fallen_silent_gets_no_vote() -> None:
    """§4.2.1: it had caught up, the other one takes long, and then it is gone: the change waits, then is given up."""
    cluster = led_cluster()
    for name in "de":
        cluster.add(name)
    cluster.isolate("e")
    change(cluster, "a", "a b c d e")
    cluster.run(300)
    cluster.crash("d")
    cluster.run(600)
    cluster.heal()
    cluster.run(1500)
    assert _voters(cluster, "a") == ("abc", "")
    cluster.run(6000)
    assert cluster["a"].membership == cluster["b"].membership
    assert _voters(cluster, "a") == ("abc", "")
    assert cluster.terms("a")[-1] == 2


def test_leader_that_leaves_takes_no_proposal_behind_its_last_configuration() -> None:
    """§4.2.2: it would go before they are decided. Those before it are, by then."""
    cluster = led_cluster()
    cluster.propose("a", 1)
    change(cluster, "a", "b c")
    while cluster["a"].log.last_index < 5:
        cluster.deliver()
        for name in "abc":
            cluster.save(name)
    assert [each.why for each in cluster.propose("a", 2).refused] == [Refusal.TRANSFERRING]
    cluster.stabilise()
    assert cluster.leaders() == ["b"]
    assert cluster["b"].log.has(3, 2)


def test_removed_server_is_told_when_it_asks_for_votes() -> None:
    """§4.2.3: it was cut off when it was removed, so the leader could not tell it; any other server can."""
    cluster = led_cluster()
    cluster.isolate("c")
    change(cluster, "a", "a b")
    cluster.run(100)
    cluster.cut = {("a", "c"), ("c", "a")}
    left: list[int] = []
    cluster.on_step = lambda host, event, output: left.extend([output.left] * bool(output.left))
    cluster.run(3000)
    assert set(left) == {4}
    assert cluster["b"].current_term == 2


def test_removed_server_disturbs_nobody() -> None:
    """§4.2.3: whoever hears a leader ignores requests for votes; the term stays (BM-042)."""
    cluster = led_cluster()
    cluster.isolate("c")
    change(cluster, "a", "a b")
    cluster.run(2000)
    cluster.heal()
    cluster.receive(RequestVote(member("c"), member("b"), 99, 99, 99))
    cluster.receive(RequestVote(member("c"), member("a"), 99, 99, 99))
    cluster.run(5000)
    assert (cluster.leaders(), cluster["a"].current_term, cluster["b"].current_term) == (["a"], 2, 2)
    assert "ignores a vote request" in "".join(cluster.trace)


def test_group_is_founded_once_by_a_blank_replica() -> None:
    """§4.4: entry 1 of term 1 is the first configuration; the only voter leads at once."""
    cluster = Cluster("a")
    cluster.bootstrap("a", "a")
    assert (cluster["a"].current_term, cluster["a"].log.last_index) == (1, 1)
    cluster.run(10)
    assert cluster.leaders() == ["a"]
