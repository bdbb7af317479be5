"""The dialer on real sockets: one attempt tells what went wrong, a kept link comes back, nothing is left behind."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from tests.stack.transport.world import LOOPS, Recorder, house, tell
from zraft.errors import HandshakeRefused, UsageError
from zraft.transport import dialer as room
from zraft.transport.counters import Counters
from zraft.transport.dialer import Dialer, Target, connect
from zraft.transport.link import Link, LinkHandlers, LinkLimits
from zraft.wire.frames import array_of
from zraft.wire.handshake import Accepting, Dialing, Role, Secrets


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def target(to: str) -> Target:
    return Target(to=to, role=Role.PEER, cluster="c", node="127.0.0.1:7101")


@pytest.mark.parametrize("loop", LOOPS)
def test_a_dialer_comes_back_when_the_listener_does(loop: str) -> None:
    """Not there, there, gone, there again: up and down are told each time, in turn."""

    async def story() -> None:
        address = f"127.0.0.1:{free_port()}"
        seen = Recorder()
        dialer = Dialer(target(address), seen.handlers, counters=seen.counters, shorten=lambda: 1.0)
        assert not dialer.send(b"\x01")
        dialer.start()
        dialer.start()
        await seen.until(lambda: dialer.last_error)
        for times in (1, 2):
            async with house(listen=address) as there:
                dialer.nudge()
                await seen.until(lambda: len(seen.opened) > len(seen.closed))
                assert dialer.last_error == ""
                assert dialer.send(b"\x01", urgent=True)
                await there.seen.until(lambda: there.seen.frames)
            await seen.until(lambda: len(seen.opened) == len(seen.closed))
            assert len(seen.closed) == times
            assert dialer.link is None
        await dialer.aclose()
        assert not seen.failures

    tell(story, loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_an_attempt_that_opens_a_link_in_its_last_moment_has_not_failed(loop: str) -> None:
    """The process stood still while the answer came: a link that was told to be open is the one that is returned.

    Otherwise it stays open beside the next one, and when it closes that one counts as closed for ever.
    """

    async def story() -> None:
        async with house() as there:
            there.seen.on_opened = lambda _link: time.sleep(0.6)  # the welcome is under way, and time runs out
            seen = Recorder()
            try:
                link = await connect(
                    there.target(), seen.handlers, counters=seen.counters, bounds=LinkLimits(handshake_ms=500)
                )
            except OSError:
                assert not seen.opened
            else:
                assert seen.opened == [link]
                assert link.is_open
                link.abort("enough")

    tell(story, loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_what_is_said_while_an_attempt_is_under_way_comes_with_the_link(loop: str) -> None:
    """If it may wait and is small; beyond so many items the oldest are dropped."""

    async def story() -> None:
        async with house() as there:
            seen = Recorder()
            dialer = Dialer(there.target(), seen.handlers, counters=seen.counters)
            dialer.send(b"\x01", may_wait=True)
            dialer.start()
            dialer.send(b"\x02")
            dialer.send(b"\xc4\xff" + bytes(room.EARLY_BYTES), may_wait=True)
            for number in range(room.EARLY_ITEMS + 3):
                assert not dialer.send(bytes([number % 100]), urgent=True, may_wait=True)
            dialer.send(b"\x05", may_wait=True)
            await there.seen.until(lambda: len(there.seen.frames) == 2)
            urgent, bulk = (payload for _, payload in there.seen.frames)
            assert urgent == array_of([bytes([number % 100]) for number in range(4, room.EARLY_ITEMS + 3)])
            assert bulk == b"\x91\x05"
            await dialer.aclose()

    tell(story, loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_what_was_said_before_an_attempt_that_failed_is_gone(loop: str) -> None:
    """It may be from long ago by the time that the other side comes up."""

    async def story() -> None:
        address = f"127.0.0.1:{free_port()}"
        seen = Recorder()
        dialer = Dialer(target(address), seen.handlers, counters=seen.counters)
        dialer.start()
        dialer.send(b"\x01", may_wait=True)
        await seen.until(lambda: dialer.last_error)
        async with house(listen=address) as there:
            dialer.nudge()
            await seen.until(lambda: seen.opened)
            dialer.send(b"\x02", may_wait=True)
            await there.seen.until(lambda: there.seen.frames)
            assert there.seen.frames[0][1] == b"\x91\x02"
            await dialer.aclose()

    tell(story, loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_dialer_that_closes_sends_what_waits_and_dials_no_more(loop: str) -> None:
    """While its link is up, and while it is between attempts."""

    async def story() -> None:
        async with house() as there:
            seen = Recorder()
            dialer = Dialer(there.target(), seen.handlers, counters=seen.counters)
            dialer.start()
            await seen.until(lambda: seen.opened)
            dialer.send(b"\x01")
            await dialer.aclose()
            assert seen.closed == ["not needed any more"]
            await there.seen.until(lambda: there.seen.closed)
            assert [payload for _, payload in there.seen.frames] == [b"\x91\x01"]
            accepted = there.counters.accepted["peer"]
        idle = Dialer(target(there.address), seen.handlers, counters=seen.counters)
        idle.start()
        await seen.until(lambda: idle.last_error)
        await idle.aclose()
        never = Dialer(target(there.address), seen.handlers, counters=seen.counters)
        await never.aclose()
        assert accepted == 1

    tell(story, loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_an_attempt_that_nobody_answers_says_so(loop: str) -> None:
    """Nobody listens; somebody listens and says nothing; somebody hangs up; somebody is no node; no such host."""

    async def story() -> None:
        seen = Recorder()
        with pytest.raises(ConnectionRefusedError):
            await connect(target(f"127.0.0.1:{free_port()}"), seen.handlers, counters=seen.counters)
        with pytest.raises(socket.gaierror):
            await connect(target("no-such-host.invalid:7101"), seen.handlers, counters=seen.counters)
        with pytest.raises(UsageError):
            await connect(target("nonsense"), seen.handlers, counters=seen.counters)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            to = f"127.0.0.1:{silent.getsockname()[1]}"
            with pytest.raises((TimeoutError, HandshakeRefused)):
                await connect(target(to), seen.handlers, counters=seen.counters, bounds=LinkLimits(handshake_ms=50))
        for said, reason in ((b"", "closed"), (b"SSH-2.0\r\n", "magic")):
            server = await asyncio.start_server(_say(said), "127.0.0.1", 0)
            to = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
            with pytest.raises(HandshakeRefused) as refusal:
                await connect(target(to), seen.handlers, counters=seen.counters)
            assert refusal.value.reason == reason
            assert not refusal.value.remote
            server.close()
            await server.wait_closed()
        assert not seen.opened
        assert not seen.closed

    tell(story, loop)


def _say(said: bytes):  # type: ignore[no-untyped-def] # a callback of asyncio's own
    async def visitor(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(said)
        writer.close()

    return visitor


@pytest.mark.parametrize("loop", LOOPS)
def test_a_cancelled_attempt_leaves_nothing_behind(loop: str) -> None:
    """Neither a connection nor a future that nobody asks."""

    async def story() -> None:
        seen = Recorder()
        with socket.create_server(("127.0.0.1", 0)) as silent:
            to = f"127.0.0.1:{silent.getsockname()[1]}"
            attempt = asyncio.create_task(connect(target(to), seen.handlers, counters=seen.counters))
            await seen.until(lambda: seen.counters.bytes_out)
            attempt.cancel()
            await asyncio.wait([attempt])
            assert attempt.cancelled()
            await seen.until(lambda: seen.counters.refused["closed"] == 1)

    tell(story, loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_an_attempt_that_is_cancelled_as_its_connection_is_made_is_counted_once(
    loop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop has the connection and has not handed it over: it closes it, and one of the loops says so to nobody."""

    async def story() -> None:
        made: list[Link] = []

        class CancelledLink(Link):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                super().connection_made(transport)
                made.append(self)
                attempt.cancel()

        monkeypatch.setattr(room, "Link", CancelledLink)
        seen = Recorder()
        server = socket.create_server(("127.0.0.1", 0))
        server.setblocking(False)
        to = f"127.0.0.1:{server.getsockname()[1]}"
        attempt = asyncio.create_task(connect(target(to), seen.handlers, counters=seen.counters))
        there, _ = await asyncio.get_running_loop().sock_accept(server)
        await asyncio.wait([attempt])
        assert attempt.cancelled()
        await made[0].wait_closed()
        while await asyncio.get_running_loop().sock_recv(there, 4096):
            pass  # until the other side sees the end
        there.close()
        server.close()
        assert seen.counters.refused == {"closed": 1}
        assert not seen.opened
        assert not seen.closed

    tell(story, loop)


