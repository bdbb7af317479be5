"""Messages of peers: what the core is given is what was sent, and never what it would have to doubt."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zraft.core.entries import Batch, Kind, Membership, SnapshotMark
from zraft.core.memberships import encode_membership
from zraft.core.messages import (
    AppendEntries,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    Message,
    NotMember,
    PreVote,
    PreVoteReply,
    Quiesce,
    QuiesceReply,
    ReadIndexReply,
    ReadIndexRequest,
    RequestVote,
    RequestVoteReply,
    SnapshotReply,
    TimeoutNow,
)
from zraft.errors import ProtocolError
from zraft.limits import ITEMS_PER_FRAME, MAX_TERM, PEERS_PER_GROUP, QUIET_CLAIMS
from zraft.types import GroupId, Member, PeerId
from zraft.wire.frames import array_of
from zraft.wire.peering import (
    NO_GROUP,
    Item,
    NodeBeat,
    check_membership,
    check_message,
    decode_messages,
    encode_message,
)

FUZZ = settings(derandomize=True, max_examples=100, deadline=None, database=None)
GROUP = GroupId(bytes(range(16)))
HERE, THERE = "127.0.0.1:7101", "127.0.0.1:7102"
ME, OTHER, THIRD = Member(PeerId("a", HERE), 1), Member(PeerId("b", THERE), 2**64 - 1), Member(PeerId("c", THERE), 3)
TRIO = Membership((ME, OTHER, THIRD))


def batch(first: int, count: int = 1, term: int = 1, **changes: Any) -> Batch:
    fields: dict[str, Any] = {"time": 10, "wall": 1_700_000_000_000, "kind": Kind.COMMANDS, "payload": b"p" * count}
    return Batch(first, count, term, **(fields | changes))


def append(*batches: Batch, prev_index: int = 4, prev_term: int = 1, term: int = 3, **changes: Any) -> AppendEntries:
    fields: dict[str, Any] = {"commit_index": 4, "time": 99} | changes
    return AppendEntries(OTHER, ME, term, prev_index, prev_term, batches=list(batches), **fields)


GOOD: list[Message] = [
    PreVote(OTHER, ME, 3, 7, 2),
    PreVote(OTHER, ME, 1, 0, 0),
    PreVoteReply(OTHER, ME, 3, True),
    RequestVote(OTHER, ME, 3, 7, 3, True),
    RequestVoteReply(OTHER, ME, 3, False),
    append(),
    append(prev_index=0, prev_term=0),
    append(batch(5, 3), batch(8, term=3), batch(9, kind=200, term=3), batch(10, kind=0, payload=b"", term=3)),
    append(batch(5, kind=Kind.CONFIGURATION, payload=encode_membership(TRIO))),
    AppendReply(OTHER, ME, 3, True, 9),
    AppendReply(OTHER, ME, 3, False, 9, 4, 2),
    Heartbeat(OTHER, ME, 3, 2**63 - 1, 9, 12345),
    HeartbeatReply(OTHER, ME, 3, 17),
    InstallSnapshot(OTHER, ME, 3, SnapshotMark(9, 2, 5, 1, TRIO), b"how"),
    SnapshotReply(OTHER, ME, 3, True, 9),
    TimeoutNow(OTHER, ME, MAX_TERM),
    ReadIndexRequest(OTHER, ME, 3, 5),
    ReadIndexReply(OTHER, ME, 3, 5, 0),
    NotMember(OTHER, ME, 3, 9, 2),
    Quiesce(OTHER, ME, 3, 7, 9, 300),
    QuiesceReply(OTHER, ME, 3, 7, True),
]

BAD: list[Message] = [
    PreVote(OTHER, ME, -1, 0, 0),
    TimeoutNow(OTHER, ME, MAX_TERM + 1),
    RequestVoteReply(Member(OTHER.peer, -1), ME, 3, True),
    RequestVoteReply(OTHER, Member(ME.peer, -1), 3, True),
    RequestVote(OTHER, ME, 3, 7, 4),
    RequestVote(OTHER, ME, 3, 7, 0),
    RequestVote(OTHER, ME, 3, 0, 1),
    RequestVote(OTHER, ME, 3, -7, 1),
    RequestVote(OTHER, ME, 3, MAX_TERM + 1, 1),
    append(prev_index=4, prev_term=4),
    append(prev_index=0, prev_term=1),
    append(commit_index=-1),
    append(commit_index=MAX_TERM + 1),
    append(time=-1),
    append(time=2**63),
    append(batch(6)),
    append(batch(4)),
    append(batch(5, 0)),
    append(batch(5, -1)),
    append(batch(5, 2), batch(6)),
    append(batch(5, term=4)),
    append(batch(5, term=0), prev_index=4, prev_term=0),
    append(batch(1, term=0), prev_index=0, prev_term=0),
    append(batch(5, term=3), batch(6, term=2)),
    append(batch(5, term=1), prev_term=2),
    append(batch(5, time=-1)),
    append(batch(5, time=2**63)),
    append(batch(5, time=7), batch(6, time=6)),
    append(batch(5, wall=-1)),
    append(batch(5, kind=-1)),
    append(batch(5, kind=256)),
    append(batch(5, 1000, payload=b"p" * 999)),
    append(batch(MAX_TERM + 1), prev_index=MAX_TERM),
    append(batch(5, kind=Kind.CONFIGURATION, payload=b"\xc1")),
    append(batch(5, kind=Kind.CONFIGURATION, payload=b"\x91" * 5000)),
    append(batch(5, kind=Kind.CONFIGURATION, payload=encode_membership(Membership(())))),
    AppendReply(OTHER, ME, 3, False, -1),
    AppendReply(OTHER, ME, 3, False, 9, 4, 0),
    AppendReply(OTHER, ME, 3, False, 9, -4, 1),
    Heartbeat(OTHER, ME, 3, -1, 9, 1),
    Heartbeat(OTHER, ME, 3, 2**63, 9, 1),
    Heartbeat(OTHER, ME, 3, 1, -9, 1),
    Heartbeat(OTHER, ME, 3, 1, 9, -1),
    HeartbeatReply(OTHER, ME, 3, -1),
    InstallSnapshot(OTHER, ME, 3, SnapshotMark()),
    InstallSnapshot(OTHER, ME, 3, SnapshotMark(9, 4, 5, 1, TRIO)),
    InstallSnapshot(OTHER, ME, 3, SnapshotMark(9, 2, -5, 1, TRIO)),
    InstallSnapshot(OTHER, ME, 3, SnapshotMark(9, 2, 5, 10, TRIO)),
    InstallSnapshot(OTHER, ME, 3, SnapshotMark(9, 2, 5, 1, None)),
    InstallSnapshot(OTHER, ME, 3, SnapshotMark(9, 2, 5, 1, Membership(()))),
    SnapshotReply(OTHER, ME, 3, True, -1),
    ReadIndexRequest(OTHER, ME, 3, -1),
    ReadIndexReply(OTHER, ME, 3, -1, 0),
    ReadIndexReply(OTHER, ME, 3, 1, MAX_TERM + 1),
    NotMember(OTHER, ME, 3, 0, 0),
    NotMember(OTHER, ME, 3, 5, 4),
    Quiesce(OTHER, ME, 3, -1, 9, 1),
    Quiesce(OTHER, ME, 3, 1, MAX_TERM + 1, 1),
    Quiesce(OTHER, ME, 3, 1, 9, -1),
    QuiesceReply(OTHER, ME, 3, -1, True),
]


def through_the_wire(*messages: Message, sender: str = THERE, own: str = HERE) -> list[tuple[GroupId, Item]]:
    payload = array_of([encode_message(GROUP, message) for message in messages])
    return decode_messages(payload, sender_node=sender, own_node=own)


def test_every_message_comes_back_as_it_went() -> None:
    """All kinds of messages, in one frame, in their order."""
    assert through_the_wire(*GOOD) == [(GROUP, message) for message in GOOD]


@pytest.mark.parametrize(
    "beat",
    [
        NodeBeat(THERE, HERE, 7, 0),
        NodeBeat(THERE, HERE, 2**63 - 1, 2**63 - 1, [], True, [1]),
        NodeBeat(THERE, HERE, 7, 9, [1, 2, 2**63 - 1], False),
    ],
)
def test_a_node_beat_comes_back_as_it_went(beat: NodeBeat) -> None:
    """Without claims, with none, and with some of them."""
    payload = array_of([encode_message(NO_GROUP, beat), encode_message(GROUP, GOOD[0])])
    assert decode_messages(payload, sender_node=THERE, own_node=HERE) == [(NO_GROUP, beat), (GROUP, GOOD[0])]


@pytest.mark.parametrize(
    ("group", "beat"),
    [
        (GROUP, NodeBeat(THERE, HERE, 7, 0)),
        (NO_GROUP, NodeBeat(HERE, HERE, 7, 0)),
        (NO_GROUP, NodeBeat(THERE, THERE, 7, 0)),
        (NO_GROUP, NodeBeat(THERE, HERE, 2**63, 0)),
        (NO_GROUP, NodeBeat(THERE, HERE, 7, -1)),
        (NO_GROUP, NodeBeat(THERE, HERE, 7, 0, [2**63])),
        (NO_GROUP, NodeBeat(THERE, HERE, 7, 0, None, True, [-1])),
        (NO_GROUP, NodeBeat(THERE, HERE, 7, 0, [1] * (QUIET_CLAIMS + 1))),
    ],
)
def test_a_node_beat_that_no_honest_node_sends_is_refused(group: GroupId, beat: NodeBeat) -> None:
    """For another node, in the name of another node or of a group, numbers that are none, too many of them."""
    payload = array_of([encode_message(group, beat)])
    with pytest.raises(ProtocolError):
        decode_messages(payload, sender_node=THERE, own_node=HERE)


def test_the_bytes_of_messages_do_not_change() -> None:
    """Nodes of two versions talk to each other during an upgrade."""
    member = "9292a162ae3132372e302e302e313a37313032cfffffffffffffffff"
    to = "9292a161ae3132372e302e302e313a3731303101"
    group = "c410000102030405060708090a0b0c0d0e0f"
    assert encode_message(GROUP, Heartbeat(OTHER, ME, 3, 7, 9, 300)).hex() == f"92{group}9707{member}{to}030709cd012c"
    assert encode_message(GROUP, append(batch(5, 2, term=3))).hex() == (
        f"92{group}9905{member}{to}030401046391970502030acf0000018bcfe5680001c4027070"
    )
    assert encode_message(GROUP, Quiesce(OTHER, ME, 3, 7, 9, 300)).hex() == f"92{group}970f{member}{to}030709cd012c"
    assert encode_message(NO_GROUP, NodeBeat("b:1", "a:1", 5, 6, [7], True, [8])).hex() == (
        "92c410000000000000000000000000000000009840a3623a31a3613a3105069107c39108"
    )


@pytest.mark.parametrize("message", BAD, ids=lambda message: type(message).__name__)
def test_what_the_core_would_have_to_doubt_is_refused(message: Message) -> None:
    """Numbers out of bounds, batches out of order, configurations that cannot decide: before a message exists."""
    with pytest.raises(ProtocolError):
        check_message(message)
    with pytest.raises(ProtocolError):
        through_the_wire(message)


def test_a_message_speaks_for_the_node_that_sent_it_and_is_for_the_node_that_got_it() -> None:
    """One node cannot vote for another's members, and a stray message is noticed (BM-114)."""
    with pytest.raises(ProtocolError, match="on the connection from"):
        through_the_wire(GOOD[0], sender=HERE)
    with pytest.raises(ProtocolError, match="on the connection from"):
        through_the_wire(GOOD[0], own=THERE)


