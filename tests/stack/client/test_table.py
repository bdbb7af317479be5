"""The backend "table" over the wire: typed commands through every client, and entries that go by themselves."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import pytest

import zraft
from zraft import table
from zraft.testing import BlockingCluster, LocalCluster


def test_typed_and_plain_commands_are_the_same_to_a_table() -> None:
    """Through a client and a light session, one by one and many at once; each refusal keeps its code."""

    async def story() -> None:
        async with LocalCluster(3, backend="table") as cluster:
            result, leader = await zraft.write(cluster.peers[0], table.Put("k", 1))
            assert result == "ok"
            assert (await cluster.client.write(leader, ["increment", "k", 4])).result == 5
            async with cluster.client.light_session(cluster.peers) as session:
                assert await session.write_many([table.Increment("k"), table.Put(("a", 1), b"x")]) == [6, "ok"]
                txn = table.Txn([("k", "value", "==", 6)], [table.Delete("k")])  # type: ignore[list-item]  # a tuple does
                assert await session.write(txn) == {"succeeded": True, "results": ["ok"]}
                assert await session.query(table.Get("k")) is zraft.NOT_FOUND
                (found,) = await session.query(table.Prefix(("a",)))
                assert table.Entry.of(found).key == ("a", 1)
                with pytest.raises(zraft.Rejected) as refused:
                    await session.write(table.Increment(("a", 1)))
                assert (refused.value.code, refused.value.executed) == ("not_a_number", "no")
                for unknown in (["push", "k"], ["put", "k", 1, None, "more"], "k", table.Get("k")):
                    with pytest.raises(zraft.Rejected, match="bad_command"):
                        await session.write(unknown)
                with pytest.raises(zraft.Rejected, match="bad_query"):
                    await session.query(table.Delete("k"))
            await zraft.query_local(leader, table.Count(None, None))

    asyncio.run(story())


def test_an_entry_goes_when_its_time_has_come() -> None:
    """Nobody writes or asks for it meanwhile, on a table that is spoken to without async."""
    with BlockingCluster(3, backend="table") as cluster:
        client, peers = cluster.client, cluster.peers
        client.write(peers[0], table.Put("short", 1, ttl=timedelta(seconds=0.3)))
        client.write(peers[0], table.Put("long", 1, ttl=600))
        deadline = time.monotonic() + 60
        while client.query(peers[0], table.Count(None, None)).result == 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert client.query(peers[0], table.Get("short")).result is zraft.NOT_FOUND
        assert client.query(peers[0], table.Get("long")).result["expires_at"] > 600_000