def test_a_dialer_that_is_refused_keeps_trying_and_says_why_once(caplog: pytest.LogCaptureFixture) -> None:
    """A secret may be corrected at the other end; the log is not filled meanwhile, and holds no secret."""

    async def story() -> None:
        async with house(secrets=Secrets(cluster=b"right")) as there:
            seen = Recorder()
            dialer = Dialer(there.target(secret=b"canary"), seen.handlers, counters=seen.counters, shorten=lambda: 2.0)
            dialer.start()
            await seen.until(lambda: there.counters.refused["secret"] >= 3)
            assert "secret" in dialer.last_error
            await dialer.aclose()
            assert "canary" not in repr(dialer.target)

    with caplog.at_level("INFO", logger="zraft.transport"):
        tell(story)
    assert len([line for line in caplog.messages if "is not reached" in line]) == 1
    assert "canary" not in caplog.text


def test_an_error_in_the_dialing_itself_is_surfaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """The task does not die in silence."""

    async def story() -> None:
        seen = Recorder()
        broken = KeyError("a bug of ours")

        async def fail(*_: object, **__: object) -> None:
            raise broken

        monkeypatch.setattr(room, "connect", fail)
        dialer = Dialer(target("127.0.0.1:1"), seen.handlers, counters=seen.counters)
        dialer.start()
        await seen.until(lambda: seen.failures)
        assert seen.failures == [broken]
        await dialer.aclose()

    tell(story)