def test_an_unknown_kind_of_entry_is_let_through() -> None:
    """It must stop the replica that meets it, not the connection of all groups (BM-117)."""
    assert through_the_wire(append(batch(5, kind=255)))


@pytest.mark.parametrize(
    "membership",
    [
        Membership(()),
        Membership((ME, ME)),
        Membership((ME, Member(ME.peer, 77))),
        Membership((ME,), outgoing=(OTHER, OTHER)),
        Membership((ME,), learners=(OTHER, OTHER)),
        Membership((ME,), target=(OTHER, OTHER)),
        Membership((ME,), learners=(ME,)),
        Membership((ME,), outgoing=(OTHER,), learners=(OTHER,)),
        Membership((Member(ME.peer, -1),)),
        Membership(tuple(Member(PeerId(f"p{i}", HERE), i) for i in range(PEERS_PER_GROUP + 1))),
    ],
)
def test_a_configuration_that_cannot_decide_is_refused(membership: Membership) -> None:
    """No voters, somebody twice, a voter that is also a learner, too many."""
    with pytest.raises(ProtocolError, match=r"configuration|incarnation"):
        check_membership(membership)


def test_configurations_under_change_are_good() -> None:
    """Joint, catching up, and a member that comes back with another life."""
    check_membership(TRIO)
    check_membership(Membership((ME, OTHER), outgoing=(ME, THIRD)))
    check_membership(Membership((ME, OTHER), learners=(THIRD,), target=(ME, THIRD)))
    check_membership(Membership((ME, OTHER), learners=(Member(OTHER.peer, 9),)))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x90",
        b"\xc0",
        b"\x91\x90",
        msgspec.msgpack.encode([[b"short", GOOD[0]]]),
        msgspec.msgpack.encode([[b"g" * 17, GOOD[0]]]),
        msgspec.msgpack.encode([[b"g" * 16, [99, 1, 2]]]),
        msgspec.msgpack.encode([[b"g" * 16, [1]]]),
        msgspec.msgpack.encode([[b"g" * 16, [11, [["bad name!", "x:1"], 1], [["a", HERE], 1], 3]]]),
        msgspec.msgpack.encode([[b"g" * 16, [11, [["b", THERE], 1.0], [["a", HERE], 1], 3]]]),
        msgspec.msgpack.encode([[b"g" * 16, [11, [["b", THERE], 1], [["a", HERE], 1], True]]]),
        b"\x91" * 100_000,
        b"\xdd\xff\xff\xff\xff",
        b"\x80\x04\x95",
    ],
)
def test_what_is_no_message_is_a_protocol_error(payload: bytes) -> None:
    """Wrong shapes, sizes, types and numbers of types."""
    with pytest.raises(ProtocolError, match="not messages of peers"):
        decode_messages(payload, sender_node=THERE, own_node=HERE)


