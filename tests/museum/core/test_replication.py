"""Log replication and the commit rule: what others got wrong, played here."""

from __future__ import annotations

import pytest

from tests.raftkit.cluster import Cluster, led_cluster, log_of, member
from zraft.core.entries import Batch, Kind, Membership
from zraft.core.events import Loaded
from zraft.core.following import truncate_from
from zraft.core.messages import AppendEntries, AppendReply, Heartbeat
from zraft.core.output import RoleName
from zraft.core.recovered import RaftSettings
from zraft.errors import InvariantViolation

A, B, C = member("a"), member("b"), member("c")
VOTERS = Membership((A, B, C))


def follower(*terms: int, term: int = 0) -> Cluster:
    """One replica with such a log."""
    cluster = Cluster()
    cluster.add("a", terms, "a b c", term=term)
    return cluster


def _replies(cluster: Cluster) -> list[AppendReply]:
    cluster.save("a")
    replies = [message for message in cluster.network if isinstance(message, AppendReply)]
    cluster.network.clear()
    return replies


def test_bm_014_delayed_shorter_append_truncates_nothing() -> None:
    """The longer one came first and its end is committed: the shorter one, late, leaves it."""
    log = log_of([1, 2, 2], VOTERS)
    cluster = follower(1, term=2)
    cluster.receive(AppendEntries(B, A, 2, 1, 1, 3, 0, log[1:]))
    cluster.receive(AppendEntries(B, A, 2, 1, 1, 1, 0, log[1:2]))
    assert (cluster.terms("a"), cluster["a"].commit_index) == ([1, 2, 2], 3)
    assert [reply.index for reply in _replies(cluster)] == [3, 2]


def test_bm_015_stale_refusal_makes_no_follower_roll_back() -> None:
    """An old refusal makes the leader send less again; the follower, far ahead, truncates nothing."""
    cluster = led_cluster()
    for ref in range(3):
        cluster.propose("a", ref)
    cluster.run(200)
    assert cluster["b"].commit_index == 5
    cluster.receive(AppendReply(B, A, 2, False, 2, 1, 1))
    cluster.propose("a", 9)
    cluster.stabilise()
    assert cluster.as_leader("a").progress[B].match_index == 6
    assert not any("truncates" in line for line in cluster.trace)


def test_bm_015_truncation_of_committed_entries_stops_the_replica() -> None:
    """A leader whose log lacks what is committed here cannot be one."""
    cluster = led_cluster("b a c")
    cluster.receive(AppendEntries(B, A, 2, 0, 0, 0, 0, log_of([1, 1], VOTERS)))
    assert "committed" in str(cluster.hosts["a"].fault)


def test_bm_016_acknowledgement_names_nothing_that_was_not_verified() -> None:
    """The stale suffix behind the message's entries is not acknowledged."""
    cluster = follower(1, 1, 1, 1, 1, 1, term=3)
    cluster.receive(AppendEntries(B, A, 3, 3, 1, 0, 0, []))
    assert [reply.index for reply in _replies(cluster)] == [3]
    log = log_of([1, 1, 1, 3], VOTERS)
    cluster.receive(AppendEntries(B, A, 3, 3, 1, 0, 0, log[3:]))
    assert [reply.index for reply in _replies(cluster)] == [4]


def test_bm_017_match_index_never_falls() -> None:
    """5, then 3, then a refusal: it stays at 5, and next index above it."""
    cluster = led_cluster()
    for ref in range(3):
        cluster.propose("a", ref)
    progress = cluster.as_leader("a").progress[B]
    for reply in (
        AppendReply(B, A, 2, True, 5),
        AppendReply(B, A, 2, True, 3),
        AppendReply(B, A, 2, False, 3, 2, 2),
        AppendReply(B, A, 2, False, 5, 0, 0),
    ):
        cluster.receive(reply)
        assert progress.match_index == 5
        assert progress.next_index > 5


def test_bm_018_commit_index_does_not_reach_an_unverified_suffix() -> None:
    """Old entries 4 to 6 behind what a probe verified stay uncommitted."""
    cluster = follower(1, 1, 1, 1, 1, 1, term=3)
    cluster.receive(AppendEntries(B, A, 3, 3, 1, 6, 0, []))
    assert cluster["a"].commit_index == 3


