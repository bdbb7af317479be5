"""Thesis §10.2: parallel disk writes, batching and pipelining."""

from __future__ import annotations

from tests.raftkit.cluster import led_cluster, member
from zraft.core.messages import AppendEntries
from zraft.core.progress import ProgressState
from zraft.core.recovered import RaftSettings


def test_leader_sends_before_its_own_disk_has_the_entries() -> None:
    """§10.2.1: the save and the messages leave with the same step."""
    cluster = led_cluster()
    output = cluster.propose("a", 1)
    assert output.save
    assert len(output.send_now) == 2
    assert len(cluster.under_way("a", kind="AppendEntries")) == 2


def test_leader_counts_itself_only_when_durable() -> None:
    """§10.2.1: two followers may commit without it; with one it waits for its own disk."""
    cluster = led_cluster()
    cluster.propose("a", 1)
    cluster.deliver("a", "b")
    cluster.save("b")
    cluster.deliver("b", "a")
    assert cluster["a"].commit_index == 2
    cluster.deliver("a", "c")
    cluster.save("c")
    cluster.deliver("c", "a")
    assert (cluster["a"].commit_index, cluster["a"].saves.durable_index) == (3, 2)


def test_requests_of_one_turn_travel_together() -> None:
    """§10.2.2: any number of proposals: one message per follower, one save."""
    cluster = led_cluster()
    output = cluster.propose("a", *range(20), count=10)
    assert len(output.send_now) == 2
    message = output.send_now[0]
    assert isinstance(message, AppendEntries)
    assert len(message.batches) == 20
    assert message.last_index == 202


def test_next_index_advances_without_waiting() -> None:
    """§10.2.2: several messages are under way, up to the window."""
    cluster = led_cluster("a b c", RaftSettings(window_messages=3))
    for ref in range(5):
        cluster.propose("a", ref)
    assert len(cluster.under_way("a", "b", "AppendEntries")) == 3
    progress = cluster.as_leader("a").progress[member("b")]
    assert (progress.match_index, progress.next_index) == (2, 6)


def test_next_index_falls_back_on_refusal() -> None:
    """§10.2.2: one of several messages is lost: probe, then pipeline again."""
    cluster = led_cluster()
    cluster.propose("a", 1)
    cluster.drop("a", "b")
    cluster.propose("a", 2)
    cluster.deliver("a", "b")
    cluster.deliver("b", "a")
    progress = cluster.as_leader("a").progress[member("b")]
    assert (progress.state, progress.next_index) == (ProgressState.PROBE, 3)
    cluster.stabilise()
    assert (progress.state, progress.next_index) == (ProgressState.REPLICATE, 5)


def test_window_is_limited_in_bytes_too() -> None:
    """§10.2.2, BM-111: messages differ by a factor of thousands."""
    cluster = led_cluster("a b c", RaftSettings(window_bytes=100, append_bytes=50, window_messages=50))
    for ref in range(10):
        cluster.propose("a", ref, payload_bytes=40)
    assert len(cluster.under_way("a", "b", "AppendEntries")) == 3
    cluster.stabilise()
    assert cluster["b"].log.last_index == 12


def test_a_leader_told_so_counts_what_it_has_not_saved() -> None:
    """Deviates from §10.2.1 by the setting `leader_dirty`: one follower's disk of three is enough, and needed."""
    cluster = led_cluster("a b c", RaftSettings(counts_unsaved=True))
    cluster.propose("a", 1)
    assert cluster["a"].commit_index == 2
    cluster.deliver("a", "b")
    assert cluster["a"].commit_index == 2
    cluster.save("b")
    cluster.deliver("b", "a")
    assert (cluster["a"].commit_index, cluster["a"].saves.durable_index) == (3, 2)


def test_its_followers_and_votes_are_as_durable_as_ever() -> None:
    """The setting is about the leader's own entries only: a follower's acknowledgement waits for its disk."""
    cluster = led_cluster("a b c", RaftSettings(counts_unsaved=True))
    cluster.propose("a", 1)
    cluster.deliver("a", "b")
    assert cluster.under_way("b", "a", "AppendReply") == []
    cluster.save("b")
    assert len(cluster.under_way("b", "a", "AppendReply")) == 1
