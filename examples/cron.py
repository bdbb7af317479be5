"""A cron that runs on one of several hosts, and on another one when that is lost.

    zraft dev --backend table                                in a terminal; then, where ZRAFT_PEERS is what it prints,
    python examples/cron.py host1 --every 5 -- date          in a second one, and host2, host3 in others

Time is cut into slots. Who leads writes down a slot before it runs it, in a transaction that checks that it still leads
and that nobody has run this slot or a later one. So a slot runs once at most, whatever becomes of hosts and leaders;
those in which nobody led, for a session timeout after a host was lost, are left out.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections.abc import Awaitable, Callable

import zraft
from zraft import table
from zraft.recipes import Election

LAST = ("cron", "last slot")

Job = Callable[[int], Awaitable[None]]
"""Runs one slot, of this number."""


async def run_cron(
    client: zraft.Client, peers: list[str], host: str, every_s: float, job: Job, timeout_s: float
) -> None:
    """Takes part until it is cancelled. A session that was lost is followed by another one."""
    while True:
        try:
            async with client.start_session(peers, timeout_s) as session:
                await session.write(table.CompareAndSet(LAST, zraft.NOT_FOUND, 0), timeout=None)
                while True:
                    await _lead_once(session, host, every_s, job)
        except (zraft.SessionExpired, zraft.ConnectionTimeout) as error:
            print(f"{host}: {error}; it goes on with a new session", flush=True)


async def _lead_once(session: zraft.Session, host: str, every_s: float, job: Job) -> None:
    """Returns when this host does not lead any more, or cannot know that it does."""
    election = Election(session, "cron")
    await election.campaign(host)
    working = asyncio.create_task(_run_slots(session, election, every_s, job))
    lost = asyncio.create_task(election.wait_lost(in_doubt=True))
    try:
        await asyncio.wait([working, lost], return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()  # it ends by an error only
    finally:
        working.cancel()
        lost.cancel()
        await asyncio.wait([working, lost])
    await session.wait_state("connected")
    await election.resign()


async def _run_slots(session: zraft.Session, election: Election, every_s: float, job: Job) -> None:
    while True:
        slot = int(time.time() / every_s)
        is_new = table.Compare(LAST, "value", "<", slot)
        mine = await session.write(table.Txn([election.held, is_new], [table.Put(LAST, slot)]), timeout=None)
        if mine["succeeded"]:
            await job(slot)
        await asyncio.sleep((slot + 1) * every_s - time.time())


async def main() -> None:
    """One host."""
    parser = argparse.ArgumentParser(description="A cron that runs on one of several hosts.")
    parser.add_argument("host", help="the name of this one")
    parser.add_argument("--every", type=float, default=5.0, metavar="SECONDS")
    parser.add_argument("--session-timeout", type=float, default=5.0, metavar="SECONDS")
    parser.add_argument("command", nargs="+", help="what to run in each slot")
    given = parser.parse_args()

    async def job(slot: int) -> None:
        print(f"{given.host} runs slot {slot}", flush=True)
        process = await asyncio.create_subprocess_exec(*given.command)
        try:
            await process.wait()
        finally:
            if process.returncode is None:
                process.kill()

    async with zraft.Client() as client:
        peers = os.environ["ZRAFT_PEERS"].split(",")
        await run_cron(client, peers, given.host, given.every, job, given.session_timeout)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
