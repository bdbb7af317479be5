"""What tests of changing groups have in common: a change that is asked for until it is done, and what is left of it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from tests.stack.clusters import WAIT_S, wait_until
from zraft.app.writers import Ledger, write_keys
from zraft.client.client import Client
from zraft.errors import PeerUnavailable, RequestError
from zraft.types import PeerId

ROUNDS: Final = int(os.environ.get("ZRAFT_CHANGES", "1"))
"""How often the longer stories are told; a campaign sets it to more."""

WRITERS: Final = 4


async def change_to(client: Client, ask: Sequence[PeerId], wanted: Sequence[PeerId]) -> None:
    """The group consists of `wanted`: asked for again, as an operator would, whatever passes meanwhile."""
    deadline, problem = time.monotonic() + 2 * WAIT_S, ""
    while time.monotonic() < deadline:
        for peer in ask:
            try:
                present = await client.get_conf(peer, timeout=2)
                await client.set_new_conf(peer, wanted, present.peers, timeout=5)
            except RequestError as error:
                problem = f"{type(error).__name__}: {error}"
            else:
                return
        await asyncio.sleep(0.05)
    raise AssertionError(f"the group is not {', '.join(map(str, wanted))}: {problem}")


async def leader_of(client: Client, peers: Sequence[PeerId]) -> PeerId:
    """Who leads, whoever of the peers can be asked."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        for peer in peers:
            try:
                return (await client.get_conf(peer, timeout=2)).leader
            except RequestError:
                continue
        await asyncio.sleep(0.05)
    raise AssertionError("nobody leads")


async def wait_gone(client: Client, peer: PeerId) -> None:
    """The peer does not run on its node any more, which serves."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        try:
            await client.stat(peer, timeout=2)
        except PeerUnavailable as error:
            if "was removed from its group" in str(error):
                return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{peer} still runs")


@asynccontextmanager
async def written(client: Client, peers: Sequence[PeerId], ledger: Ledger) -> AsyncIterator[None]:
    """Writers are at work within the block; they ask all of `peers`, also those that are no members now."""
    async with asyncio.TaskGroup() as tasks:
        for number in range(WRITERS):
            tasks.create_task(write_keys(client, peers, ledger, str(number)))
        try:
            yield
        finally:
            ledger.is_over = True


async def wait_writes(ledger: Ledger, count: int) -> None:
    """Returns after so many further acknowledged writes."""
    goal = len(ledger.acknowledged) + count
    await wait_until(f"{count} writes", lambda: len(ledger.acknowledged) >= goal)
