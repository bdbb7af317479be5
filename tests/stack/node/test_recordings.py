"""What a node keeps of a replica that failed: a private file in its data folder, which `zraft replay` reads."""

from __future__ import annotations

import asyncio
import logging
import stat
from pathlib import Path
from typing import Any

import pytest

import zraft
from tests.stack.clusters import cli
from tests.stack.node.scene import WAIT_S, config, group_of_one, within
from zraft.errors import RequestError
from zraft.limits import RECORDINGS
from zraft.machine.backend import Backend, Context
from zraft.node.node import Node
from zraft.node.recordings import keep_recordings
from zraft.peer.duties import Recorded


class Fragile(Backend):
    """Ends its replica at any command but a greeting."""

    name = "fragile"

    def apply(self, command: Any, ctx: Context) -> Any:
        if command != "hello":
            raise MemoryError("no memory left")
        return "hello"

    def query(self, query: Any) -> Any:
        return None


@pytest.mark.counts_processes
def test_a_node_keeps_the_last_steps_of_a_replica_that_failed(tmp_path: Path) -> None:
    """The file is there when the replica is known to have failed, and the command shows how it came to that."""

    async def story() -> None:
        async with Node(config(tmp_path), backends={"fragile": Fragile}) as node, zraft.Client() as client:
            peer = await group_of_one(node, client, "fragile")
            await client.write(peer, "hello", timeout=WAIT_S)
            with pytest.raises(RequestError):
                await client.write(peer, "a secret word", timeout=WAIT_S)
            await within(node.wait_role("p", "failed", timeout=WAIT_S))
            assert node.status("p").fault is not None

    asyncio.run(story())
    (path,) = tmp_path.glob("*.recording")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert b"secret word" not in path.read_bytes()
    shown = cli("replay", str(path))
    assert (shown.returncode, shown.stderr) == (0, ""), shown
    lines = shown.stdout.splitlines()
    assert lines[0].startswith("# peer p@")
    assert "< bootstrap p@" in shown.stdout
    assert lines[-1].startswith("  stops: ")
    assert "no memory left" in lines[-1]

    async def again() -> None:
        async with Node(config(tmp_path), backends={"fragile": Fragile}) as node:
            assert node.peers()

    asyncio.run(again())


def test_a_folder_holds_so_many_recordings_and_loses_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The first ones matter most; a replica that fails at every start writes no more. Nothing is overwritten."""
    with caplog.at_level(logging.WARNING, "zraft"):
        keep_recordings(tmp_path, [Recorded("p", number, b"%d" % number) for number in range(RECORDINGS + 2)])
    kept = sorted(tmp_path.glob("*.recording"))
    assert [path.read_bytes() for path in kept] == [b"%d" % number for number in range(RECORDINGS)]
    assert sum(f"holds {RECORDINGS} already" in line for line in caplog.messages) == 2


def test_a_folder_that_cannot_be_written_costs_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The reason of the fault is in the status anyway."""
    with caplog.at_level(logging.WARNING, "zraft"):
        keep_recordings(tmp_path / "none", [Recorded("p", 1, b"x")])
    assert "its last steps are not kept" in caplog.text
