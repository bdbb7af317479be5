"""Frames: found again in pieces of any size, and nothing wrong gets past."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zraft.errors import ProtocolError
from zraft.limits import FRAME_BYTES, FRAME_BYTES_HANDSHAKE
from zraft.wire.frames import HEADER, FrameKind, FrameReader, array_of, encode_frame, frame_header

FUZZ = settings(derandomize=True, max_examples=100, deadline=None, database=None)


def opened(limit: int = FRAME_BYTES) -> FrameReader:
    reader = FrameReader()
    reader.open(limit)
    return reader


def test_the_bytes_of_a_frame_do_not_change() -> None:
    """Length, type, CRC32C over type and payload, payload; numbers big-endian."""
    frame = encode_frame(FrameKind.REQUESTS, b"\x93\x01", b"\x02\x03")
    assert frame.hex() == "0000000411baf3d81593010203"


def test_a_frame_is_its_header_and_its_payload() -> None:
    """The two ways to make one agree."""
    assert frame_header(FrameKind.PEER, b"payload") + b"payload" == encode_frame(FrameKind.PEER, b"payload")


@pytest.mark.parametrize("count", [0, 1, 15, 16, 65535, 65536])
def test_encoded_items_make_the_same_array_as_one_encoding(count: int) -> None:
    """At each size of MessagePack's array header."""
    assert array_of([msgspec.msgpack.encode(i) for i in range(count)]) == msgspec.msgpack.encode(list(range(count)))


@FUZZ
@given(st.lists(st.tuples(st.integers(0, 255), st.binary(min_size=1, max_size=300)), max_size=8), st.data())
def test_frames_are_found_whatever_the_pieces(frames: list[tuple[int, bytes]], data: st.DataObject) -> None:
    """The same frames in the same order, cut anywhere."""
    stream = b"".join(encode_frame(kind, payload) for kind, payload in frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    reader, found = opened(), []
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += reader.feed(stream[start:stop])
    assert found == frames


def test_frames_are_found_byte_by_byte() -> None:
    """The slowest sender is understood."""
    reader, stream = opened(), encode_frame(1, b"abc") + encode_frame(2, b"d" * 500)
    found = [frame for at in range(len(stream)) for frame in reader.feed(stream[at : at + 1])]
    assert found == [(1, b"abc"), (2, b"d" * 500)]


def test_one_frame_at_a_time_until_the_other_side_is_known() -> None:
    """The next frame may be judged by another cap, so it waits inside until somebody asks again."""
    reader = FrameReader()
    stream = encode_frame(4, b"welcome") + encode_frame(16, b"x" * 10_000)
    assert reader.feed(stream) == [(4, b"welcome")]
    reader.open(FRAME_BYTES)
    assert reader.feed(b"") == [(16, b"x" * 10_000)]
    assert reader.feed(b"") == []


def test_a_stranger_may_send_no_more_than_four_kibibytes() -> None:
    """The header alone is enough to be refused: nothing is kept for the announced length."""
    assert FrameReader().feed(encode_frame(1, b"x" * FRAME_BYTES_HANDSHAKE)) == [(1, b"x" * FRAME_BYTES_HANDSHAKE)]
    with pytest.raises(ProtocolError, match="4097 bytes, 1 to 4096"):
        FrameReader().feed(HEADER.pack(FRAME_BYTES_HANDSHAKE + 1, 1, 0))


@pytest.mark.parametrize("length", [0, 101, 0xFFFFFFFF])
def test_a_length_outside_the_cap_is_refused_from_the_header_alone(length: int) -> None:
    """Empty frames exist as little as too long ones."""
    with pytest.raises(ProtocolError, match=f"a frame of {length} bytes, 1 to 100"):
        opened(100).feed(HEADER.pack(length, 1, 0))


@pytest.mark.parametrize("at", [4, 5, 8, 9, 12])
def test_a_flipped_bit_is_found(at: int) -> None:
    """In the type, the checksum or the payload."""
    frame = bytearray(encode_frame(16, b"abcd"))
    frame[at] ^= 0x40
    with pytest.raises(ProtocolError, match="checksum"):
        opened().feed(bytes(frame))


def test_a_broken_stream_stays_broken() -> None:
    """Nothing is found in it afterwards, for the same reason."""
    reader = opened(100)
    with pytest.raises(ProtocolError, match="a frame of 0 bytes"):
        reader.feed(bytes(9))
    with pytest.raises(ProtocolError, match="a frame of 0 bytes"):
        reader.feed(encode_frame(1, b"fine"))