def test_bm_019_commit_index_never_falls() -> None:
    """A new leader that knows less takes nothing back, by heartbeat or by entries."""
    cluster = led_cluster()
    cluster.run(200)
    before = cluster["b"].commit_index
    cluster.receive(Heartbeat(A, B, 2, 99, 1, 0))
    cluster.receive(AppendEntries(A, B, 2, 2, 2, 1, 0, []))
    assert cluster["b"].commit_index == before == 2


def test_bm_020_entry_of_an_earlier_term_is_not_committed_by_counting() -> None:
    """Figure 8: stored everywhere, it waits for an entry of the leader's own term."""
    cluster = Cluster()
    for name in "abc":
        cluster.add(name, [1, 2], "a b c", term=3)
    cluster.win("b", "a", "c")
    cluster.save("b")
    for other in (A, C):
        cluster.receive(AppendReply(other, B, 4, True, 2))
    assert {cluster.as_leader("b").progress[each].match_index for each in (A, C)} == {2}
    assert (cluster["b"].saves.durable_index, cluster["b"].commit_index) == (3, 0)
    cluster.stabilise()
    assert cluster["b"].commit_index == 3


def figure_8(*, stores_own_term: bool) -> Cluster:
    """Five nodes. a led term 2, and only b has its entry; e led term 3 with another one.

    Then a leads term 4, and sends c the entry of term 2. `stores_own_term`: b and c get the entry of term 4, too.
    """
    cluster = Cluster(settings=RaftSettings(append_bytes=1))
    for name, log in (("a", [1, 2]), ("b", [1, 2]), ("c", [1]), ("d", [1]), ("e", [1, 3])):
        cluster.add(name, log, "a b c d e", term=3)
    cluster.win("a", "b", "c")
    cluster.deliver("a", "e", "RequestVote")  # refused, but from then on it knows of the term
    cluster.save("e")
    for name in "de":
        cluster.drop(to=name)
        cluster.drop(name)
    cluster.save("a")
    while cluster["c"].log.last_index < (3 if stores_own_term else 2):
        assert cluster.network
        for name in "bc":
            cluster.deliver("a", name, count=1)
            cluster.save(name)
        cluster.deliver(to="a", count=1 if not stores_own_term else 1 << 30)
        cluster.save("a")
    return cluster


def test_bm_020_figure_8_what_is_stored_on_a_majority_may_still_be_replaced() -> None:
    """(a) to (d): the entry of term 2 is on three of five, is not committed, and e replaces it everywhere."""
    cluster = figure_8(stores_own_term=False)
    assert [cluster.terms(name)[1] for name in "abc"] == [2, 2, 2]
    assert set(cluster.commits().values()) <= {0, 1}
    cluster.crash("a")
    cluster.network.clear()
    cluster.win("e", "c", "d")
    cluster.start("a")
    cluster.run(5000)
    assert {tuple(cluster.terms(name)[:2]) for name in "abcde"} == {(1, 3)}


def test_bm_020_figure_8_an_entry_of_the_own_term_commits_what_is_before_it() -> None:
    """(e): the entry of term 4 is on three of five as well: e cannot win, and what was committed stays."""
    cluster = figure_8(stores_own_term=True)
    cluster.deliver(to="a")
    assert cluster["a"].commit_index == 3
    cluster.crash("a")
    cluster.network.clear()
    for _ in range(5):
        cluster.timeout("e")
        cluster.stabilise()
        assert cluster.role("e") is not RoleName.LEADER
    cluster.run(5000)
    assert cluster.leaders()[0] in "bc"
    cluster.start("a")
    cluster.run(5000)
    assert {tuple(cluster.terms(name)[:3]) for name in "abcde"} == {(1, 2, 4)}


def test_bm_021_inherited_entries_are_committed_without_traffic() -> None:
    """The leader changes and no client says anything: the no-op commits what was there."""
    cluster = Cluster()
    for name in "abc":
        cluster.add(name, [1, 2, 2, 2], "a b c", term=3)
    cluster.run(3000)
    assert set(cluster.commits().values()) == {5}


