"""Targets: whatever comes over a connection, before the handshake and after it, from nodes and from clients."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import msgspec

from tests.fuzz.kit import Target
from tests.fuzz.shapes import MEMBERS, any_of, any_value
from tests.unit.core.samples import MESSAGE_SAMPLES, A, B
from zraft.core.entries import Batch, Kind, Membership
from zraft.core.memberships import decode_membership, encode_membership
from zraft.core.messages import AppendEntries
from zraft.errors import HandshakeRefused, ProtocolError, RequestError, TooLarge
from zraft.limits import FRAME_BYTES_HANDSHAKE
from zraft.types import GroupId
from zraft.wire import bulk, changes, failures, fetching, peering, requests, session_requests, values
from zraft.wire.frames import FrameKind, FrameReader, array_of, encode_frame
from zraft.wire.handshake import Accepting, Dialing, Role, Secrets
from zraft.wire.states import StateReport, StateVerdict

HERE, THERE = A.peer.node, B.peer.node
GROUP = GroupId(b"group of a test!")
FILES = (("a", 10, 1), ("b", 0, 2), ("c", 2**40, 3))
_PART = struct.Struct(">IQQ")


def _again(data: bytes, decode: Callable[[bytes], Any], encode: Callable[[Any], bytes]) -> None:
    """What is read can be written, and is read as the same: the second writing has the bytes of the first."""
    first = encode(decode(data))
    assert encode(decode(first)) == first, "what was read is not what is written"


def _some(type: Any, count: int = 25) -> Callable[[Random], list[bytes]]:
    return lambda chance: [msgspec.msgpack.encode(any_of(type, chance)) for _ in range(count)]


def _arrays(type: Any, count: int = 40) -> Callable[[Random], list[bytes]]:
    def samples(chance: Random) -> list[bytes]:
        items = [msgspec.msgpack.encode(any_of(type, chance)) for _ in range(count)]
        return [*(array_of([item]) for item in items), *(array_of(chance.sample(items, 4)) for _ in range(5))]

    return samples


# -- frames


def _frames(data: bytes) -> None:
    """In pieces, by both readers: what is found was there in this order, and a broken stream stays broken."""
    broken = None
    for limit in (0, 1 << 20):
        reader = FrameReader()
        if limit:
            reader.open(limit)
        found: list[tuple[int, bytes]] = []
        try:
            for at in range(0, len(data), 97):
                found += reader.feed(data[at : at + 97])
                while not limit and (more := reader.feed(b"")):
                    found += more
        except ProtocolError as error:
            broken = error
            try:
                reader.feed(data)
            except ProtocolError:
                continue
            raise AssertionError("a broken stream was mended") from None
        assert data.startswith(b"".join(encode_frame(kind, payload) for kind, payload in found))
        assert limit or all(len(payload) <= FRAME_BYTES_HANDSHAKE for _, payload in found)
    if broken is not None:
        raise broken


def _streams(chance: Random) -> Sequence[bytes]:
    kinds = [*FrameKind, 0, 255]
    return [
        b"".join(encode_frame(chance.choice(kinds), chance.randbytes(1 + chance.randrange(300))) for _ in range(count))
        for count in (1, 1, 2, 5)
    ]


# -- nodes


def _peer_messages(data: bytes) -> None:
    def decode(payload: bytes) -> Any:
        return peering.decode_messages(payload, sender_node=THERE, own_node=HERE)

    _again(data, decode, lambda items: array_of([peering.encode_message(*item) for item in items]))


def _items_of_peers(chance: Random) -> list[bytes]:
    messages = [msg for msg in MESSAGE_SAMPLES if msg.sender == B]
    batches = [Batch(3, 1, 2, 5, 9, Kind.CONFIGURATION, encode_membership(_membership(chance)))]
    messages.append(AppendEntries(B, A, 3, 2, 2, 2, 50, batches))
    messages.append(AppendEntries(B, A, 3, 2, 2, 2, 50, [Batch(3, 1, 2, 5, 9, 99, b"of a newer version")]))
    items = [peering.encode_message(GROUP, message) for message in messages]
    beats = [any_of(peering.NodeBeat, chance) for _ in range(3)]
    items += [
        peering.encode_message(peering.NO_GROUP, msgspec.structs.replace(beat, sender=THERE, to=HERE)) for beat in beats
    ]
    for kind in (StateReport, StateVerdict):
        said = msgspec.structs.replace(any_of(kind, chance), sender=B, to=A, term=3)
        items.append(peering.encode_message(GROUP, said))
    return [*(array_of([item]) for item in items), array_of(items)]


def _membership(chance: Random) -> Membership:
    return Membership(tuple(chance.sample(MEMBERS[::2], 1 + chance.randrange(3))))


def _memberships(data: bytes) -> None:
    """A configuration from the log is decoded by every replica, also long after it went through the door."""
    membership = decode_membership(data)
    peering.check_membership(membership)
    assert decode_membership(encode_membership(membership)) == membership


# -- clients


def _requests(data: bytes) -> None:
    def encode(items: Any) -> bytes:
        return array_of([requests.encode_item(item) for item in items])

    _again(data, requests.decode_requests, encode)


def _replies(data: bytes) -> None:
    """And what is in them: the errors, the pieces of streams."""

    def encode(items: Any) -> bytes:
        return array_of([requests.encode_item(item) for item in items])

    _again(data, requests.decode_replies, encode)
    for item in requests.decode_replies(data):
        if isinstance(item, failures.Failed):
            error = failures.failed_to_error(item)
            text = failures.error_to_failed(item.id, error)
            assert type(failures.failed_to_error(text)) is type(error)
        elif isinstance(item, session_requests.Streamed):
            changes.entries_of(item.chunk)


def _failed(chance: Random) -> list[bytes]:
    """Every code, with the details that some of them have."""
    found = []
    for code in failures.FailureCode:
        plain = any_of(failures.Failed, chance)
        for detail in (None, 7, [["a@a:1", "node_down"]], ["a@a:1"], any_value(chance)):
            raw = msgspec.Raw(values.encode_value(detail))
            found.append(requests.encode_item(msgspec.structs.replace(plain, code=code, detail=raw)))
    return [array_of([item]) for item in found]


def _chunks(data: bytes) -> None:
    """A value that is nested deeper than a command may be is read, and cannot be written again."""
    chunk = changes.decode_chunk(data)
    found = changes.entries_of(chunk)
    again = [msgspec.Raw(changes.encode_entry(index, entry)) for index, entry in found]
    first = changes.encode_chunk(changes.Chunk(chunk.after, chunk.index, again))
    assert len(changes.entries_of(changes.decode_chunk(first))) == len(found)


def _pieces_of_streams(chance: Random) -> list[bytes]:
    def entry(index: int) -> msgspec.Raw:
        changed = [changes.Change(chance.choice(("k", 1, b"x", ("a", 1))), any_value(chance), "put") for _ in "ab"]
        return msgspec.Raw(changes.encode_entry(index, changed))

    return [changes.encode_chunk(changes.Chunk(3, 9, [entry(index) for index in range(4, last)])) for last in (4, 5, 9)]


def _values(data: bytes) -> None:
    """What passes the door is a value for everybody: written, read, a key or not."""
    values.check_command(data)
    again = values.encode_value(values.decode_value(data))
    assert values.encode_value(values.decode_value(again)) == again


def _commands(chance: Random) -> list[bytes]:
    return [values.encode_value(any_value(chance)) for _ in range(40)]


# -- handshakes and snapshots


def _handshake(data: bytes) -> None:
    """Both sides, whatever the other one says: refused or unfinished, never established without the secret."""
    secrets = Secrets(cluster=b"one", client=b"two")
    sides = (
        Accepting(cluster="c", node=HERE, nonce=b"n" * 32, secrets=secrets),
        Dialing(role=Role.PEER, cluster="c", node=HERE, to=THERE, nonce=b"m" * 32, secret=b"one"),
    )
    refused = None
    for side in sides:
        try:
            side.feed(data)
        except HandshakeRefused as error:
            refused = error
        assert side.established is None
    if refused is not None:
        raise refused


def _first_words(chance: Random) -> list[bytes]:
    """What the sides say to each other, with another secret than theirs."""
    found = []
    for role in Role:
        secret = None if chance.randrange(2) else b"wrong"
        dialer = Dialing(role=role, cluster="c", node=THERE, to=HERE, nonce=b"d" * 32, secret=secret)
        listener = Accepting(cluster="c", node=HERE, nonce=b"l" * 32, secrets=Secrets(cluster=secret, client=None))
        hello = dialer.opening()
        challenge = listener.feed(hello)
        found += [hello, challenge, hello + dialer.feed(challenge)]
    return found


def _bulk(data: bytes) -> None:
    """The first bytes of a transfer, then the headers of its parts."""
    token = bulk.token_of(data)
    if token is None:
        assert len(data) < bulk.OPENING_BYTES
        return
    assert bulk.opening(token) == data[: bulk.OPENING_BYTES]
    positions = [0] * len(FILES)
    rest = data[bulk.OPENING_BYTES :]
    for at in range(0, len(rest) - _PART.size + 1, _PART.size):
        number, length = bulk.part_of(rest[at : at + _PART.size], FILES, positions)
        positions[number] += length
    assert bulk.check_positions(FILES, positions) == tuple(positions)


def _transfers(chance: Random) -> list[bytes]:
    opening = bulk.opening(b"t" * bulk.TOKEN_BYTES)
    return [opening, opening + bulk.part_header(0, 0, 4) + bulk.part_header(0, 4, 6) + bulk.part_header(2, 0, 2**40)]


def _words(data: bytes) -> None:
    _again(data, fetching.decode_word, fetching.encode_word)


def _opened(data: bytes) -> None:
    _again(data, session_requests.decode_opened, msgspec.msgpack.encode)


_PROTOCOL = (ProtocolError,)
WIRE_TARGETS = (
    Target("wire.frames", _frames, _PROTOCOL, _streams),
    Target("wire.peering", _peer_messages, _PROTOCOL, _items_of_peers),
    Target(
        "wire.memberships",
        _memberships,
        (ProtocolError, msgspec.DecodeError),
        lambda chance: [encode_membership(_membership(chance)) for _ in range(9)],
    ),
    Target("wire.requests", _requests, _PROTOCOL, _arrays(requests.Request)),
    Target("wire.replies", _replies, (ProtocolError, TooLarge), _arrays(requests.Reply)),
    Target("wire.failures", _replies, (ProtocolError, TooLarge), _failed),
    Target("wire.changes", _chunks, (ProtocolError, TooLarge), _pieces_of_streams),
    Target("wire.session_requests", _opened, _PROTOCOL, _some(session_requests.Opened)),
    Target("wire.values", _values, (ProtocolError, RequestError), _commands),
    Target("wire.handshake", _handshake, _PROTOCOL, _first_words),
    Target("wire.bulk", _bulk, _PROTOCOL, _transfers),
    Target("wire.fetching", _words, _PROTOCOL, _some(fetching.Word)),
)