def test_a_frame_holds_a_bounded_number_of_messages() -> None:
    """Known from the array's header, before the messages are made."""
    item = encode_message(GROUP, TimeoutNow(OTHER, ME, 3))
    assert len(decode_messages(array_of([item] * ITEMS_PER_FRAME), sender_node=THERE, own_node=HERE)) == ITEMS_PER_FRAME
    with pytest.raises(ProtocolError, match="length <= 4096"):
        decode_messages(array_of([item] * (ITEMS_PER_FRAME + 1)), sender_node=THERE, own_node=HERE)


def flipped(data: bytes, position: int, value: int) -> bytes:
    position %= len(data)
    return data[:position] + bytes((value,)) + data[position + 1 :]


@FUZZ
@given(st.sampled_from(GOOD), st.integers(0, 10_000), st.integers(0, 255))
def test_a_changed_byte_gives_a_message_or_a_protocol_error(message: Message, position: int, value: int) -> None:
    """Whatever still decodes has passed every check again."""
    payload = flipped(array_of([encode_message(GROUP, message)]), position, value)
    try:
        items = decode_messages(payload, sender_node=THERE, own_node=HERE)
    except ProtocolError:
        return
    for _, survivor in items:
        check_message(survivor)


NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.integers(-3, 10)


def shapes() -> st.SearchStrategy[Any]:
    members = st.just(OTHER) | st.tuples(st.tuples(st.text(max_size=5), st.just(THERE)), NUMBERS)
    leaves = NUMBERS | st.binary(max_size=20) | st.booleans() | st.none() | members
    fields = st.recursive(leaves, lambda inner: st.lists(inner, max_size=8), max_leaves=12)
    heads = st.tuples(st.integers(0, 15), st.just(OTHER), st.just(ME), st.integers(0, 5))
    return st.builds(lambda head, rest: [*head, *rest], heads, st.lists(fields, max_size=6))


@FUZZ
@given(st.lists(shapes(), max_size=4))
def test_messages_of_random_shape_are_only_ever_protocol_errors(messages: list[Any]) -> None:
    """Right heads, random fields: no other exception, nothing unchecked gets through."""
    payload = msgspec.msgpack.encode([(GROUP, message) for message in messages])
    try:
        items = decode_messages(payload, sender_node=THERE, own_node=HERE)
    except ProtocolError:
        return
    for _, survivor in items:
        check_message(survivor)


@FUZZ
@given(st.binary(max_size=300))
def test_random_bytes_are_only_ever_protocol_errors(data: bytes) -> None:
    """BM-113: no other exception, whatever lengths and counts they claim."""
    with pytest.raises(ProtocolError):
        decode_messages(data, sender_node=THERE, own_node=HERE)
