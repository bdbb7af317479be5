"""The file of a snapshot as chunks, each after its length: a first one with format and count, then lists of items.

An item is the bytes of an encoded value, so that a value may be nested as deep here as in a command. Chunks are small:
the thread that writes them holds the interpreter for less than a millisecond at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeAlias

from zraft.errors import CorruptData, ProtocolError, TooLarge
from zraft.limits import KIB, MAX_COMMAND_BYTES_CEILING
from zraft.machine.backend import Directory, ReadableFile, Reject
from zraft.wire.values import decode_value, encode_value

_CHUNK_BYTES: Final = 64 * KIB
_CHUNK_ITEMS: Final = 512  # encoding so many small items holds the interpreter for about half a millisecond
_CHUNK_BYTES_AT_MOST: Final = MAX_COMMAND_BYTES_CEILING + _CHUNK_BYTES + KIB

Install: TypeAlias = Callable[[list[Any]], int]
"""Takes the items of a chunk, and says how many different ones it has taken so far."""


def write_chunks(directory: Directory, name: str, *, format: int, count: int, items: Iterable[bytes]) -> None:
    """The file `name` is written, with `count` items. Raises OSError."""
    with directory.create(name) as file:
        file.write(_framed(encode_value([format, count])))
        for chunk in _chunks(items):
            file.write(_framed(chunk))


def read_chunks(directory: Directory, name: str, install: Install, *, format: int) -> None:
    """`install` has got the decoded items of every chunk, in order.

    Raises OSError, and `CorruptData` where the file is not what `write_chunks` writes in this format, or `install`
    raises `Reject`, TypeError or ValueError for what is in it.
    """
    with directory.open(name) as file:
        reader = _ChunkReader(file)
        try:
            _install(reader, install, format)
        except (ProtocolError, RecursionError, Reject, TooLarge, TypeError, ValueError) as error:
            raise CorruptData(name, reader.offset, f"not what a {name} snapshot holds: {error}") from error


def _install(reader: _ChunkReader, install: Install, format: int) -> None:
    number, count = reader.next()
    if number != format:
        raise ValueError(f"format {number!r}, this version reads {format}")
    installed = 0
    while not reader.at_end():
        installed = install([decode_value(item) for item in reader.next()])
    if installed != count:
        raise ValueError(f"{installed} keys where {count!r} are announced")


def _chunks(items: Iterable[bytes]) -> Iterator[bytes]:
    chunk: list[bytes] = []
    size = 0
    for item in items:
        chunk.append(item)
        size += len(item)
        if size >= _CHUNK_BYTES or len(chunk) == _CHUNK_ITEMS:
            yield encode_value(chunk)
            chunk, size = [], 0
    if chunk:
        yield encode_value(chunk)


def _framed(chunk: bytes) -> bytes:
    return len(chunk).to_bytes(4, "big") + chunk


class _ChunkReader:
    """The chunks of a file, each after its length; what is not there in full is corruption."""

    def __init__(self, file: ReadableFile) -> None:
        self._file = file
        self._length = file.read(4)
        self.offset = 0
        """Where the next chunk begins; what is wrong lies at it or in the chunk before."""

    def next(self) -> Any:
        size = int.from_bytes(self._length, "big")
        if len(self._length) != 4 or size > _CHUNK_BYTES_AT_MOST:
            raise ValueError(f"a chunk of length {self._length.hex()}")
        chunk = self._file.read(size)
        if len(chunk) != size:
            raise ValueError(f"a chunk of {size} bytes, of which {len(chunk)} are there")
        self._length = self._file.read(4)
        value = decode_value(chunk)
        self.offset += 4 + size
        return value

    def at_end(self) -> bool:
        return not self._length
