"""Programs of different versions: they speak the newest one that both know, or refuse each other and say why."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from tests.unit.core.samples import A, B
from zraft.core.messages import Heartbeat
from zraft.errors import HandshakeRefused, ProtocolError
from zraft.types import GroupId
from zraft.wire import handshake
from zraft.wire.fetching import decode_word
from zraft.wire.frames import array_of
from zraft.wire.handshake import MAGIC, Accepting, Dialing, Refusal, Role, Secrets
from zraft.wire.peering import decode_messages, encode_message
from zraft.wire.requests import ListPeers, Result, decode_replies, decode_requests, encode_item

HERE, THERE = A.peer.node, B.peer.node
GROUP = GroupId(b"group of a test!")
SECRET = b"one"
NEWER = 77
"""The type of a message that only a later version knows."""


class Program:
    """One side of a handshake, of a program that speaks the versions `oldest` to `newest`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, oldest: int, newest: int) -> None:
        self._patch, self._versions = monkeypatch, (oldest, newest)

    def __call__(self, call: Callable[[], bytes]) -> bytes:
        oldest, newest = self._versions
        with self._patch.context() as patch:
            patch.setattr(handshake, "OLDEST_VERSION", oldest)
            patch.setattr(handshake, "NEWEST_VERSION", newest)
            patch.setattr(handshake, "_PREAMBLE", MAGIC + bytes((oldest, newest)))
            return call()


def sides() -> tuple[Dialing, Accepting]:
    dialer = Dialing(role=Role.PEER, cluster="c", node=THERE, to=HERE, nonce=b"d" * 32, secret=SECRET)
    return dialer, Accepting(cluster="c", node=HERE, nonce=b"l" * 32, secrets=Secrets(cluster=SECRET))


@pytest.mark.parametrize(
    ("dialing", "listening", "agreed"),
    [((1, 1), (1, 2), 1), ((1, 2), (1, 1), 1), ((1, 3), (2, 4), 3), ((2, 2), (1, 9), 2)],
    ids=["older dialer", "newer dialer", "both went on", "one only"],
)
def test_the_newest_version_that_both_speak_is_spoken(
    monkeypatch: pytest.MonkeyPatch, dialing: tuple[int, int], listening: tuple[int, int], agreed: int
) -> None:
    """Both prove that they know the secret, over the same ranges, and know the same version afterwards."""
    (dialer, listener), (ours, theirs) = sides(), (Program(monkeypatch, *dialing), Program(monkeypatch, *listening))
    challenge = theirs(lambda: listener.feed(ours(dialer.opening)))
    welcome = theirs(lambda: listener.feed(ours(lambda: dialer.feed(challenge))))
    ours(lambda: dialer.feed(welcome))
    assert dialer.established is not None
    assert listener.established is not None
    assert (dialer.established.version, listener.established.version) == (agreed, agreed)


@pytest.mark.parametrize(
    ("dialing", "listening"), [((1, 1), (2, 3)), ((2, 3), (1, 1))], ids=["older dialer", "newer dialer"]
)
def test_programs_that_share_no_version_refuse_each_other(
    monkeypatch: pytest.MonkeyPatch, dialing: tuple[int, int], listening: tuple[int, int]
) -> None:
    """The listener first, from the first seven bytes; its farewell tells the dialer, whichever of them is older."""
    (dialer, listener), (ours, theirs) = sides(), (Program(monkeypatch, *dialing), Program(monkeypatch, *listening))
    with pytest.raises(HandshakeRefused, match="the other side speaks") as refusal:
        theirs(lambda: listener.feed(ours(dialer.opening)))
    assert refusal.value.reason == Refusal.VERSION
    with pytest.raises(HandshakeRefused) as told:
        ours(lambda: dialer.feed(listener.farewell))
    assert told.value.reason == Refusal.VERSION
    assert dialer.established is listener.established is None


def test_a_version_that_was_talked_down_admits_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who changes the ranges on the way, so that both speak an older version, changes what the proofs are about."""
    (dialer, listener), newer = sides(), Program(monkeypatch, 1, 2)
    opening = newer(dialer.opening)
    assert opening.startswith(MAGIC + b"\x01\x02")
    challenge = newer(lambda: listener.feed(MAGIC + b"\x01\x01" + opening[7:]))
    proof = newer(lambda: dialer.feed(MAGIC + b"\x01\x01" + challenge[7:]))
    with pytest.raises(HandshakeRefused) as refusal:
        newer(lambda: listener.feed(proof))
    assert refusal.value.reason == Refusal.SECRET


def of_a_newer_version(*fields: object) -> bytes:
    return msgspec.msgpack.encode([NEWER, *fields])


def test_bm_117_a_message_of_a_newer_version_is_refused_with_its_whole_frame() -> None:
    """Nothing of it reaches a replica, so nothing is skipped; a sender of that version must not say it here."""
    known = encode_message(GROUP, Heartbeat(B, A, 3, 1, 2, 9))
    newer = msgspec.msgpack.encode([GROUP, msgspec.Raw(of_a_newer_version("a field"))])
    assert len(decode_messages(array_of([known]), sender_node=THERE, own_node=HERE)) == 1
    with pytest.raises(ProtocolError, match=str(NEWER)):
        decode_messages(array_of([known, newer]), sender_node=THERE, own_node=HERE)


def test_bm_117_a_request_of_a_newer_version_is_refused_with_its_whole_frame() -> None:
    """So is a reply, and a word about a snapshot."""
    newer = of_a_newer_version(5)
    with pytest.raises(ProtocolError, match=str(NEWER)):
        decode_requests(array_of([encode_item(ListPeers(1)), newer]))
    with pytest.raises(ProtocolError, match=str(NEWER)):
        decode_replies(array_of([encode_item(Result(1, 1)), newer]))
    with pytest.raises(ProtocolError, match=str(NEWER)):
        decode_word(newer)


def test_a_field_that_a_newer_version_added_is_read_past() -> None:
    """At the end of a message, so that a later version may say more of the same."""
    [plain] = msgspec.msgpack.decode(array_of([encode_message(GROUP, Heartbeat(B, A, 3, 1, 2, 9))]))
    plain[1].append("more")
    [(_, message)] = decode_messages(array_of([msgspec.msgpack.encode(plain)]), sender_node=THERE, own_node=HERE)
    assert message == Heartbeat(B, A, 3, 1, 2, 9)
