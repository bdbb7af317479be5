"""Words about snapshots: what is said arrives, and nothing else passes."""

from __future__ import annotations

import msgspec
import pytest

from zraft.errors import ProtocolError
from zraft.limits import SNAPSHOT_FILES
from zraft.wire.fetching import NotSending, Sending, WantSnapshot, Word, decode_word, encode_word

WANT = WantSnapshot(bytes(16), "127.0.0.1:7101", bytes(32), (0, 5))


@pytest.mark.parametrize("word", [WANT, NotSending(bytes(32), "why", is_over=True), Sending(bytes(32))])
def test_a_word_arrives_as_it_was_said(word: Word) -> None:
    """Each of the three."""
    assert decode_word(encode_word(word)) == word


def test_the_bytes_are_those_of_the_page() -> None:
    """A change of them is a change of the protocol."""
    assert (
        encode_word(WANT)
        == b"\x95\x01\xc4\x10" + bytes(16) + b"\xae127.0.0.1:7101\xc4\x20" + bytes(32) + b"\x92\x00\x05"
    )
    assert encode_word(NotSending(bytes(32), "why", is_over=True)) == b"\x94\x02\xc4\x20" + bytes(32) + b"\xa3why\xc3"
    assert encode_word(Sending(bytes(32))) == b"\x92\x03\xc4\x20" + bytes(32)


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"\xc0",
        b"\x91" * 5000,
        msgspec.msgpack.encode([4, bytes(32)]),
        msgspec.msgpack.encode([3, bytes(31)]),
        msgspec.msgpack.encode([3, bytes(32), 1]),
        msgspec.msgpack.encode([1, bytes(15), "a:1", bytes(32), []]),
        msgspec.msgpack.encode([1, bytes(16), "", bytes(32), []]),
        msgspec.msgpack.encode([1, bytes(16), "a" * 301, bytes(32), []]),
        msgspec.msgpack.encode([1, bytes(16), "a:1", bytes(32), [-1]]),
        msgspec.msgpack.encode([1, bytes(16), "a:1", bytes(32), [1 << 62]]),
        msgspec.msgpack.encode([1, bytes(16), "a:1", bytes(32), [0] * (SNAPSHOT_FILES + 1)]),
        msgspec.msgpack.encode([2, bytes(32), "x" * 1001, True]),
        encode_word(WANT) + b"\xc0",
    ],
)
def test_anything_else_is_an_error_of_the_protocol(wrong: bytes) -> None:
    """S-15: bounds of every field; never another exception."""
    with pytest.raises(ProtocolError, match="not a word about a snapshot"):
        decode_word(wrong)
