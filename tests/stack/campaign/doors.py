"""Nodes behind doors: whoever wants to reach a node comes through a proxy that can shut out one sender.

    node a ──> door of b ──> node b          every node listens on an address that nobody else knows,
    client ──> door of b ──> node b          and advertises that of its door

The door reads who knocks in the first frame of a connection, and passes everything on unchanged. What a sender that is
shut out sends is kept, and its connection stays open: nobody is told, as in a network that drops. When it is let in
again what was kept arrives, late, or its connections are broken off. Clients always come through.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

from tests.stack.campaign.verdict import UNCOMPACTED
from tests.stack.clusters import ELECTION
from zraft.app.processes import PortLease, ServerProcess
from zraft.transport.address import split_address
from zraft.types import PeerId
from zraft.wire.frames import FrameReader
from zraft.wire.handshake import MAGIC, Hello, Role

CLIENT: Final = "a client"
_PREAMBLE_BYTES: Final = len(MAGIC) + 2
_CHUNK_BYTES: Final = 1 << 16
_QUEUED_CHUNKS: Final = 256
_DROP_S: Final = 0.001
"""Between two bytes of a trickle."""
_LANDING_S: Final = 0.01
"""For the first half of a frame to arrive, before its connection is reset."""


class Weather:
    """Which sender is heard by which node, and how late. Senders and nodes are known by what they advertise."""

    def __init__(self) -> None:
        self._shut: set[tuple[str, str]] = set()
        self._late_s: dict[tuple[str, str], float] = {}
        self._trickles: set[tuple[str, str]] = set()
        self._breaks: dict[tuple[str, str], Callable[[], int]] = {}
        self._changed = asyncio.Event()
        """Set when somebody is heard again; each time a new one."""
        self.broken = asyncio.Event()
        """Set when what was kept back is to be lost rather than to arrive."""

    def cut(self, sender: PeerId, receiver: PeerId) -> None:
        """Nothing gets from one to the other any more."""
        self._shut.add((sender.node, receiver.node))

    def isolate(self, peer: PeerId, others: Sequence[PeerId]) -> None:
        """Nothing gets in or out."""
        for other in others:
            if other != peer:
                self.cut(peer, other)
                self.cut(other, peer)

    def delay(self, sender: PeerId, receiver: PeerId, seconds: float) -> None:
        """What one sends to the other takes so long, and stays in its order."""
        self._late_s[sender.node, receiver.node] = seconds

    def trickle(self, sender: PeerId, receiver: PeerId) -> None:
        """What one sends to the other arrives byte by byte."""
        self._trickles.add((sender.node, receiver.node))

    def break_off(self, sender: PeerId, receiver: PeerId, draw: Callable[[], int]) -> None:
        """Each connection is reset, in whatever frame that is, after so many further bytes as are drawn for it."""
        self._breaks[sender.node, receiver.node] = draw

    def is_trickling(self, sender: str, receiver: str) -> bool:
        """What is sent now arrives byte by byte."""
        return (sender, receiver) in self._trickles

    def draw_break(self, sender: str, receiver: str) -> int | None:
        """After how many bytes a connection ends; None: it does not."""
        draw = self._breaks.get((sender, receiver))
        return None if draw is None else draw()

    def clear(self, *, lose: bool) -> None:
        """Everybody is heard again, at once. What was kept back arrives now, or is lost with its connection."""
        self._shut.clear()
        self._late_s.clear()
        self._trickles.clear()
        self._breaks.clear()
        if lose:
            self.broken.set()
            self.broken = asyncio.Event()
        self._changed.set()
        self._changed = asyncio.Event()

    def late_s(self, sender: str, receiver: str) -> float:
        """How long a piece takes that is sent now."""
        return self._late_s.get((sender, receiver), 0.0)

    async def wait_heard(self, sender: str, receiver: str) -> bool:
        """Returns once the sender is heard: True where it had to wait, and what it sent is to be lost."""
        broken = self.broken
        while (sender, receiver) in self._shut:
            await self._changed.wait()
        return broken.is_set()


class _Over(Exception):
    """The connection ends here."""


class _Reset(_Over):
    """And nobody is told politely."""


class Door:
    """The proxy of one node. Serves while its task group does."""

    def __init__(self, *, address: str, behind: str, weather: Weather, tasks: asyncio.TaskGroup) -> None:
        self._address, self._behind, self._weather, self._tasks = address, behind, weather, tasks
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """It listens."""
        self._server = await asyncio.start_server(self._knocked, *split_address(self._address))

    def close(self) -> None:
        """It listens no more. Connections end with the task group."""
        if self._server is not None:
            self._server.close()

    def _knocked(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving = self._serve(reader, writer)
        try:
            task = self._tasks.create_task(serving)
        except RuntimeError:  # the task group is over: somebody knocked in the last moment
            serving.close()
            writer.transport.abort()
        else:
            task.add_done_callback(lambda _: writer.transport.abort())  # also where it was cancelled before it began

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        try:
            sender, opening = await _who(reader)
            inner_reader, inner_writer = await asyncio.open_connection(*split_address(self._behind))
            writers.append(inner_writer)
            here = self._address
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(reader, inner_writer, sender, here, opening))
                pumps.create_task(self._pump(inner_reader, writer, here, sender))
        except* _Reset:
            for one in writers:
                _reset_when_closed(one)
        except* (OSError, EOFError, _Over):
            pass
        finally:
            for one in writers:
                one.transport.abort()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        sender: str,
        receiver: str,
        opening: bytes = b"",
    ) -> None:
        """Passes on what is read, each piece when it is due and its sender is heard. Raises `_Over` at the end."""
        clock, late_s = asyncio.get_running_loop().time, self._weather.late_s
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_QUEUED_CHUNKS)

        async def deliver() -> None:
            left: int | None = None
            while True:
                due, data = await queue.get()
                await asyncio.sleep(max(0.0, due - clock()))
                if await self._weather.wait_heard(sender, receiver) or not data:
                    raise _Over
                left = self._weather.draw_break(sender, receiver) if left is None else left
                if left is not None and left < len(data):
                    writer.write(data[:left])
                    await asyncio.sleep(_LANDING_S)
                    raise _Reset
                left = None if left is None else left - len(data)
                await self._write(writer, data, sender, receiver)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(deliver())
            data = opening or await reader.read(_CHUNK_BYTES)
            while data:
                await queue.put((clock() + late_s(sender, receiver), data))
                data = await reader.read(_CHUNK_BYTES)
            await queue.put((clock() + late_s(sender, receiver), b""))

    async def _write(self, writer: asyncio.StreamWriter, data: bytes, sender: str, receiver: str) -> None:
        """All of it, as fast as the weather lets it."""
        for at in range(len(data)):
            if not self._weather.is_trickling(sender, receiver):
                writer.write(data[at:])
                break
            writer.write(data[at : at + 1])
            await asyncio.sleep(_DROP_S)
        await writer.drain()


def _reset_when_closed(writer: asyncio.StreamWriter) -> None:
    """The other side gets a reset."""
    connection = writer.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def _who(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    """Who dials, and the bytes that said so. Raises EOFError, ProtocolError."""
    opening = await reader.readexactly(_PREAMBLE_BYTES)
    frames = FrameReader()
    found = frames.feed(b"")
    while not found:
        data = await reader.read(_CHUNK_BYTES)
        if not data:
            raise EOFError
        opening += data
        found = frames.feed(data)
    hello = msgspec.msgpack.decode(found[0][1], type=Hello)
    return hello.node if hello.role is Role.PEER else CLIENT, opening


class House:
    """Nodes behind doors, and the peer "t" of each."""

    def __init__(self, servers: dict[PeerId, ServerProcess], weather: Weather) -> None:
        self.servers, self.weather = servers, weather

    @property
    def peers(self) -> list[PeerId]:
        """One on each node."""
        return list(self.servers)


@asynccontextmanager
async def house(folder: Path, size: int, *, settings: Mapping[str, str] = UNCOMPACTED) -> AsyncIterator[House]:
    """So many nodes that serve. All of them are gone at the end of the block."""
    weather = Weather()
    async with AsyncExitStack() as stack:
        tasks = await stack.enter_async_context(cancelled_at_end())
        servers: dict[PeerId, ServerProcess] = {}
        for number in range(size):
            inner, outer = PortLease(), PortLease()
            stack.callback(inner.release)
            stack.callback(outer.release)
            options = ["--advertise", outer.address]
            environment = {**ELECTION, **settings}
            server = ServerProcess(folder / f"n{number}", inner.address, options=options, environment=environment)
            stack.callback(server.kill)
            server.spawn()
            door = Door(address=outer.address, behind=inner.address, weather=weather, tasks=tasks)
            await door.open()
            stack.callback(door.close)
            servers[PeerId("t", outer.address)] = server
        for server in servers.values():
            await asyncio.to_thread(server.wait_ready)
        yield House(servers, weather)


@asynccontextmanager
async def cancelled_at_end() -> AsyncIterator[asyncio.TaskGroup]:
    """A task group whose tasks are cancelled at the end of the block."""
    try:
        async with asyncio.TaskGroup() as tasks:
            yield tasks
            raise _Over
    except* _Over:
        pass