def test_bm_023_no_append_without_the_entry_before_it() -> None:
    """What was read from the journal does not begin where the follower's log ends: nothing of it is sent."""
    cluster = led_cluster("a b c", RaftSettings(cache_bytes=0))
    cluster.isolate("c")
    for ref in range(4):
        cluster.propose("a", ref)
        cluster.stabilise()
    cluster.heal()
    cluster.connection_lost("a", "c")
    cluster.connection_back("a", "c")
    journal = cluster.hosts["a"].disk.journal()
    for batches in ((), tuple(journal[4:])):
        cluster.step("a", Loaded(C, 3, batches), "loaded too little")
        assert cluster.under_way("a", "c", "AppendEntries") == []
    cluster.run(300)
    assert cluster["c"].log.last_index == 6


def test_bm_023_follower_refuses_a_gap() -> None:
    """Entries that do not follow the one they are said to follow stop the replica before they are stored."""
    cluster = follower(1, 1)
    gap = Batch(9, 1, 1, 0, 0, Kind.COMMANDS, b"")
    cluster.receive(AppendEntries(B, A, 1, 2, 1, 0, 0, [gap]))
    assert cluster.hosts["a"].fault is not None
    assert cluster.hosts["a"].disk.journal()[-1].last == 2


def test_bm_024_overwritten_configuration_is_not_in_force_any_more() -> None:
    """An uncommitted configuration gives way to a command at its index: the one before rules again."""
    cluster = follower(1, 1, term=2)
    from_b = log_of([1, 1], VOTERS)
    changed = Batch(3, 1, 2, 0, 0, Kind.CONFIGURATION, from_b[0].payload.replace(b"c:1", b"x:1"))
    cluster.receive(AppendEntries(B, A, 2, 2, 1, 0, 0, [changed]))
    assert cluster["a"].memberships.current_index == 3
    assert cluster["a"].membership != VOTERS
    cluster.receive(AppendEntries(C, A, 3, 2, 1, 0, 0, [Batch(3, 2, 3, 0, 0, Kind.COMMANDS, b"xy")]))
    assert (cluster["a"].membership, cluster["a"].memberships.current_index) == (VOTERS, 1)
    assert cluster.terms("a") == [1, 1, 3, 3]


def test_bm_025_old_completion_does_not_count_for_a_newer_entry() -> None:
    """Entry 3 is written slowly, truncated, and written anew by another leader: the first completion proves nothing."""
    cluster = led_cluster()
    cluster.isolate("a")
    cluster.propose("a", 1)
    cluster.network.clear()
    cluster.win("b", "c")
    cluster.heal()
    noop = cluster.hosts["b"].disk.journal()[2]
    cluster.receive(AppendEntries(B, A, 3, 2, 2, 2, 0, [noop]))
    assert len(cluster.hosts["a"].disk.pending) == 2
    cluster.save("a", 1)
    assert cluster["a"].saves.durable_index == 2
    assert cluster.under_way("a", "b", "AppendReply") == []
    cluster.save("a")
    assert cluster["a"].saves.durable_index == 3
    assert [reply.index for reply in cluster.under_way("a", "b") if isinstance(reply, AppendReply)] == [3]


def test_bm_030_nothing_that_was_read_disappears() -> None:
    """A read names only what a majority has durably; the leader's own uncommitted entry is not in it."""
    cluster = led_cluster()
    cluster.propose("a", 1)
    cluster.save("a")
    cluster.drop(kind="AppendEntries")
    ready: list[int] = []
    cluster.on_step = lambda host, event, output: ready.extend(each.index for each in output.reads_ready)
    cluster.read("a", 7)
    cluster.deliver()
    cluster.deliver()
    assert ready == [2]
    cluster.crash("a")
    cluster.elect("b")
    assert cluster["b"].commit_index > 2


@pytest.mark.parametrize("index", [1, 2])
def test_bm_015_core_never_truncates_at_or_below_its_commit_index(index: int) -> None:
    """The last line of defence, by itself."""
    cluster = led_cluster()
    with pytest.raises(InvariantViolation, match="would truncate"):
        truncate_from(cluster["a"].replica, index)
