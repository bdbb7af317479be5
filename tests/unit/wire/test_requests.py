"""The clients' protocol: every request and reply comes back as it went, and nothing malformed becomes one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zraft.errors import ProtocolError, TooLarge
from zraft.limits import ITEMS_PER_FRAME, MAX_TERM
from zraft.types import GroupId, Member, PeerId
from zraft.wire.failures import Failed, FailureCode
from zraft.wire.frames import array_of
from zraft.wire.requests import (
    Bootstrap,
    ChangeMembership,
    Conf,
    GetConf,
    ListPeers,
    PeerEntry,
    Peers,
    PeerStatus,
    Query,
    RemovePeer,
    Reply,
    Request,
    Result,
    SnapshotProgress,
    Started,
    StartPeer,
    Stat,
    Status,
    Transfer,
    Write,
    decode_replies,
    decode_requests,
    encode_item,
)
from zraft.wire.values import check_command, encode_value

FUZZ = settings(derandomize=True, max_examples=100, deadline=None, database=None)
GROUP = GroupId(b"g" * 16)
A, B = (Member(PeerId(name, f"127.0.0.1:710{i}"), i) for i, name in enumerate(("a", "b")))
RAW = msgspec.Raw(encode_value(("key", b"value")))

REQUESTS: list[Request] = [
    Write(1, "a", RAW),
    Query(2, "a", RAW),
    Query(3, "a", RAW, True, 17),
    Stat(4, "a"),
    GetConf(5, "a"),
    ListPeers(6),
    StartPeer(7, "a", GROUP, "dict"),
    Bootstrap(8, "a", [A, B]),
    ChangeMembership(9, "a", [A], [A.peer, B.peer]),
    Transfer(10, "a", B.peer),
    RemovePeer(2**63 - 1, "a", GROUP),
]

REPLIES: list[Reply] = [
    Result(1, 17, RAW),
    Result(2, 0),
    Failed(3, FailureCode.NOT_LEADER, 0, "text", A.peer),
    Status(4, PeerStatus(A.peer, "leader", term=3, leader=A.peer, peers=(A.peer, B.peer), fault="why")),
    Status(4, PeerStatus(B.peer, "follower", fetching=SnapshotProgress(7, 1, 2**40), sending=((A.peer, 7),))),
    Conf(5, GROUP, "dict", A.peer, 1, (A, B), (B,)),
    Peers(6, (PeerEntry(A, GROUP, "dict", "blank"),)),
    Started(7, A),
]


def test_requests_come_back_as_they_went() -> None:
    """All kinds in one frame; a command is the same bytes."""
    assert decode_requests(array_of([encode_item(request) for request in REQUESTS])) == REQUESTS


def test_replies_come_back_as_they_went() -> None:
    """All kinds in one frame; a value is the same bytes."""
    assert decode_replies(array_of([encode_item(reply) for reply in REPLIES])) == REPLIES


def test_the_bytes_of_requests_and_replies_do_not_change() -> None:
    """Clients are older or newer than nodes."""
    raw = "92a36b6579c40576616c7565"
    assert encode_item(Write(1, "a", RAW)).hex() == f"940101a161{raw}"
    assert encode_item(Query(300, "a", RAW, True, 17)).hex() == f"9602cd012ca161{raw}c311"
    assert encode_item(Result(1, 17, RAW)).hex() == f"94010111{raw}"
    assert encode_item(Result(1, 0)).hex() == "94010100c0"
    assert encode_item(Failed(3, FailureCode.OVERLOADED, 0, "t", reason="queue", retry_after=0.5)).hex() == (
        "9902030800a174c0a57175657565cb3fe0000000000000c0"
    )


@pytest.mark.parametrize(
    "item",
    [
        [1],
        [1, 1, "a"],
        [99, 1, "a"],
        [1, -1, "a", None],
        [1, 2**63, "a", None],
        [1, 1.5, "a", None],
        [1, 1, "n" * 65, None],
        [1, 1, b"a", None],
        [2, 1, "a", None, 1, 0],
        [2, 1, "a", None, True, -1],
        [2, 1, "a", None, True, MAX_TERM + 1],
        [6, 1, "", b"g" * 16, "dict"],
        [6, 1, "..", b"g" * 16, "dict"],
        [6, 1, "a/b", b"g" * 16, "dict"],
        [6, 1, "a\n", b"g" * 16, "dict"],
        [6, 1, "a", b"g" * 15, "dict"],
        [6, 1, "a", b"g" * 16, "n" * 65],
        [7, 1, "a", []],
        [7, 1, "a", [A] * 32],
        [8, 1, "a", [A], []],
        [8, 1, "a", [A], [["bad name!", "h:1"]]],
        [9, 1, "a", ["b", "127.0.0.1:99999"]],
        [10, 1, "a", b""],
    ],
)
def test_malformed_requests_are_protocol_errors(item: list[object]) -> None:
    """Numbers out of range, names that are none, groups of another size, lists that are empty or too long."""
    with pytest.raises(ProtocolError, match="not requests"):
        decode_requests(msgspec.msgpack.encode([item]))


@pytest.mark.parametrize(
    "payload", [b"", b"\x90", b"\xc0", b"\x91" * 100_000, b"\xdd\xff\xff\xff\xff", b"\x80\x04\x95"]
)
def test_what_is_no_array_of_items_is_a_protocol_error(payload: bytes) -> None:
    """On both sides; nesting does not exhaust the stack and a claimed count allocates nothing."""
    with pytest.raises(ProtocolError, match="not requests"):
        decode_requests(payload)
    with pytest.raises(ProtocolError, match="not replies"):
        decode_replies(payload)


def test_a_frame_holds_a_bounded_number_of_requests() -> None:
    """A frame of the smallest requests must not become hundreds of megabytes of objects."""
    item = encode_item(ListPeers(1))
    assert len(decode_requests(array_of([item] * ITEMS_PER_FRAME))) == ITEMS_PER_FRAME
    with pytest.raises(ProtocolError, match="length <= 4096"):
        decode_requests(array_of([item] * (ITEMS_PER_FRAME + 1)))


def test_a_command_nested_too_deep_ends_its_connection_or_is_too_large() -> None:
    """Whether the frame's decoder or the door of commands meets it first: one of our errors."""
    moderate = b"\x91" * 80 + b"\xc0"
    [request] = decode_requests(array_of([b"\x94\x01\x01\xa1a" + moderate]))
    assert isinstance(request, Write)
    with pytest.raises(TooLarge):
        check_command(request.command)
    with pytest.raises(ProtocolError):
        decode_requests(array_of([b"\x94\x01\x01\xa1a" + b"\x91" * 100_000 + b"\xc0"]))


def survives(decode: Callable[[bytes], Sequence[object]], data: bytes) -> bool:
    """Refused, or at least one item of the right kinds; any other exception fails the test."""
    try:
        items = decode(data)
    except ProtocolError:
        return True
    return bool(items) and all(isinstance(item, get_args(Request) + get_args(Reply)) for item in items)


@FUZZ
@given(st.binary(max_size=300))
def test_random_bytes_are_only_ever_protocol_errors(data: bytes) -> None:
    """Neither side of the clients' protocol lets anything else out."""
    for decode in (decode_requests, decode_replies):
        assert survives(decode, data)


@FUZZ
@given(st.sampled_from([*REQUESTS, *REPLIES]), st.integers(0, 10_000), st.integers(0, 255))
def test_a_changed_byte_gives_an_item_or_a_protocol_error(item: Request | Reply, position: int, value: int) -> None:
    """The decoder either finds a well-formed item or refuses."""
    payload = bytearray(array_of([encode_item(item)]))
    payload[position % len(payload)] = value
    for decode in (decode_requests, decode_replies):
        assert survives(decode, bytes(payload))
