"""Secrets: who does not know them is refused, the environment names the default client's, and none is told."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

import zraft
from zraft import blocking
from zraft.testing import BlockingCluster

SECRET, OTHER = "among clients", "among nodes"
FORGETFUL = """
import asyncio, sys, zraft
async def main():
    asyncio.get_running_loop().slow_callback_duration = 60  # a busy machine is no fault of the program
    session = await zraft.light_session(sys.argv[1].split(","))
    print(await session.write(("k", "v")))
    zraft.Client()
    await zraft.query(session, "k")
asyncio.run(main())
"""


def test_only_who_knows_the_client_secret_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client is given it; the module's functions take it from `ZRAFT_CLIENT_SECRET`; nodes know each other's."""
    monkeypatch.delenv("ZRAFT_CLIENT_SECRET", raising=False)
    with BlockingCluster(2, client_secret=SECRET, cluster_secret=OTHER) as cluster:
        peer = cluster.peers[0]

        async def refused(secret: str | None) -> str:
            async with zraft.Client(secret=secret) as client:
                with pytest.raises(zraft.PeerUnavailable) as unavailable:
                    await client.write(peer, ("k", 1))
                assert unavailable.value.executed == "no"
                return str(unavailable.value)

        for wrong in (None, "a guess", OTHER):
            text = asyncio.run(refused(wrong))
            assert "secret" in text
            assert SECRET not in text
        with blocking.Client(secret=SECRET) as client:
            assert client.write(peer, ("k", 1)).result == "ok"
        monkeypatch.setenv("ZRAFT_CLIENT_SECRET", SECRET)
        assert asyncio.run(by_default(peer)) == 1


async def by_default(peer: zraft.PeerId) -> object:
    return (await zraft.query(peer, "k")).result


def test_what_a_program_forgets_to_close_costs_no_word(tmp_path: Path) -> None:
    """Its loop ends, and with it the connections: no warning, with all of them errors."""
    with BlockingCluster(1) as cluster:
        words = [sys.executable, "-X", "dev", "-W", "error", "-c", FORGETFUL, ",".join(map(str, cluster.peers))]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")
