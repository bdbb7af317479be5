"""The protocol of replicated sessions: what goes comes back, and nothing malformed becomes a request."""

from __future__ import annotations

import msgspec
import pytest

from zraft.errors import ProtocolError
from zraft.limits import MAX_SESSION_TIMEOUT_MS, MAX_TERM
from zraft.wire.changes import Chunk
from zraft.wire.frames import array_of
from zraft.wire.requests import Reply, Request, decode_replies, decode_requests, encode_item
from zraft.wire.session_requests import (
    Opened,
    Ping,
    ResumeSession,
    SessionQuery,
    SessionWatch,
    SessionWrite,
    StartSession,
    StopSession,
    Streamed,
    Triggered,
    TriggerReason,
    Unwatch,
    decode_opened,
)
from zraft.wire.values import encode_value

TOKEN = b"t" * 16
RAW = msgspec.Raw(encode_value(("key", b"value")))

REQUESTS: list[Request] = [
    StartSession(1, "a", TOKEN, 10_000),
    ResumeSession(2, "a", TOKEN, 77),
    ResumeSession(2, "a", TOKEN, 77, 17),
    SessionWrite(3, "a", 17, TOKEN, 1, 0, RAW),
    SessionWrite(4, "a", 17, TOKEN, 2, 1, RAW, True),
    SessionQuery(5, "a", 17, TOKEN, RAW),
    SessionQuery(6, "a", 17, TOKEN, RAW, 6),
    Ping(7, "a", 17, TOKEN),
    StopSession(8, "a", 17, TOKEN),
    SessionWatch(9, "a", 17, TOKEN, 10, RAW),
    SessionWatch(11, "a", 17, TOKEN, 10, RAW, True, 12),
    Unwatch(12, "a", 17, TOKEN, [6, 10]),
]

REPLIES: list[Reply] = [
    Triggered(6, 40, TriggerReason.CHANGE),
    Triggered(9, 0, TriggerReason.CHANGE_LEADER),
    Streamed(10, Chunk(12, 20, [RAW])),
]


def test_requests_and_pushes_come_back_as_they_went() -> None:
    """All kinds in one frame; a command is the same bytes."""
    assert decode_requests(array_of([encode_item(request) for request in REQUESTS])) == REQUESTS
    assert decode_replies(array_of([encode_item(reply) for reply in REPLIES])) == REPLIES


def test_the_bytes_of_session_requests_do_not_change() -> None:
    """Clients are older or newer than nodes."""
    raw, token = bytes(RAW).hex(), "c410" + TOKEN.hex()
    assert encode_item(StartSession(1, "a", TOKEN, 5)).hex() == f"951401a161{token}05"
    assert encode_item(ResumeSession(1, "a", TOKEN, 7)).hex() == f"961501a161{token}0700"
    assert decode_requests(bytes.fromhex(f"91951501a161{token}07")) == [ResumeSession(1, "a", TOKEN, 7)]
    assert encode_item(SessionWrite(1, "a", 17, TOKEN, 2, 1, RAW, True)).hex() == f"991601a16111{token}0201{raw}c3"
    assert encode_item(SessionQuery(1, "a", 17, TOKEN, RAW, 6)).hex() == f"971701a16111{token}{raw}06"
    assert encode_item(Ping(1, "a", 17, TOKEN)).hex() == f"951801a16111{token}"
    assert encode_item(StopSession(1, "a", 17, TOKEN)).hex() == f"951901a16111{token}"
    assert encode_item(SessionWatch(1, "a", 17, TOKEN, 6, RAW, True, 5)).hex() == f"991a01a16111{token}06{raw}c305"
    assert encode_item(Unwatch(1, "a", 17, TOKEN, [6])).hex() == f"961b01a16111{token}9106"
    assert encode_item(Triggered(6, 40, TriggerReason.CHANGE)).hex() == "9414062801"
    assert encode_item(Streamed(6, Chunk(4, 5, [RAW]))).hex() == f"93150693040591{raw}"


@pytest.mark.parametrize(
    "item",
    [
        [20, 1, "a", b"t" * 15, 1000],
        [20, 1, "a", b"t" * 17, 1000],
        [20, 1, "a", TOKEN, 0],
        [20, 1, "a", TOKEN, MAX_SESSION_TIMEOUT_MS + 1],
        [21, 1, "a", TOKEN, 0],
        [22, 1, "a", 0, TOKEN, 1, 0, None],
        [22, 1, "a", MAX_TERM + 1, TOKEN, 1, 0, None],
        [22, 1, "a", 17, TOKEN, 0, 0, None],
        [22, 1, "a", 17, TOKEN, 1, -1, None],
        [22, 1, "a", 17, TOKEN, 1, 0],
        [22, 1, "a", 17, TOKEN, 1, 0, None, 1],
        [23, 1, "a", 17, TOKEN, None, -1],
        [24, 1, "a", 17],
        [24, 1, "a", 17, "tttttttttttttttt"],
        [25, 1, "a", -17, TOKEN],
        [26, 1, "a", 17, TOKEN, 6, None, False, -1],
        [26, 1, "a", 17, TOKEN, 6],
    ],
)
def test_what_is_no_session_request_is_refused(item: list[object]) -> None:
    """Ids, tokens, sequences and times out of their bounds never reach a replica."""
    with pytest.raises(ProtocolError):
        decode_requests(msgspec.msgpack.encode([item]))


def test_what_opens_a_session_is_read_and_checked() -> None:
    """The value of a Result is bytes of a stranger."""
    assert decode_opened(encode_value([17, 5000, 3])) == Opened(17, 5000, 3)
    for value in (None, [0, 5000, 0], [17], [17, 0, 0], "17"):
        with pytest.raises(ProtocolError):
            decode_opened(encode_value(value))