def test_an_attempt_that_opens_when_nobody_waits_any_more_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cancellation and the welcome meet in one turn: the owner hears neither of an opening nor of an end."""

    async def story() -> None:
        made: list[Link] = []

        def make(handshake: Dialing, handlers: LinkHandlers, *, counters: Counters, bounds: LinkLimits) -> Link:
            made.append(Link(handshake, handlers, counters=counters, bounds=bounds))
            return made[-1]

        monkeypatch.setattr(room, "Link", make)
        server = socket.create_server(("127.0.0.1", 0))
        server.setblocking(False)
        to = f"127.0.0.1:{server.getsockname()[1]}"
        accepting = Accepting(cluster="c", node=to, nonce=b"n" * 32, secrets=Secrets())
        loop = asyncio.get_running_loop()
        seen = Recorder()
        attempt = asyncio.create_task(connect(target(to), seen.handlers, counters=seen.counters))
        there, _ = await loop.sock_accept(server)
        await loop.sock_sendall(there, accepting.feed(await loop.sock_recv(there, 4096)))
        welcome = accepting.feed(await loop.sock_recv(there, 4096))
        attempt.cancel()
        made[0].data_received(welcome)
        await asyncio.wait([attempt])
        await made[0].wait_closed()
        there.close()
        server.close()
        assert attempt.cancelled()
        assert seen.counters.closed["local"] == 1
        assert not seen.opened
        assert not seen.closed

    tell(story)
