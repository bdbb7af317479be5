"""Messages that are well formed and wrong: a replica ignores them or stops, and raises nothing else (S-07)."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.raftkit.cluster import Cluster, led_cluster, member
from tests.unit.core.samples import MESSAGE_SAMPLES, A, B
from zraft.core import messages as m
from zraft.core.entries import Batch, Kind, Membership, SnapshotMark
from zraft.core.events import Received
from zraft.core.memberships import encode_membership
from zraft.errors import ReplicaFault

numbers = st.one_of(st.integers(-1, 6), st.sampled_from([50, 2**62, 2**63 - 1]))
members = st.sampled_from([A, B, member("c"), member("x"), member("a", 2), member("b", 2)])
payloads = st.one_of(
    st.binary(max_size=5),
    st.lists(members, max_size=3).map(lambda voters: encode_membership(Membership(tuple(voters)))),
)
batches = st.builds(Batch, numbers, numbers, numbers, numbers, numbers, st.integers(-1, 6), payloads)
marks = st.builds(SnapshotMark, numbers, numbers, numbers, numbers, st.sampled_from([None, Membership((B,))]))
FIELDS: dict[str, st.SearchStrategy[object]] = {
    "sender": members,
    "to": st.just(A),
    "term": st.integers(0, 4),
    "granted": st.booleans(),
    "accepted": st.booleans(),
    "installed": st.booleans(),
    "transfer": st.booleans(),
    "batches": st.lists(batches, max_size=3),
    "mark": marks,
}


def _any_of(kind: type[m.Message]) -> st.SearchStrategy[m.Message]:
    fields = {name: FIELDS.get(name, numbers) for name in kind.__struct_fields__}
    if kind is m.InstallSnapshot:
        fields["transfer"] = st.just(b"")
    return st.builds(kind, **fields)


any_message = st.one_of([_any_of(type(message)) for message in MESSAGE_SAMPLES])


def _feed(cluster: Cluster, sent: list[m.Message]) -> None:
    raft = cluster["a"]
    for message in sent:
        try:
            raft.step(cluster.hosts["a"].now, Received(message))
        except ReplicaFault:
            return


@given(st.lists(any_message, min_size=1, max_size=6))
def test_follower_ignores_wrong_messages_or_stops(sent: list[m.Message]) -> None:
    """Anything from anybody, in any order."""
    cluster = led_cluster("b a c")
    _feed(cluster, sent)
    assert cluster["a"].commit_index >= 2


@given(st.lists(any_message, min_size=1, max_size=6))
def test_leader_ignores_wrong_messages_or_stops(sent: list[m.Message]) -> None:
    """Neither does it commit what its own log does not have."""
    cluster = led_cluster()
    _feed(cluster, sent)
    assert cluster["a"].commit_index <= cluster["a"].log.last_index


@pytest.mark.parametrize(
    "wrong",
    [
        Batch(3, 1, 2, 0, 0, 17, b""),
        Batch(3, 1, 2, 0, 0, -1, b""),
        Batch(3, 1, 9, 0, 0, Kind.COMMANDS, b"x"),
        Batch(4, 1, 2, 0, 0, Kind.COMMANDS, b"x"),
        Batch(3, 1, 2, 0, 0, Kind.CONFIGURATION, b"\xff"),
        Batch(3, 1, 2, 0, 0, Kind.CONFIGURATION, encode_membership(Membership(()))),
        Batch(3, 2, 2, 0, 0, Kind.CONFIGURATION, encode_membership(Membership((B,)))),
        Batch(1, 3, 2, 0, 0, Kind.COMMANDS, b"x"),
        Batch(2, 2, 2, 0, 0, Kind.COMMANDS, b"x"),
    ],
    ids=["kind", "negative kind", "term", "gap", "no configuration", "no voters", "two", "committed", "overlap"],
)
def test_wrong_batch_stops_the_replica(wrong: Batch) -> None:
    """What would break the log is a fault, also where it is a kind that a newer version knows (BM-117)."""
    cluster = led_cluster("b a c")
    cluster.receive(m.AppendEntries(B, A, 2, 2, 2, 2, 0, [wrong]))
    assert cluster.hosts["a"].fault is not None
    assert cluster.hosts["a"].disk.batches[-1].last == 2


def test_batch_across_the_snapshot_stops_the_replica() -> None:
    """A batch is never split, so one that lies across the log's beginning comes from a broken leader."""
    cluster = led_cluster("b a c")
    cluster.snapshot("a")
    cluster.receive(m.AppendEntries(B, A, 2, 1, 1, 2, 0, [Batch(2, 2, 2, 0, 0, Kind.COMMANDS, b"x")]))
    assert "across" in str(cluster.hosts["a"].fault)


def test_replica_that_stopped_stays_stopped() -> None:
    """Every later step raises the same fault, and the data is left alone."""
    cluster = led_cluster()
    raft = cluster["a"]
    stranger = m.AppendEntries(B, A, 2, 2, 2, 2, 0, [])
    for message in (stranger, m.HeartbeatReply(B, A, 2, 1)):
        with pytest.raises(ReplicaFault, match="two leaders"):
            raft.step(0, Received(message))


def test_messages_are_small_structs_that_never_change() -> None:
    """A message that was handed over is nobody's to change."""
    for message in MESSAGE_SAMPLES:
        assert message.__struct_config__.frozen
        assert msgspec.convert(msgspec.to_builtins(message), type(message)) == message
