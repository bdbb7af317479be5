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
    SNAPSHOTS = 19
    """Node to node: one word about a snapshot that is fetched; its bytes have a channel of their own."""


HEADER: Final = Struct(">IBI")
_HEADER_BYTES: Final = HEADER.size
_SMALL_BYTES: Final = 4096
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
    """Finds frames in a stream that arrives in pieces of any size. What it keeps is what has arrived of one frame.

    Until `open` at most one frame is returned by each `feed`, because the next may be judged by another cap; the rest
    is kept, and `feed(b"")` goes on with it. After an error the stream is lost: every later `feed` raises it again.
    """

    __slots__ = ("_broken", "_checksum", "_is_open", "_kind", "_limit", "_missing", "_parts", "_rest")

    def __init__(self) -> None:
        self._limit = FRAME_BYTES_HANDSHAKE
        self._is_open = False
        self._rest = b""
        """What was not looked at yet: part of a header, or what follows a frame before `open`."""
        self._parts: list[bytes | bytearray] = []
        """The payload that is under way, of `_kind` and `_checksum`, as far as it has arrived."""
        self._missing = 0
        """Bytes that it still lacks; 0 where none is under way."""
        self._kind = self._checksum = 0
        self._broken = ""

    def open(self, limit: int) -> None:
        """The other side is known: payloads may have up to `limit` bytes from now on."""
        self._limit, self._is_open = limit, True

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The (type, payload) of every frame that `data` completes, in order. Raises `ProtocolError`.

        Frames before a wrong one in the same `data` are lost with it, as they are when a connection breaks.
        """
        if self._broken:
            raise ProtocolError(self._broken)
        frames: list[tuple[int, bytes]] = []
        at = 0
        if self._missing:
            if len(data) < self._missing:
                self._keep(data)
                return frames
            at = self._missing
            frames.append(self._complete(data))
        elif self._rest:
            data = self._rest + data
        if at and not self._is_open:
            self._rest = data[at:]
        else:
            self._rest = self._split(data, at, frames)
        return frames

    def _split(self, data: bytes, at: int, frames: list[tuple[int, bytes]]) -> bytes:
        """Adds what is complete to `frames`, keeps a payload that is not, and returns what was not looked at."""
        end = len(data)
        while end - at >= _HEADER_BYTES:
            length, kind, checksum = HEADER.unpack_from(data, at)
            at += _HEADER_BYTES
            if not 0 < length <= self._limit:
                raise self._break(f"a frame of {length} bytes, 1 to {self._limit} are allowed")
            if end - at < length:
                self._kind, self._checksum, self._missing = kind, checksum, length - (end - at)
                self._parts = [data[at:]]
                return b""
            payload = data[at : at + length]
            at += length
            self._verify(kind, payload, checksum)
            frames.append((kind, payload))
            if not self._is_open:
                break
        return data[at:]

    def _keep(self, data: bytes) -> None:
        """Small pieces are put together at once: as objects they would weigh many times what they hold."""
        self._missing -= len(data)
        if len(data) >= _SMALL_BYTES:
            self._parts.append(data)
        elif type(self._parts[-1]) is bytearray:
            self._parts[-1] += data
        else:
            self._parts.append(bytearray(data))

    def _complete(self, data: bytes) -> tuple[int, bytes]:
        payload = b"".join((*self._parts, memoryview(data)[: self._missing]))
        self._parts, self._missing = [], 0
        self._verify(self._kind, payload, self._checksum)
        return self._kind, payload

    def _verify(self, kind: int, payload: bytes, checksum: int) -> None:
        if extend(_CRC_OF_KIND[kind], payload) != checksum:
            raise self._break(f"the checksum of a frame of type {kind} does not match")

    def _break(self, reason: str) -> ProtocolError:
        self._broken, self._rest, self._parts = reason, b"", []
        return ProtocolError(reason)
