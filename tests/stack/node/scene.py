"""Nodes in this process for tests: settings, a bare connection, and patience."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import zraft
from zraft.errors import (
    AllPeersFailed,
)
from zraft.node.node import Node
from zraft.transport.counters import Counters
from zraft.transport.dialer import Target, connect
from zraft.transport.link import Link, LinkHandlers
from zraft.types import GroupId, PeerId
from zraft.wire.handshake import Role
from zraft.wire.requests import Reply, Request, decode_replies, encode_item

T = TypeVar("T")
LOOPS = ("asyncio", "uvloop")
GROUP = GroupId(b"group of a test!")
WAIT_S = 60.0


def config(folder: Path, listen: str = "127.0.0.1:0", **changes: Any) -> zraft.Config:
    settings: dict[str, Any] = {"snapshot_dir": folder, "election_timeout": 0.2, "max_segment_size": 1 << 16}
    return zraft.Config(listen=listen, log_dir=folder, **{**settings, **changes})


async def within(work: Awaitable[T]) -> T:
    async with asyncio.timeout(WAIT_S):
        return await work


class Asker:
    """One connection to a node, which asks and waits for the answer."""

    def __init__(self) -> None:
        self.link: Link | None = None
        self.waiting: dict[int, asyncio.Future[Reply]] = {}
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.last = 0

    async def open(self, address: str) -> Asker:
        handlers = LinkHandlers(
            opened=lambda link: None, received=self._received, closed=self._closed, failed=self._failed
        )
        target = Target(to=address, role=Role.CLIENT, cluster="default", node="a test")
        self.link = await within(connect(target, handlers, counters=Counters()))
        return self

    def _received(self, link: Link, kind: int, payload: bytes) -> None:
        for reply in decode_replies(payload):
            self.waiting.pop(reply.id).set_result(reply)

    def _closed(self, link: Link, why: str) -> None:
        self.ended.set_result(why)

    def _failed(self, error: Exception) -> None:
        self.ended.set_exception(error)

    def ask(self, make: Callable[[int], Request]) -> asyncio.Future[Reply]:
        assert self.link is not None
        self.last += 1
        answer = self.waiting[self.last] = asyncio.get_running_loop().create_future()
        assert self.link.send(encode_item(make(self.last)))
        return answer


def flip(folder: Path, text: bytes) -> None:
    """One bit of the text rots, in the journal segment where it stands."""
    (segment,) = [path for path in folder.glob("journal-*") if text in path.read_bytes()]
    data = bytearray(segment.read_bytes())
    data[data.index(text)] ^= 1
    segment.write_bytes(data)


async def group_of_one(node: Node, client: zraft.Client, backend: str = "dict") -> PeerId:
    (peer,) = await client.create([PeerId("p", node.address)], backend, timeout=WAIT_S)
    return peer


async def written(session: zraft.LightSession, key: Any, value: Any) -> None:
    """Written once; while every peer counts as failed, as where a disk is slow to vote, it is tried again."""
    async with asyncio.timeout(WAIT_S):
        while True:
            try:
                await session.write((key, value), timeout=WAIT_S)
            except AllPeersFailed:
                await asyncio.sleep(0)
            else:
                return
