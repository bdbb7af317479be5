"""`zraft doctor`: what is left of a cluster is said, and becomes a new group that the old one can never join."""

from __future__ import annotations

import asyncio
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import zraft
from tests.stack.clusters import wait_until
from tests.stack.node.scene import WAIT_S, config, within
from zraft.app import cli
from zraft.app.processes import PortLease
from zraft.node.catalogue import kept_below
from zraft.node.node import Node
from zraft.testing import LocalCluster

Capture = pytest.CaptureFixture[str]
KEYS = 90


@dataclass
class Left:
    """Folders of a cluster that was stopped: "big" has snapshots, "small" has none; and a session's token."""

    folder: Path
    peers: list[zraft.PeerId]
    token: bytes
    session: int

    def copy(self, to: Path, *numbers: int) -> list[Path]:
        """Copies of the folders of these nodes, for a test that changes something."""
        return [Path(shutil.copytree(self.folder / f"n{number}", to / f"n{number}")) for number in numbers]


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Left:
    """Three nodes lived, and stopped."""
    folder = tmp_path_factory.mktemp("left")
    made: list[Left] = []

    async def life() -> None:
        async with LocalCluster(3, folder=folder, group="big", max_log_count=60, trailing_log_count=10) as cluster:
            small = await cluster.create("small", "table")
            await cluster.client.write(small[0], zraft.table.Put("k", "small"), timeout=WAIT_S)
            async with cluster.client.light_session(cluster.peers) as session:
                for first in range(0, KEYS, 10):
                    await session.write_many(
                        [(f"k{number}", number) for number in range(first, first + 10)], timeout=WAIT_S
                    )
            holder = await cluster.client.start_session(cluster.peers, 60)
            await holder.write(("held", 1), temporary=True, timeout=WAIT_S)
            nodes = [node for node in cluster.nodes if node is not None]
            await wait_until("snapshots", lambda: all(node.status("big").snapshot_index > 50 for node in nodes))
            index = max(node.status("big").commit_index for node in nodes)
            await wait_until("all have all", lambda: all(node.status("big").last_applied >= index for node in nodes))
            made.append(Left(folder, cluster.peers, holder.token, holder.id or 0))

    asyncio.run(life())
    return made[0]


def answer(capsys: Capture, *words: object) -> Any:
    assert cli.main(["doctor", *map(str, words), "--json"]) == 0
    return {group["copies"][0]["peer"]: group for group in json.loads(capsys.readouterr().out)}


def failure(capsys: Capture, *words: object) -> str:
    assert cli.main(["doctor", *map(str, words)]) == 1
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    return err


def folders(left: Left, *numbers: int) -> list[Path]:
    return [left.folder / f"n{number}" for number in numbers]


def test_all_folders_have_everything_that_was_acknowledged(left: Left, capsys: Capture) -> None:
    """Of each group: who its voters are, how far each folder goes, and the best; for people and for programs."""
    found = answer(capsys, *folders(left, 0, 1, 2))
    assert set(found) == {"big", "small"}
    big = found["big"]
    assert (big["is_complete"], big["missing"], len(big["voters"])) == (True, [], 3)
    assert 50 < big["committed_at_least"] <= big["index"]
    assert all(copy["fault"] is None and copy["snapshots"] for copy in big["copies"])
    assert cli.main(["doctor", *map(str, folders(left, 0, 1, 2))]) == 0
    out = capsys.readouterr().out
    assert out.count("nothing that was acknowledged is lost") == 2
    assert "sound" in out


def test_two_of_three_folders_lost_become_a_new_group(
    left: Left, tmp_path: Path, capsys: Capture, lease: PortLease
) -> None:
    """With the state, the log behind the snapshot and the sessions; an old member does not take it for its own."""
    into = tmp_path / "new"
    found = answer(capsys, *folders(left, 2), "--apply", "--into", into, "--listen", lease.address)
    assert not found["big"]["is_complete"]
    assert [str(peer) for peer in left.peers[:2]] == found["big"]["missing"]
    assert found["big"]["made"]["peer"] == f"big@{lease.address}"
    assert found["big"]["made"]["group"] != found["big"]["group"]

    async def life() -> None:
        async with Node(config(into, lease.address)) as node, zraft.Client() as client:
            peers = [zraft.PeerId(name, lease.address) for name in ("big", "small")]
            for peer in peers:
                await within(node.wait_role(peer.name, "leader", timeout=None))
            for number in (0, 60, KEYS - 1):
                assert (await client.query(peers[0], f"k{number}", timeout=WAIT_S))[0] == number
            assert (await client.query(peers[1], zraft.table.Get("k"), timeout=WAIT_S))[0]["value"] == "small"
            assert (await client.query(peers[0], "held", timeout=WAIT_S))[0] == 1
            again = await client.start_session(peers[0], 60, resume=left.token)
            assert again.id == left.session
            await again.stop()
            assert (await client.query(peers[0], "held", timeout=WAIT_S))[0] is zraft.NOT_FOUND
            assert node.status("big").last_index > found["big"]["index"]
            assert (await client.get_conf(peers[0], timeout=WAIT_S)).peers == (peers[0],)
        # a second life, from its own files
        async with Node(config(into, lease.address)) as node, zraft.Client() as client:
            await within(node.wait_role("big", "leader", timeout=None))
            assert (await client.query(peers[0], "k1", timeout=WAIT_S))[0] == 1

    asyncio.run(life())


def test_a_damaged_folder_is_not_preferred_and_is_said_to_be_damaged(
    left: Left, tmp_path: Path, capsys: Capture
) -> None:
    """Its snapshot rots: of that group nothing can be made of it alone; of the others everything."""
    first, second = left.copy(tmp_path, 0, 1)
    for kept in kept_below(first):
        data = bytearray((kept.path / "dict").read_bytes())
        data[len(data) // 2] ^= 4
        (kept.path / "dict").write_bytes(data)
    found = answer(capsys, first, second)
    assert found["big"]["best"] == str(second)
    assert not found["big"]["is_complete"]
    assert found["small"]["is_complete"]
    assert cli.main(["doctor", str(first)]) == 0
    out = capsys.readouterr().out
    assert "nothing of it can be brought back" in out
    assert "the most complete one is" in out
    assert cli.main(["doctor", str(first), "--group", found["big"]["group"][:8]]) == 1


def test_what_is_in_use_or_in_the_way_is_refused(left: Left, tmp_path: Path, capsys: Capture) -> None:
    """A folder that a node uses, a target that is there, and what is no folder of a node; nothing is made then."""
    (here,) = left.copy(tmp_path, 0)

    async def life() -> None:
        async with Node(config(here)):
            assert "a node uses" in failure(capsys, here)

    asyncio.run(life())
    assert "into DIR" in failure(capsys, here, "--apply")
    assert "not empty" in failure(capsys, here, "--apply", "--into", tmp_path)
    assert "one of the old folders" in failure(capsys, here, "--apply", "--into", here)
    assert "--listen x" in failure(capsys, here, "--apply", "--into", tmp_path / "new", "--listen", "x")
    assert "no group" in failure(capsys, here, "--group", "zz")
    (tmp_path / "empty").mkdir()
    assert "no data of a node" in failure(capsys, tmp_path / "empty")
    assert not (tmp_path / "new").exists()
    for name in ("state-a", "state-b"):
        (here / name).write_bytes(b"x" * 100)
    assert "leave this folder out" in failure(capsys, here)
