"""Whether a replica believes that it was left out, and who says so to whom."""

from __future__ import annotations

import pytest

from tests.raftkit.cluster import Cluster, led_cluster, member
from zraft.core.entries import Membership
from zraft.core.events import ChangeMembership
from zraft.core.messages import AppendEntries, Message, NotMember, PreVote, RequestVote
from zraft.core.output import Output, RoleName

A, B, C, D = member("a"), member("b"), member("c"), member("d")


def change(cluster: Cluster, name: str, target: str) -> Output:
    return cluster.step(name, ChangeMembership(9, cluster.members(target)), f"change {target}")


def hear(cluster: Cluster, name: str, message: Message) -> int:
    """What `name` says of having left after this message."""
    cluster.receive(message)
    return cluster.hosts[name].last.left


def test_leader_tells_whom_it_left_out_once() -> None:
    """When the configuration is committed, not before, and not again."""
    cluster = led_cluster()
    told: list[Message] = []
    cluster.on_step = lambda host, event, output: told.extend(
        message for message in output.send_now if isinstance(message, NotMember)
    )
    change(cluster, "a", "a b")
    assert told == []
    cluster.stabilise()
    assert told == [NotMember(A, C, 2, 4, 2)]
    cluster.run(300)
    assert len(told) == 1
    assert cluster.leaders() == ["a"]


def test_next_leader_tells_those_that_its_predecessor_could_not() -> None:
    """The leader dies with the final configuration appended; whoever commits it tells them."""
    cluster = led_cluster("a b c d e")
    change(cluster, "a", "a b c")
    while cluster["b"].log.last_index < 4 or cluster["c"].log.last_index < 4:
        cluster.deliver()
        for name in "abcde":
            cluster.save(name)
    cluster.crash("a")
    cluster.network.clear()
    left: list[str] = []
    cluster.on_step = lambda host, event, output: left.extend([host.me.peer.name] * bool(output.left))
    cluster.elect("b")
    assert sorted(set(left)) == ["d", "e"]


@pytest.mark.parametrize(
    ("index", "term", "believed"),
    [
        (5, 2, True),
        (2, 2, True),
        (1, 1, False),
        (9, 3, True),
    ],
)
def test_only_what_is_newer_than_the_own_configuration_is_believed(index: int, term: int, believed: bool) -> None:
    """Its configuration stands at 1, committed: an entry above it, committed without it, settles the matter."""
    cluster = led_cluster()
    assert hear(cluster, "b", NotMember(C, B, 3, index, term)) == (index if believed else 0)


def test_who_was_left_out_takes_no_part_any_more_though_it_is_named_again() -> None:
    """Its host is about to put its data aside: what it acknowledged or voted until then would be gone with that."""
    cluster = led_cluster()
    assert hear(cluster, "c", NotMember(B, C, 3, 5, 2)) == 5
    before = cluster["c"].log.last_index, cluster["c"].current_term
    said: list[Message] = []
    cluster.on_step = lambda host, event, output: said.extend([*output.send_now, *output.send_after_save])
    end = cluster["a"].log.last_index
    cluster.receive(AppendEntries(A, cluster.hosts["c"].me, 2, end, 2, 1, 0, []))
    cluster.receive(RequestVote(B, cluster.hosts["c"].me, 7, 100, 7))
    assert (cluster["c"].log.last_index, cluster["c"].current_term, said) == (*before, [])


def test_an_uncommitted_configuration_of_an_older_term_does_not_keep_a_replica() -> None:
    """It stands at a higher index and can never be committed: another entry took its place."""
    cluster = led_cluster("a b c d")
    cluster.isolate("a")
    cluster.propose("a", 1, 2, 3)
    change(cluster, "a", "a b c")
    assert (cluster["a"].memberships.current_index, cluster["a"].membership is not None) == (6, True)
    cluster.heal()
    assert hear(cluster, "a", NotMember(B, A, 2, 5, 2)) == 0, "the same leader's log goes on after 5"
    assert hear(cluster, "a", NotMember(B, A, 4, 5, 3)) == 5
    assert cluster.role("a") is RoleName.FOLLOWER


def test_a_newcomer_believes_nobody_but_its_leader() -> None:
    """It catches up with a time before it was named; who is behind, too, knows as little as it does."""
    cluster = led_cluster("a b")
    cluster.add("c")
    change(cluster, "a", "a b c")
    cluster.receive(AppendEntries(A, cluster.hosts["c"].me, 2, 0, 0, 1, 0, cluster.hosts["a"].disk.journal()[:1]))
    assert cluster["c"].membership == Membership((A, B))
    assert hear(cluster, "c", NotMember(B, C, 2, 2, 2)) == 0
    assert hear(cluster, "c", NotMember(A, C, 2, 4, 2)) == 4


def test_whoever_may_not_vote_asks_when_it_hears_nobody() -> None:
    """A learner that was dropped while it was away would wait for ever."""
    cluster = led_cluster("a b")
    cluster.add("c")
    change(cluster, "a", "a b c")
    cluster.deliver("a", "c")
    cluster.save("c")
    cluster.deliver("c", "a")
    cluster.deliver("a", "c")
    cluster.isolate("c")
    cluster.run(8000)
    assert cluster["a"].membership == Membership((A, B))
    left: list[int] = []
    cluster.on_step = lambda host, event, output: left.extend([output.left] * bool(output.left))
    cluster.heal()
    cluster.run(2000)
    assert left
    assert cluster["c"].current_term == 2


def test_a_voter_that_only_some_have_removed_is_not_told_so() -> None:
    """The configuration without it is not committed: it is asked as a voter."""
    cluster = led_cluster()
    change(cluster, "a", "a b")
    cluster.deliver("a", "b")
    cluster.save("b")
    cluster.receive(PreVote(C, B, 3, 2, 2))
    assert [type(message).__name__ for message in cluster.under_way("b", "c")] == ["PreVoteReply"]


def test_a_removed_leader_takes_no_proposal_after_its_last_configuration() -> None:
    """So that nothing that it took is undecided when it goes."""
    cluster = led_cluster()
    change(cluster, "a", "b c")
    assert not cluster.propose("a", 1).refused
    while cluster["a"].log.last_index < 5:
        cluster.deliver()
        for name in "abc":
            cluster.save(name)
    refused = cluster.propose("a", 2).refused
    assert [each.why.value for each in refused] == ["transferring"]
    cluster.stabilise()
    assert cluster.leaders() == ["b"]
    assert cluster["b"].current_term == 3
