"""Bytes that broke other systems: lengths that lie, pickles, bombs, and messages of those who have no business here."""

from __future__ import annotations

import pickle
import struct
import tracemalloc
import zlib
from collections.abc import Callable

import msgspec
import pytest

from zraft.core.entries import Batch
from zraft.core.messages import AppendEntries, RequestVote
from zraft.errors import HandshakeRefused, ProtocolError, TooLarge, ZraftError
from zraft.limits import FRAME_BYTES, MAX_TERM
from zraft.types import GroupId, Member, PeerId
from zraft.wire.frames import FrameKind, FrameReader, array_of, encode_frame
from zraft.wire.handshake import MAGIC, Accepting, Secrets
from zraft.wire.peering import decode_messages, encode_message
from zraft.wire.requests import decode_replies, decode_requests
from zraft.wire.values import check_command, decode_value, encode_value

HERE, THERE = "127.0.0.1:7101", "127.0.0.1:7102"
ME, OTHER = Member(PeerId("a", HERE), 1), Member(PeerId("b", THERE), 2)
GROUP = GroupId(b"g" * 16)


def peers(payload: bytes) -> None:
    decode_messages(payload, sender_node=THERE, own_node=HERE)


def stranger(payload: bytes) -> None:
    Accepting(cluster="c", node=HERE, nonce=b"n" * 32, secrets=Secrets()).feed(
        MAGIC + b"\x01\x01" + encode_frame(FrameKind.HELLO, payload[:4096] or b"\x00")
    )


def stream(payload: bytes) -> None:
    reader = FrameReader()
    reader.open(FRAME_BYTES)
    reader.feed(payload)
    raise ProtocolError("waits for more")


DOORS: list[Callable[[bytes], object]] = [peers, decode_requests, decode_replies, check_command, stranger, stream]


def peak_of(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        with pytest.raises(ZraftError):
            work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


CLAIMS = {
    "array": b"\xdd\xff\xff\xff\xff",
    "map": b"\xdf\xff\xff\xff\xff",
    "bytes": b"\xc6\xff\xff\xff\xff",
    "text": b"\xdb\xff\xff\xff\xff",
    "extension": b"\xc9\xff\xff\xff\xff\x01",
    "array as a key": b"\x81\xdd\xff\xff\xff\xff",
    "frame": b"\xff\xff\xff\xff\x10",
}


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS.keys())
@pytest.mark.parametrize("prefix", [b"", b"\x91", b"\x91\x92\xc4\x10" + b"g" * 16, b"\x91\x94\x01\x01\xa1a"])
def test_bm_113_a_claimed_length_allocates_nothing(
    door: Callable[[bytes], object], claim: bytes, prefix: bytes
) -> None:
    """Twenty bytes that announce gigabytes cost no more than the error that they end in."""
    assert peak_of(lambda: door(prefix + claim + b"\x01" * 10)) < 64 * 1024


@pytest.mark.parametrize("depth", [200, 20_000, 1_000_000])
@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_bm_113_nesting_is_bounded_at_every_door(door: Callable[[bytes], object], depth: int) -> None:
    """A megabyte of opening brackets is one of our errors, not a crash and not a gigabyte."""
    bomb = b"\x91" * depth + b"\x01"
    assert peak_of(lambda: door(bomb)) < 4 * len(bomb) + (2 << 20)


def test_bm_113_a_partial_frame_costs_what_has_arrived() -> None:
    """Not what its header announces, in pieces as small as they come."""
    reader = FrameReader()
    reader.open(FRAME_BYTES)
    tracemalloc.start()
    try:
        reader.feed(struct.pack(">IBI", FRAME_BYTES, 16, 0))
        for _ in range(50_000):
            reader.feed(b"ab")
        assert tracemalloc.get_traced_memory()[1] < 300_000
    finally:
        tracemalloc.stop()


def test_bm_112_a_command_of_any_allowed_size_fits_into_a_frame() -> None:
    """The largest default command in one message, with its headers, is below the cap of frames."""
    command = encode_value(b"x" * (1 << 20))
    batch = Batch(1, 1, 1, 0, 0, 1, array_of([command]))
    item = encode_message(GROUP, AppendEntries(OTHER, ME, 1, 0, 0, 0, 0, [batch]))
    frame = encode_frame(FrameKind.PEER, array_of([item]))
    reader = FrameReader()
    reader.open(FRAME_BYTES)
    [(_, payload)] = reader.feed(frame)
    [(_, message)] = decode_messages(payload, sender_node=THERE, own_node=HERE)
    assert isinstance(message, AppendEntries)
    assert message.batches == [batch]


def test_bm_114_a_message_for_another_node_never_reaches_the_core() -> None:
    """Nor one that speaks for a member of a third node."""
    vote = array_of([encode_message(GROUP, RequestVote(OTHER, ME, 9, 1, 1))])
    with pytest.raises(ProtocolError, match="on the connection from"):
        decode_messages(vote, sender_node=THERE, own_node="127.0.0.1:7103")
    with pytest.raises(ProtocolError, match="on the connection from"):
        decode_messages(vote, sender_node="127.0.0.1:7103", own_node=HERE)


def test_bm_120_a_vote_from_a_stranger_is_not_even_parsed() -> None:
    """A well-formed RequestVote with a huge term, from somebody who has not said hello."""
    vote = array_of([encode_message(GROUP, RequestVote(OTHER, ME, 1 << 40, 1, 1))])
    door = Accepting(cluster="c", node=HERE, nonce=b"n" * 32, secrets=Secrets())
    with pytest.raises(HandshakeRefused, match="magic"):
        door.feed(encode_frame(FrameKind.PEER, vote))
    door = Accepting(cluster="c", node=HERE, nonce=b"n" * 32, secrets=Secrets())
    with pytest.raises(HandshakeRefused, match="out of turn"):
        door.feed(MAGIC + b"\x01\x01" + encode_frame(FrameKind.PEER, vote))


def test_s_07_a_term_that_would_end_all_elections_is_refused_from_a_peer_too() -> None:
    """Above the cap nobody could ever campaign again."""
    for term in (MAX_TERM + 1, 2**63, 2**64 - 1):
        with pytest.raises(ProtocolError, match="term"):
            peers(array_of([encode_message(GROUP, RequestVote(OTHER, ME, term, 1, 1))]))


class Trap:
    """What an attacker would like to have run here."""

    sprung = False

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return spring, ()


def spring() -> None:
    Trap.sprung = True


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_bm_124_a_pickle_is_bytes_like_any_other(door: Callable[[bytes], object]) -> None:
    """At every door: refused, and nothing of it ran."""
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(ZraftError):
            door(pickle.dumps(Trap(), protocol))
    assert not Trap.sprung


def test_bm_124_nothing_is_decompressed() -> None:
    """A bomb is a value of its own size: bytes in, the same bytes out."""
    bomb = zlib.compress(bytes(10_000_000), 9)
    assert len(bomb) < 10_000
    assert decode_value(encode_value(bomb)) == bomb
    for door in DOORS:
        assert peak_of(lambda door=door: door(bomb)) < 1 << 20  # type: ignore[misc]


def test_values_of_strangers_do_not_name_types() -> None:
    """A dict that looks like an object stays a dict; an extension that names one is refused."""
    value = {"__class__": "os.system", "__reduce__": ["id"]}
    assert decode_value(encode_value(value)) == value
    for code in (-128, -2, 0, 2, 127):
        with pytest.raises((ProtocolError, TooLarge)):
            check_command(msgspec.msgpack.encode(msgspec.msgpack.Ext(code, b"os.system")))
