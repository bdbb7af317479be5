"""The other nodes: a dialer for each that something is sent to, given up when nobody needs it any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Final

from zraft.transport.dialer import Dialer
from zraft.types import Millis

UNUSED_MS: Final[Millis] = 30_000
"""A dialer to a node that no configuration names is given up when nothing was sent to it for so long."""


class Neighbours:
    """The dialers of one node, by the node that they dial."""

    def __init__(self, make: Callable[[str], Dialer]) -> None:
        self._make = make
        self._dialers: dict[str, Dialer] = {}
        self._used_ms: dict[str, Millis] = {}
        self._closing: dict[asyncio.Task[None], str] = {}

    def __contains__(self, node: str) -> bool:
        return node in self._dialers

    def dial(self, node: str, now: Millis) -> Dialer:
        """The dialer to `node`, at work."""
        self._used_ms[node] = now
        dialer = self._dialers.get(node)
        if dialer is None:
            dialer = self._dialers[node] = self._make(node)
            dialer.start()
        return dialer

    def is_connected(self, node: str) -> bool:
        """What is sent to `node` now has a way to get there."""
        dialer = self._dialers.get(node)
        return dialer is not None and dialer.link is not None

    def nudge(self, node: str) -> None:
        """The node was heard from: if it is to be dialed at all, then now."""
        dialer = self._dialers.get(node)
        if dialer is not None:
            dialer.nudge()

    def keep(self, wanted: Collection[str], now: Millis) -> None:
        """Give up the dialers to all other nodes, unless they were used a moment ago."""
        for node in [node for node in self._dialers if node not in wanted and now - self._used_ms[node] > UNUSED_MS]:
            dialer = self._dialers.pop(node)
            del self._used_ms[node]
            task = asyncio.get_running_loop().create_task(dialer.aclose(), name=f"give up {node}")
            self._closing[task] = node
            task.add_done_callback(self._closing.pop)

    async def aclose(self) -> None:
        """Nothing is dialed any more and every link is closed, after what waited on it was written."""
        async with asyncio.TaskGroup() as group:
            for dialer in self._dialers.values():
                group.create_task(dialer.aclose())
        self._dialers.clear()
        if self._closing:
            await asyncio.wait(list(self._closing))
