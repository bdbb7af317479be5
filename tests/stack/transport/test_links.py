"""Links on real sockets: what is sent arrives, in few writes, bounded, urgent first, until an end that is told."""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import replace

import msgspec
import pytest

from tests.stack.transport.world import LOOPS, PATIENCE_S, Recorder, house, payloads, tell
from zraft.errors import HandshakeRefused, TooLarge, UsageError
from zraft.transport import link as room
from zraft.transport.link import Link, LinkLimits
from zraft.transport.listener import ListenerLimits
from zraft.wire.frames import FrameKind, encode_frame
from zraft.wire.handshake import Role, Secrets


def item(text: str, size: int = 0) -> bytes:
    """About `size` bytes."""
    return msgspec.msgpack.encode((text, bytes(max(size - 10, 0))))


def texts(seen: Recorder, kind: FrameKind) -> list[str]:
    return [text for payload in payloads(seen, kind) for text, _padding in msgspec.msgpack.decode(payload)]


@pytest.mark.parametrize("loop", LOOPS)
def test_a_turns_messages_arrive_in_one_frame_and_in_order(loop: str) -> None:
    """Peers speak in one direction, over a connection that both proved."""

    async def story() -> None:
        async with house(secrets=Secrets(cluster=b"s")) as there:
            seen = Recorder()
            link = await there.visit(seen, secret=b"s")
            for number in range(100):
                assert link.send(item(f"m{number}"))
            assert link.queued_bytes > 0
            await there.seen.until(lambda: there.seen.frames)
            assert texts(there.seen, FrameKind.PEER) == [f"m{number}" for number in range(100)]
            assert len(there.seen.frames) == 1
            assert there.seen.opened[0].node == "127.0.0.1:7101"
            assert link.node == there.address
            assert there.counters.accepted["peer"] == seen.counters.dialed["peer"] == 1
            link.close("done")
            await link.wait_closed()
            await there.seen.until(lambda: there.seen.closed)
            assert seen.closed == ["done"]
            assert there.seen.closed == ["closed by the other side"]
            assert there.counters.bytes_in == seen.counters.bytes_out > 0

    tell(story, loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_requests_and_replies_go_their_ways(loop: str) -> None:
    """Clients and nodes speak in both directions."""

    async def story() -> None:
        async with house() as there:
            there.seen.on_frame = lambda link, _payload: link.send(item("reply"))
            seen = Recorder()
            link = await there.visit(seen, Role.CLIENT, node="client")
            link.send(item("request"))
            link.flush()
            await seen.until(lambda: seen.frames)
            assert texts(there.seen, FrameKind.REQUESTS) == ["request"]
            assert texts(seen, FrameKind.REPLIES) == ["reply"]
            link.abort("done")
            await link.wait_closed()
            assert not link.send(item("too late"))
            assert seen.counters.dropped == 1

    tell(story, loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_large_traffic_arrives_whole(loop: str) -> None:
    """Frames of several reads, several frames of one lane, both sides at once."""

    async def story() -> None:
        async with house() as there:
            there.seen.on_opened = lambda link: [link.send(item(f"r{n}", 300_000)) for n in range(20)]
            seen = Recorder()
            link = await there.visit(seen, Role.CLIENT, node="client")
            for number in range(20):
                assert link.send(item(f"q{number}", 300_000))
            await seen.until(lambda: len(texts(seen, FrameKind.REPLIES)) == 20)
            await there.seen.until(lambda: len(texts(there.seen, FrameKind.REQUESTS)) == 20)
            assert texts(seen, FrameKind.REPLIES) == [f"r{number}" for number in range(20)]
            assert texts(there.seen, FrameKind.REQUESTS) == [f"q{number}" for number in range(20)]
            assert link.queued_bytes == 0

    tell(story, loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_what_is_urgent_overtakes_what_waits(loop: str) -> None:
    """A heartbeat does not wait behind megabytes of entries that the other side has not taken yet."""

    async def story() -> None:
        async with house() as there:
            seen = Recorder()
            link = await there.visit(seen)
            there.seen.opened[0].pause_reading()
            for number in range(60):
                assert link.send(item(f"bulk{number}", 250_000))
            link.flush()
            await there.seen.until(lambda: link.queued_bytes > 0)
            assert link.send(item("vote"), urgent=True)
            there.seen.opened[0].resume_reading()
            await there.seen.until(lambda: len(texts(there.seen, FrameKind.PEER)) == 61)
            order = texts(there.seen, FrameKind.PEER)
            assert order.index("vote") < 60
            assert [text for text in order if text != "vote"] == [f"bulk{number}" for number in range(60)]

    tell(story, loop)


def test_a_full_lane_drops_and_says_so_and_the_other_lane_has_room() -> None:
    """Bounded in bytes; the first message of an empty lane is always taken (BM-112); above a frame: `TooLarge`."""

    async def story() -> None:
        bounds = LinkLimits(frame_bytes=50_000, queue_bytes=10_000)
        async with house(bounds=ListenerLimits(link=bounds)) as there:
            seen = Recorder()
            link = await there.visit(seen, bounds=bounds)
            assert link.send(item("large", 40_000))
            assert not link.send(item("dropped"))
            assert link.send(item("urgent", 9_000), urgent=True)
            assert not link.send(item("dropped", 2_000), urgent=True)
            assert seen.counters.dropped == 2
            await there.seen.until(lambda: len(texts(there.seen, FrameKind.PEER)) == 2)
            assert texts(there.seen, FrameKind.PEER) == ["urgent", "large"]
            for number in range(10):
                assert link.send(item(f"again{number}", 900))
            await seen.until(lambda: not link.queued_bytes)
            with pytest.raises(TooLarge):
                link.send(item("x", 50_100))

    tell(story)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_client_that_does_not_read_its_replies_is_not_read(loop: str) -> None:
    """Back-pressure: the queue of replies stays bounded, and goes on when the client reads again."""

    async def story() -> None:
        bounds = ListenerLimits(link=LinkLimits(queue_bytes=1_000_000))
        async with house(bounds=bounds) as there:
            refused: list[bytes] = []

            def answer(link: Link, payload: bytes) -> None:
                for _ in msgspec.msgpack.decode(payload):
                    if not link.send(item("reply", 10_000)):
                        refused.append(payload)

            there.seen.on_frame = answer
            seen = Recorder()
            link = await there.visit(seen, Role.CLIENT, node="client")
            server = there.seen.opened[0]
            link.pause_reading()
            sent = 0

            async def ask() -> None:
                nonlocal sent
                while server.queued_bytes <= 500_000:
                    assert link.send(item("q"))
                    sent += 1
                    await asyncio.sleep(0)

            await ask()
            await seen.until(lambda: server._holds)
            for _ in range(5_000):
                link.send(item("q"))
                sent += 1
            link.flush()
            for _ in range(100):
                await asyncio.sleep(0)
            assert server.queued_bytes < 1_000_000
            link.resume_reading()
            await seen.until(lambda: len(texts(seen, FrameKind.REPLIES)) == sent - len(refused))
            assert not server._holds

    tell(story, loop)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    "wrong",
    [
        encode_frame(FrameKind.REQUESTS, b"\x90"),
        encode_frame(FrameKind.HELLO, b"\x90"),
        b"\x00\x80\x00\x01\x10\x00\x00\x00\x00",
        bytes(9),
        b"\x00\x00\x00\x01\x10\x00\x00\x00\x00\x90",
    ],
    ids=["kind", "handshake", "oversized", "empty", "checksum"],
)
def test_wrong_bytes_end_their_connection_and_nothing_else(loop: str, wrong: bytes) -> None:
    """Counted and told; the listener and its other links serve on."""

    async def story() -> None:
        async with house() as there:
            seen = Recorder()
            good = await there.visit(seen)
            bad = await there.visit(seen, node="127.0.0.1:7103")
            assert bad._transport is not None
            bad._transport.write(wrong)
            await there.seen.until(lambda: there.counters.closed["protocol"] == 1)
            assert there.seen.closed[0].startswith("protocol error: ")
            good.send(item("still here"))
            await there.seen.until(lambda: there.seen.frames)
            assert texts(there.seen, FrameKind.PEER) == ["still here"]

    tell(story, loop)


def test_a_peers_connection_carries_nothing_back() -> None:
    """The listening side has its own connection to answer over; misuse says so."""

    async def story() -> None:
        async with house() as there:
            seen = Recorder()
            link = await there.visit(seen)
            with pytest.raises(UsageError, match="dialed itself"):
                there.seen.opened[0].send(item("x"))
            theirs = there.seen.opened[0]._transport
            assert theirs is not None
            theirs.write(encode_frame(FrameKind.PEER, b"\x90"))
            await seen.until(lambda: seen.counters.closed["protocol"] == 1)
            assert not link.is_open

    tell(story)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("where", ["opened", "received", "closed"])
def test_an_error_of_a_handler_ends_the_connection_and_is_surfaced(loop: str, where: str) -> None:
    """Never only printed: the owner is told, and decides (BM-116)."""

    async def story() -> None:
        async with house() as there:
            broken = KeyError("a bug of ours")

            def fail(*_: object) -> None:
                raise broken

            if where == "opened":
                there.seen.on_opened = fail
            elif where == "received":
                there.seen.on_frame = fail
            else:
                there.listener._owner = replace(there.listener._owner, closed=fail)
            seen = Recorder()
            link = await there.visit(seen)
            link.send(item("x"))
            if where == "closed":
                link.close("done")
            await there.seen.until(lambda: there.seen.failures)
            await link.wait_closed()
            assert there.seen.failures == [broken]
            there.seen.failures.clear()
            assert there.counters.closed["remote" if where == "closed" else "failure"] == 1

    tell(story, loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_link_may_be_closed_from_within_its_own_handlers(loop: str) -> None:
    """In `opened`, and in `received` with more frames of the same read behind it (BM-116)."""

    async def story() -> None:
        async with house() as there:
            seen = Recorder()
            seen.on_opened = lambda link: link.close("at once")
            link = await there.visit(seen)
            await link.wait_closed()
            assert seen.closed == ["at once"]
            there.seen.on_frame = lambda link, _payload: link.abort("enough")
            link = await there.visit(Recorder(), node="127.0.0.1:7104")
            assert link._transport is not None
            link._transport.write(encode_frame(FrameKind.PEER, b"\x90") * 5)
            await link.wait_closed()
            await there.seen.until(lambda: "enough" in there.seen.closed)
            assert len(there.seen.frames) == 1

    tell(story, loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_reset_in_the_middle_of_a_frame_ends_the_link(loop: str) -> None:
    """RST instead of FIN, half a frame in the reader: told once, and nothing is delivered (BM-116)."""

    async def story() -> None:
        async with house() as there:
            link = await there.visit(Recorder())
            assert link._transport is not None
            link._transport.write(encode_frame(FrameKind.PEER, b"x" * 1000)[:500])
            before = there.counters.bytes_in
            await there.seen.until(lambda: there.counters.bytes_in >= before)
            sock = link._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            link.abort("reset")
            await there.seen.until(lambda: there.seen.closed)
            assert len(there.seen.closed) == 1
            assert there.seen.frames == []
            assert there.counters.closed["remote"] == 1

    tell(story, loop)


def test_what_waits_is_written_before_a_link_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    """`close` is orderly: a last message arrives."""
    monkeypatch.setattr(room, "_CLOSE_S", PATIENCE_S)

    async def story() -> None:
        async with house() as there:
            link = await there.visit(Recorder())
            for number in range(30):
                link.send(item(f"m{number}", 100_000))
            link.close("bye")
            assert not link.send(item("late"))
            link.close("twice")
            await link.wait_closed()
            await there.seen.until(lambda: there.seen.closed)
            assert texts(there.seen, FrameKind.PEER) == [f"m{number}" for number in range(30)]

    tell(story)


def test_a_close_that_the_other_side_does_not_take_is_cut_off() -> None:
    """Nobody keeps a stopping node from stopping."""

    async def story() -> None:
        async with house() as there:
            seen = Recorder()
            link = await there.visit(seen)
            there.seen.opened[0].pause_reading()
            for number in range(60):
                link.send(item(f"m{number}", 250_000))
            link.close("bye")
            await link.wait_closed()
            assert seen.closed == ["bye"]

    tell(story)


def test_an_open_link_cannot_be_refused_and_pauses_are_counted_by_who() -> None:
    """Late evictions do nothing; reading resumes when everybody has."""

    async def story() -> None:
        async with house() as there:
            link = await there.visit(Recorder())
            server = there.seen.opened[0]
            server.refuse(HandshakeRefused("busy", "too late"))
            assert server.is_open
            server.pause_reading("a")
            server.pause_reading("b")
            server.resume_reading("a")
            server.resume_reading("nobody")
            link.send(item("x"))
            link.flush()
            for _ in range(20):
                await asyncio.sleep(0)
            assert there.seen.frames == []
            server.resume_reading("b")
            await there.seen.until(lambda: there.seen.frames)

    tell(story)
