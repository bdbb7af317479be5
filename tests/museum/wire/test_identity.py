"""Who somebody claims to be: what is left out opens no door."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from zraft.errors import HandshakeRefused
from zraft.wire.frames import FrameKind, encode_frame
from zraft.wire.handshake import MAGIC, Accepting, Refusal, Role, Secrets

HERE, THERE = "127.0.0.1:7101", "127.0.0.1:7102"
FIELDS = ("role", "cluster", "node", "to", "nonce")


def hello(role: Role) -> list[Any]:
    return [role, "c", THERE, HERE, b"n" * 32]


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("secret", [None, b"secret"])
@pytest.mark.parametrize("nothing", [None, "", b"", "\0", 0], ids=repr)
@pytest.mark.parametrize("field", range(len(FIELDS)), ids=FIELDS)
def test_bm_121_a_part_of_the_identity_that_is_empty_admits_nobody(
    field: int, nothing: object, secret: bytes | None, role: Role
) -> None:
    """Absent is no wildcard: neither in what is said first, nor, with everything said, in the proof."""
    door = Accepting(cluster="c", node=HERE, nonce=b"l" * 32, secrets=Secrets(cluster=secret, client=None))
    said = hello(role)
    said[field] = nothing
    try:
        door.feed(MAGIC + b"\x01\x01" + encode_frame(FrameKind.HELLO, msgspec.msgpack.encode(said)))
        proof = encode_frame(FrameKind.PROOF, msgspec.msgpack.encode([b""]))
        door.feed(proof)
    except HandshakeRefused as refusal:
        assert refusal.reason in (Refusal.MALFORMED, Refusal.CLUSTER, Refusal.NODE, Refusal.ROLE)  # noqa: PT017
    assert door.established is None
    assert door.farewell


@pytest.mark.parametrize("count", range(len(FIELDS)))
def test_bm_121_a_part_of_the_identity_that_is_left_out_admits_nobody(count: int) -> None:
    """Shorter is malformed."""
    door = Accepting(cluster="c", node=HERE, nonce=b"l" * 32, secrets=Secrets())
    with pytest.raises(HandshakeRefused, match="malformed"):
        door.feed(MAGIC + b"\x01\x01" + encode_frame(FrameKind.HELLO, msgspec.msgpack.encode(hello(Role.PEER)[:count])))
    assert door.established is None
