"""The programs in `examples/` do what they are there to show, also when something is lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

import zraft
from examples import cron, flags, registry
from tests.stack.clusters import WAIT_S, wait_until
from zraft.app.processes import PortLease
from zraft.testing import FAST, BlockingCluster

LONG = 20.0
SHORT = 1.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[BlockingCluster]:
    """Three nodes with a table, for the examples that talk to a group."""
    with BlockingCluster(3, backend="table") as cluster:
        yield cluster


async def ended(*tasks: asyncio.Task[Any]) -> None:
    """They are cancelled, or had ended."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in tasks:
        assert task.cancelled() or isinstance(task.exception(), zraft.SessionClosed | None)


def test_a_cron_runs_each_slot_once_on_one_host_and_then_on_another(cluster: BlockingCluster) -> None:
    """The host that runs it is lost without a word."""
    runs: list[tuple[int, str]] = []

    async def story() -> None:
        hosts: dict[str, tuple[zraft.Client, asyncio.Task[None]]] = {}
        peers = [str(peer) for peer in cluster.peers]
        async with AsyncExitStack() as stack:
            for host in ("a", "b", "c"):
                client = await stack.enter_async_context(zraft.Client())

                async def job(slot: int, host: str = host) -> None:
                    runs.append((slot, host))

                task = asyncio.create_task(cron.run_cron(client, peers, host, 0.05, job, SHORT))
                hosts[host] = client, task
            await wait_until("it runs", lambda: len(runs) > 3)
            client, lost = hosts[runs[-1][1]]
            stack.push_async_callback(ended, *(task for _, task in hosts.values()))
            await client.aclose()
            count, host = len(runs), runs[-1][1]
            await wait_until("another one runs it", lambda: any(by != host for _, by in runs[count:]))
            assert lost.done() or lost.cancel()

    asyncio.run(story())
    slots = [slot for slot, _ in runs]
    assert slots == sorted(set(slots))


def test_a_registry_names_those_that_live(cluster: BlockingCluster) -> None:
    """One ends, one is lost, and one that was cut off for longer than its session lives registers again."""

    async def entered(session: zraft.Session) -> list[int]:
        found = await session.query(zraft.table.Prefix(("zraft.party", "billing")), timeout=WAIT_S)
        return [entry["created_index"] for entry in found]

    async def story() -> tuple[list[int], list[int]]:
        peers = [str(peer) for peer in cluster.peers]
        seen: list[list[str]] = []
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(zraft.Client())
            session = await stack.enter_async_context(client.start_session(cluster.peers, LONG))

            async def follow() -> None:
                async for addresses in registry.watch(session, "billing"):
                    seen.append(addresses)

            following = asyncio.create_task(follow())
            stack.push_async_callback(ended, following)
            clients, instances = [], []
            for number in range(3):
                clients.append(await stack.enter_async_context(zraft.Client()))
                serving = registry.serve(clients[-1], peers, "billing", f"10.0.0.{number}", SHORT)
                instances.append(asyncio.create_task(serving))
            stack.push_async_callback(ended, *instances)
            await wait_until("all are there", lambda: bool(seen) and len(seen[-1]) == 3)
            await ended(instances[0])
            await wait_until("one has ended", lambda: sorted(seen[-1]) == ["10.0.0.1", "10.0.0.2"])
            await clients[1].aclose()
            await wait_until("one is lost", lambda: seen[-1] == ["10.0.0.2"])
            before = await entered(session)
            for number in range(3):
                await asyncio.to_thread(cluster.stop, number)
            await asyncio.sleep(SHORT)  # longer than its session lives
            for number in range(3):
                await asyncio.to_thread(cluster.start, number)
            async with asyncio.timeout(WAIT_S):
                while True:
                    now = await entered(session)
                    if len(now) == 1 and now != before:
                        return before, now
                    await asyncio.sleep(0.02)

    before, after = asyncio.run(story())
    assert before < after


async def request(port: int, method: str, path: str, body: bytes = b"") -> tuple[int, dict[str, Any]]:
    """The status and the answer of a web server."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{method} {path} HTTP/1.0\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    head, _, answer = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return int(head.split()[1]), json.loads(answer)


async def wait_flag(port: int, name: str, expected: dict[str, Any]) -> None:
    """The worker says so."""
    async with asyncio.timeout(WAIT_S):
        while True:
            if await request(port, "GET", f"/flags/{name}") == (200, expected):
                return
            await asyncio.sleep(0.01)


async def set_flag(port: int, name: str, value: bytes) -> None:
    """The worker has set it; it says 503 while too few workers are there."""
    async with asyncio.timeout(WAIT_S):
        while True:
            status, answer = await request(port, "PUT", f"/flags/{name}", value)
            if status == 200:
                assert answer == {"on": value == b"true", "current": True}
                return
            assert status == 503


def test_flags_are_seen_by_every_worker_and_outlive_one(tmp_path: Path) -> None:
    """The others read and set on; a worker alone reads on, and says that it may be out of date."""

    async def story(addresses: list[str], ports: list[int]) -> None:
        workers = [
            asyncio.create_task(
                flags.Worker(addresses, number, ports[number], tmp_path / str(number), **FAST).run(SHORT * 2)
            )
            for number in range(3)
        ]
        try:
            for port in ports:
                await wait_until_listens(port)
                await wait_flag(port, "dark", {"on": False, "current": True})
            await set_flag(ports[0], "dark", b"true")
            for port in ports:
                await wait_flag(port, "dark", {"on": True, "current": True})
            assert (await request(ports[1], "PUT", "/flags/dark", b"maybe"))[0] == 400
            assert (await request(ports[1], "GET", "/other"))[0] == 404
            await ended(workers[0])
            await set_flag(ports[1], "dark", b"false")
            await wait_flag(ports[2], "dark", {"on": False, "current": True})
            await ended(workers[1])
            await wait_flag(ports[2], "dark", {"on": False, "current": False})
        finally:
            await ended(*workers)

    leases = [PortLease() for _ in range(6)]
    try:
        asyncio.run(story([lease.address for lease in leases[:3]], [lease.port for lease in leases[3:]]))
    finally:
        for lease in leases:
            lease.release()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2"]


async def wait_until_listens(port: int) -> None:
    """Somebody answers there."""
    async with asyncio.timeout(WAIT_S):
        while True:
            try:
                await request(port, "GET", "/flags/x")
            except ConnectionError:
                await asyncio.sleep(0.01)
            else:
                return
