"""Thesis §3.10: leadership is handed over on request."""

from __future__ import annotations

from tests.raftkit.cluster import Cluster, led_cluster, member
from zraft.core.events import TransferLeadership
from zraft.core.messages import TimeoutNow
from zraft.core.output import Output, Refusal, RoleName


def _transfer(cluster: Cluster, name: str, to: str | None, ref: int = 5) -> Output:
    return cluster.step(name, TransferLeadership(ref, member(to) if to else None), "transfer")


def test_leader_takes_no_proposals_while_it_hands_over() -> None:
    """§3.10: otherwise the target might never be up to date."""
    cluster = led_cluster()
    _transfer(cluster, "a", "b")
    assert [refused.why for refused in cluster.propose("a", 1).refused] == [Refusal.TRANSFERRING]


def test_target_is_told_when_it_has_everything() -> None:
    """§3.10: TimeoutNow leaves when the target's log ends where the leader's does."""
    cluster = led_cluster()
    cluster.propose("a", 1)
    _transfer(cluster, "a", "b")
    assert cluster.under_way(kind="TimeoutNow") == []
    cluster.deliver("a", "b")
    cluster.save("b")
    cluster.deliver("b", "a")
    assert [message.to for message in cluster.under_way(kind="TimeoutNow")] == [member("b")]
    cluster.stabilise()
    assert (cluster.leaders(), cluster["b"].current_term) == (["b"], 3)


def test_target_campaigns_without_pre_vote_and_is_not_ignored() -> None:
    """§3.10, §4.2.3: the others vote for it although they hear their leader."""
    cluster = led_cluster()
    _transfer(cluster, "a", "c")
    cluster.deliver("a", "c", "TimeoutNow")
    assert cluster.role("c") is RoleName.CANDIDATE
    cluster.stabilise()
    assert (cluster.leader(), cluster["b"].voted_for) == ("c", member("c"))


def test_leader_goes_on_when_the_target_does_not_take_over() -> None:
    """§3.10: after an election timeout it takes proposals again, and says that it failed."""
    cluster = led_cluster()
    cluster.isolate("b")
    refused = []
    cluster.on_step = lambda host, event, output: refused.extend(output.refused)
    _transfer(cluster, "a", "b")
    cluster.run(600)
    assert [(each.ref, each.why) for each in refused] == [(5, Refusal.TIMED_OUT)]
    assert len(cluster.propose("a", 1).accepted) == 1


def test_nobody_but_a_voter_gets_leadership() -> None:
    """§3.10: learners and strangers are refused; the leader itself has it already."""
    cluster = led_cluster()
    assert [each.why for each in _transfer(cluster, "a", "z").refused] == [Refusal.NOT_A_VOTER]
    assert _transfer(cluster, "a", "a").transferred == [5]
    assert [each.why for each in _transfer(cluster, "b", "a").refused] == [Refusal.NOT_LEADER]


def test_best_successor_has_most_of_the_log() -> None:
    """§3.10: without a named target it is the voter that answers and has acknowledged most."""
    cluster = led_cluster()
    cluster.propose("a", 1)
    cluster.deliver("a", "c")
    cluster.save("c")
    cluster.deliver("c", "a")
    _transfer(cluster, "a", None)
    assert [message.to for message in cluster.under_way(kind="TimeoutNow")] == [member("c")]


def test_stranger_cannot_make_a_replica_campaign() -> None:
    """§3.10: TimeoutNow counts from the leader only."""
    cluster = led_cluster()
    cluster.receive(TimeoutNow(member("c"), member("b"), 2))
    assert cluster.role("b") is RoleName.FOLLOWER


def test_caller_learns_what_became_of_a_transfer() -> None:
    """Told and replaced: done. Stepped down for another reason, or before it was told: lost."""
    outcomes = []
    for told, silent in ((True, False), (False, True), (True, True)):
        cluster = led_cluster()
        found: list[str] = []
        cluster.on_step = lambda host, event, output, found=found: found.extend(
            [*("done" for _ in output.transferred), *(each.why.value for each in output.refused)]
        )
        if not told:
            cluster.propose("a", 1)
        if silent:
            cluster.isolate("a")
        _transfer(cluster, "a", "b")
        cluster.run(2000) if silent else cluster.stabilise()
        outcomes.append(found)
    assert outcomes[0] == ["done"]
    assert [len(found) for found in outcomes] == [1, 1, 1]
    assert set(outcomes[1] + outcomes[2]) <= {"lost", "timed_out"}
