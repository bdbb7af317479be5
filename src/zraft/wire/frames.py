"""Frames: how messages are laid into a stream of bytes and found again in it.

    0        4      5          9
    | length | type | checksum | payload, `length` bytes, MessagePack |        all numbers big-endian

The checksum is the CRC32C of type and payload: it finds damage, not malice. `length` counts the payload alone, is never
0 and is compared with the cap before anything is kept for it: 4 KiB until `FrameReader.open` raises the cap.

Most payloads are an array of items (requests, replies, messages of peers). Each item is encoded on its own, when it is
sent; the array is put together from those bytes when the turn ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from struct import Struct
from typing import Final

from google_crc32c import extend, value

from zraft.errors import ProtocolError
from zraft.limits import FRAME_BYTES_HANDSHAKE


class FrameKind(IntEnum):
    """What a frame carries. Each side of each role accepts exactly one kind at any moment."""

    HELLO = 1
    CHALLENGE = 2
    PROOF = 3
    WELCOME = 4
    REFUSED = 5
    PEER = 16
    """Node to node: an array of (group, message)."""
    REQUESTS = 17
    """Client to node: an array of requests."""
    REPLIES = 18
    """Node to client: an array of replies."""


HEADER: Final = Struct(">IBI")
_CRC_OF_KIND: Final = tuple(value(bytes((kind,))) for kind in range(256))
_FIX_ARRAY: Final = tuple(bytes((0x90 | count,)) for count in range(16))


def frame_header(kind: int, payload: bytes) -> bytes:
    """The nine bytes that go before `payload`, which must not be empty."""
    return HEADER.pack(len(payload), kind, extend(_CRC_OF_KIND[kind], payload))


def encode_frame(kind: int, *chunks: bytes) -> bytes:
    """One frame whose payload is the chunks, one after the other."""
    payload = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    return frame_header(kind, payload) + payload


def array_of(items: Sequence[bytes]) -> bytes:
    """The MessagePack array of items that are encoded already."""
    count = len(items)
    if count < 16:
        head = _FIX_ARRAY[count]
    elif count < 0x10000:
        head = b"\xdc" + count.to_bytes(2, "big")
    else:
        head = b"\xdd" + count.to_bytes(4, "big")
    return b"".join((head, *items))


class FrameReader:
    """Finds frames in a stream that arrives in pieces of any size.

    Until `open` at most one frame is returned by each `feed`, because the next may be judged by another cap; the rest
    is kept, and `feed(b"")` goes on with it. After an error the stream is lost: every later `feed` raises it again.
    """

    __slots__ = ("_broken", "_is_open", "_limit", "_rest", "_wanted")

    def __init__(self) -> None:
        self._limit = FRAME_BYTES_HANDSHAKE
        self._is_open = False
        self._rest = bytearray()
        self._wanted = 0
        """Bytes that `_rest` needs before it is worth looking at."""
        self._broken = ""

    def open(self, limit: int) -> None:
        """The other side is known: payloads may have up to `limit` bytes from now on."""
        self._limit, self._is_open = limit, True
        self._wanted = 0

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The (type, payload) of every frame that `data` completes, in order. Raises `ProtocolError`.

        Frames before a wrong one in the same `data` are lost with it, as they are when a connection breaks.
        """
        if self._broken:
            raise ProtocolError(self._broken)
        if self._rest:
            self._rest += data
            if len(self._rest) < self._wanted:
                return []
            data = bytes(self._rest)
            self._rest = bytearray()
        return self._split(data)

    def _split(self, data: bytes) -> list[tuple[int, bytes]]:
        frames: list[tuple[int, bytes]] = []
        at, end, header, limit = 0, len(data), HEADER.size, self._limit
        while True:
            start = at + header
            if start > end:
                self._wanted = header
                break
            length, kind, checksum = HEADER.unpack_from(data, at)
            if not 0 < length <= limit:
                raise self._break(f"a frame of {length} bytes, 1 to {limit} are allowed")
            if start + length > end:
                self._wanted = header + length
                break
            payload = data[start : start + length]
            if extend(_CRC_OF_KIND[kind], payload) != checksum:
                raise self._break(f"the checksum of a frame of type {kind} does not match")
            frames.append((kind, payload))
            at = start + length
            if not self._is_open:
                self._wanted = 0
                break
        if at < end:
            self._rest += data[at:]
        return frames

    def _break(self, reason: str) -> ProtocolError:
        self._broken = reason
        return ProtocolError(reason)
