"""The listener on real sockets: who is let in, who is not, and that strangers cost little and harm nobody."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.stack.transport.world import LOOPS, House, Recorder, house, tell
from zraft import limits
from zraft.errors import AddressInUse, ConfigError, HandshakeRefused, UsageError
from zraft.transport.address import join_address, split_address
from zraft.transport.counters import Counters
from zraft.transport.link import LinkLimits
from zraft.transport.listener import Listener, ListenerLimits
from zraft.wire.frames import FrameKind, encode_frame
from zraft.wire.handshake import ANY_CLUSTER, MAGIC, Dialing, Refused, Role, Secrets

PREAMBLE = MAGIC + b"\x01\x01"
BOTH = Secrets(cluster=b"peers", client=b"clients")


def opening(there: House, **changes: str) -> bytes:
    fields: dict[str, Any] = {"cluster": "c", "node": "127.0.0.1:7101", "to": there.address} | changes
    return Dialing(role=Role.PEER, nonce=b"n" * 32, **fields).opening()


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    ("role", "changes", "reason"),
    [
        (Role.PEER, {"cluster": "other", "secret": b"peers"}, "cluster"),
        (Role.PEER, {"secret": b"wrong"}, "secret"),
        (Role.PEER, {}, "secret"),
        (Role.PEER, {"secret": b"clients"}, "secret"),
        (Role.CLIENT, {"secret": b"peers"}, "secret"),
        (Role.CLIENT, {"cluster": "other", "secret": b"clients"}, "cluster"),
        (Role.PEER, {"node": "nonsense", "secret": b"peers"}, "node"),
        (Role.PEER, {"node": "", "secret": b"peers"}, "malformed"),
    ],
)
def test_who_cannot_prove_what_it_claims_is_refused(
    loop: str, role: Role, changes: dict[str, Any], reason: str
) -> None:
    """Told why, counted, and the owner of the listener never hears of it (BM-114, BM-120, BM-121)."""

    async def story() -> None:
        async with house(secrets=BOTH) as there:
            seen = Recorder()
            with pytest.raises(HandshakeRefused) as refusal:
                await there.visit(seen, role, **changes)
            assert refusal.value.reason == reason
            assert refusal.value.remote
            await there.seen.until(lambda: there.counters.refused[reason] == 1)
            assert not there.seen.opened
            assert not seen.opened
            assert not there.seen.closed

    tell(story, loop)


def test_a_client_may_take_any_cluster_and_a_peer_may_not() -> None:
    """A client is admitted by its secret; for a peer the word is a name like any other."""

    async def story() -> None:
        async with house(secrets=BOTH) as there:
            link = await there.visit(Recorder(), Role.CLIENT, cluster=ANY_CLUSTER, secret=b"clients")
            assert link.role is Role.CLIENT
            with pytest.raises(HandshakeRefused, match="cluster"):
                await there.visit(Recorder(), Role.PEER, cluster=ANY_CLUSTER, secret=b"peers")

    tell(story)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    ("make", "reason", "is_told"),
    [
        (lambda _there: b"GET / HTTP/1.1\r\n\r\n", "magic", False),
        (lambda _there: b"\x80\x04\x95" + b"x" * 100, "magic", False),
        (lambda _there: MAGIC + b"\x02\x09", "version", True),
        (lambda _there: PREAMBLE + b"\x7f\xff\xff\xff\x01\x00\x00\x00\x00", "malformed", True),
        (lambda _there: PREAMBLE + encode_frame(FrameKind.HELLO, b"x" * 4097), "malformed", True),
        (lambda _there: PREAMBLE + encode_frame(FrameKind.PEER, b"\x90"), "malformed", True),
        (lambda there: opening(there, to="127.0.0.1:1"), "node", True),
        (lambda there: opening(there, node=there.address), "node", True),
        (lambda there: opening(there) + encode_frame(FrameKind.HELLO, b"\x90"), "malformed", True),
    ],
    ids=["http", "pickle", "version", "huge", "oversized", "early message", "wrong to", "ourselves", "hello twice"],
)
def test_who_does_not_speak_the_protocol_is_hung_up_on(
    loop: str, make: Callable[[House], bytes], reason: str, is_told: bool
) -> None:
    """Closed before anything is parsed that a stranger has no business with; told why only if it said the magic."""

    async def story() -> None:
        async with house() as there:
            answer = await there.stranger(make(there))
            await there.seen.until(lambda: there.counters.refused[reason] == 1)
            assert not there.seen.opened
            if not is_told:
                assert answer == b""
            elif answer:  # what was sent may be lost where the kernel resets; what arrives ends in a refusal
                assert isinstance(msgspec.msgpack.decode(answer[-2:], type=Refused), Refused)

    tell(story, loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_handshake_byte_by_byte_is_understood(loop: str) -> None:
    """Slow is not wrong, as long as the handshake's time is not over."""

    async def story() -> None:
        async with house() as there:
            dialing = Dialing(role=Role.PEER, cluster="c", node="127.0.0.1:7101", to=there.address, nonce=b"n" * 32)
            reader, writer = await asyncio.open_connection(*there.address.split(":"))
            writer.transport.set_write_buffer_limits(0)
            for part in (dialing.opening(), None, encode_frame(FrameKind.PEER, b"\x91\x01")):
                for byte in part if part is not None else dialing.feed(await reader.read(4096)):
                    writer.write(bytes((byte,)))
                    await writer.drain()
                    await asyncio.sleep(0)
            await there.seen.until(lambda: there.seen.frames)
            assert there.seen.frames == [(FrameKind.PEER, b"\x91\x01")]
            writer.transport.abort()

    tell(story, loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_stranger_that_stalls_is_closed_when_its_time_is_over(loop: str) -> None:
    """Whether it said nothing or half of it (S-03)."""

    async def story() -> None:
        bounds = ListenerLimits(link=LinkLimits(handshake_ms=400))
        async with house(bounds=bounds) as there:
            assert await there.stranger() == b""
            assert await there.stranger(b"ZRA") == b""
            assert (await there.stranger(opening(there))).startswith(PREAMBLE)
            assert there.counters.refused["timeout"] == 3

    tell(story, loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_stalling_strangers_do_not_keep_honest_ones_out(loop: str) -> None:
    """500 slow connections, 20 places: the oldest strangers go, open links stay, new honest ones get in (S-03)."""

    async def story() -> None:
        async with house(bounds=ListenerLimits(unauthenticated=20)) as there:
            early = await there.visit(Recorder())
            socks = [await _open_socket(there.address) for _ in range(500)]
            await there.seen.until(lambda: there.counters.refused["busy"] == 480)
            late = await there.visit(Recorder(), node="127.0.0.1:7109")
            assert early.is_open
            assert late.is_open
            assert len(there.listener._strangers) <= 20
            for sock in socks:
                sock.close()
            await there.seen.until(lambda: not there.listener._strangers)

    tell(story, loop)


async def _open_socket(address: str) -> socket.socket:
    sock = socket.socket()
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, split_address(address))
    sock.send(b"Z")
    return sock


def test_clients_have_a_cap_and_peers_are_not_counted_in_it() -> None:
    """One client too many is refused after its proof, peers still come in, a place that is freed is given (BM-115)."""

    async def story() -> None:
        async with house(bounds=ListenerLimits(clients=2, peers=1)) as there:
            first = await there.visit(Recorder(), Role.CLIENT, node="one")
            await there.visit(Recorder(), Role.CLIENT, node="two")
            with pytest.raises(HandshakeRefused, match="busy"):
                await there.visit(Recorder(), Role.CLIENT, node="three")
            await there.visit(Recorder())
            with pytest.raises(HandshakeRefused, match="busy"):
                await there.visit(Recorder(), node="127.0.0.1:7102")
            first.close("leaves")
            await there.seen.until(lambda: there.seen.closed)
            await there.visit(Recorder(), Role.CLIENT, node="three")

    tell(story)


def test_of_two_connections_of_one_node_the_newer_stays() -> None:
    """The older is the one that broke without anybody noticing; both ends are told."""

    async def story() -> None:
        async with house() as there:
            seen = Recorder()
            older = await there.visit(seen)
            newer = await there.visit(seen)
            await older.wait_closed()
            assert newer.is_open
            await there.seen.until(lambda: there.seen.closed)
            assert there.seen.closed == ["replaced by a newer connection of the same node"]

    tell(story)


@pytest.mark.uncounted
@pytest.mark.parametrize("loop", LOOPS)
def test_two_thousand_random_visitors_change_nothing(loop: str) -> None:
    """Whatever they say, they are counted and gone, and the link that was there before still works."""

    async def story() -> None:
        chance = random.Random(7)
        async with house() as there:
            link = await there.visit(Recorder())

            def nonsense() -> bytes:
                data = chance.randbytes(chance.randrange(200))
                match chance.randrange(4):
                    case 0:
                        return data
                    case 1:
                        return PREAMBLE + data
                    case 2:
                        return PREAMBLE + encode_frame(chance.randrange(256), data or b"\x00")
                    case _:
                        changed = bytearray(opening(there))
                        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
                        return bytes(changed)

            async def visitor(visits: int) -> None:
                for _ in range(visits):
                    reader, writer = await asyncio.open_connection(*there.address.split(":"))
                    writer.write(nonsense())
                    writer.write_eof()
                    try:
                        await reader.read()
                    except ConnectionError:
                        pass
                    writer.transport.abort()

            async with asyncio.TaskGroup() as group:
                for _ in range(20):
                    group.create_task(visitor(100))
            await there.seen.until(lambda: sum(there.counters.refused.values()) == 2000)
            assert len(there.seen.opened) == 1
            link.send(b"\x01")
            await there.seen.until(lambda: there.seen.frames)
            assert there.seen.frames == [(FrameKind.PEER, b"\x91\x01")]

    tell(story, loop)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("said", [b"", b"ZR", PREAMBLE, PREAMBLE + b"\x00\x00"])
def test_bm_116_a_reset_during_the_handshake_is_counted_and_forgotten(loop: str, said: bytes) -> None:
    """At each point where the other side may vanish (BM-116)."""

    async def story() -> None:
        async with house() as there:
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, split_address(there.address))
            await there.seen.until(lambda: there.listener._strangers)
            if said:
                sock.send(said)
                await there.seen.until(lambda: there.counters.bytes_in == len(said))
            sock.close()
            await there.seen.until(lambda: there.counters.refused["closed"] == 1)
            assert not there.listener._strangers

    tell(story, loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_an_address_in_use_and_one_that_is_not_ours_are_said(loop: str) -> None:
    """Before anything is served."""

    async def story() -> None:
        async with house() as there:
            for listen, error in (
                (there.address, AddressInUse),
                ("192.0.2.1:7101", ConfigError),
                ("no-such-host.invalid:7101", ConfigError),
                ("nonsense", UsageError),
            ):
                other = Listener(
                    listen=listen, cluster="c", secrets=BOTH, handlers=there.seen.handlers, counters=Counters()
                )
                with pytest.raises(error):
                    await other.start()
                await other.aclose()

    tell(story, loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_listener_that_closes_takes_its_links_along(loop: str) -> None:
    """Open ones, strangers and those that come at the last moment; what waits on them is written; twice is once."""

    async def story() -> None:
        async with house() as there:
            seen = Recorder()
            link = await there.visit(seen, Role.CLIENT, node="client")
            stranger = await _open_socket(there.address)
            await there.seen.until(lambda: there.listener._strangers)
            there.seen.opened[0].send(b"\x07")
            await there.listener.aclose()
            await link.wait_closed()
            assert seen.frames == [(FrameKind.REPLIES, b"\x91\x07")]
            assert there.seen.closed == ["this node stops"]
            await there.listener.aclose()
            late = there.listener._accept()
            assert late.refusal is not None
            with pytest.raises(ConnectionRefusedError):
                await there.visit(Recorder())
            stranger.close()

    tell(story, loop)


def test_an_address_is_host_and_port() -> None:
    """Brackets around IPv6, nothing else is an address."""
    assert split_address("localhost:7101") == ("localhost", 7101)
    assert split_address("[::1]:7101") == ("::1", 7101)
    assert join_address("::1", 7101) == "[::1]:7101"
    assert join_address("h", 1) == "h:1"
    for wrong in ("", "h", ":1", "h:", "h:x", "h:70000", "h:²"):
        with pytest.raises(UsageError):
            split_address(wrong)


def test_the_caps_leave_room_for_each_other() -> None:
    """Strangers, peers and clients are counted apart; the bounds of this room are related where they meet."""
    limits.check()
    assert limits.UNAUTHENTICATED_CONNECTIONS + limits.PEER_CONNECTIONS + 256 <= limits.OTHER_FILES
