"""`zraft snapshot`: what is kept is listed and checked, and becomes a new group, never a member of the old one."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zraft
from tests.stack.node.scene import WAIT_S, config, within
from tests.stack.node.vaults import Vaulted, meta
from zraft.app import cli
from zraft.app.processes import PortLease
from zraft.node.disk import RealDisk
from zraft.node.node import Node

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Vaulted]:
    """Snapshots at 3 and 5, both archived, of "a", and one of "b"."""
    made = Vaulted(tmp_path / "data")
    for index in (3, 5):
        made.write(index, archive=True)
    made.write(4, meta("b", 8))
    made.drop(5)
    yield made
    made.vault.close()


def answer(capsys: Capture, *words: object) -> Any:
    """What a command that is done prints as JSON."""
    assert cli.main(["snapshot", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def failure(capsys: Capture, *words: object) -> str:
    """The line of a command that fails; nothing else is printed."""
    assert cli.main(["snapshot", *map(str, words)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    return err


def test_what_is_published_and_archived_is_listed(kept: Vaulted, capsys: Capture) -> None:
    """While the node runs; for people and for programs."""
    rows = answer(capsys, "list", kept.folder)
    assert [(row["kind"], row["peer"], row["index"]) for row in rows] == [
        ("published", "a", 5),
        ("published", "b", 4),
        ("archived", "a", 3),
        ("archived", "a", 5),
    ]
    row = rows[0]
    assert row["group"] == meta().group.hex()
    assert (row["term"], row["backend"], row["fault"]) == (1, "dict", None)
    assert row["bytes"] > 10
    assert row["written"].endswith("Z")
    assert row["path"] == str(kept.snapshot(5))
    assert cli.main(["snapshot", "list", str(kept.folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["KIND", "PEER", "GROUP", "INDEX", "TERM", "WRITTEN", "BYTES", "BACKEND", "PATH"]
    assert len(lines) == 5


def test_what_cannot_be_read_is_listed_with_the_reason(kept: Vaulted, capsys: Capture) -> None:
    """A damaged manifest, and a snapshot in the place of another."""
    (kept.snapshot(5) / "MANIFEST").write_bytes(b"")
    kept.snapshot(3, archived=True).rename(kept.snapshot(9, archived=True))
    faults = {row["path"]: row["fault"] for row in answer(capsys, "list", kept.folder)}
    assert "MANIFEST" in faults[str(kept.snapshot(5))]
    assert "holds snapshot 3-1" in faults[str(kept.snapshot(9, archived=True))]
    assert cli.main(["snapshot", "list", str(kept.folder)]) == 0
    assert "?" in capsys.readouterr().out


def test_sound_snapshots_are_said_to_be_sound(kept: Vaulted, capsys: Capture) -> None:
    """All of a node's, or one."""
    assert cli.main(["snapshot", "verify", str(kept.folder)]) == 0
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()] == ["sound"] * 4
    assert err == ""
    one = answer(capsys, "verify", kept.snapshot(5))
    assert one == {"path": str(kept.snapshot(5)), "is_sound": True, "problems": []}


@pytest.mark.parametrize("name", ["dict", "zraft-machine", "MANIFEST"])
def test_verify_names_every_file_that_is_damaged(kept: Vaulted, capsys: Capture, name: str) -> None:
    """A flipped bit, a missing file, a file that nobody knows; exit status 1."""
    path = kept.snapshot(5) / name
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.unlink()  # the archive has the same file
    path.write_bytes(data)
    (kept.folder / "snapshots" / "b-0000000000000008" / "4-1" / "dict").unlink()
    (kept.snapshot(3, archived=True) / "stranger").touch()
    assert cli.main(["snapshot", "verify", str(kept.folder)]) == 1
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines() if line[0] != " "] == ["DAMAGED"] * 3 + ["sound"]
    assert f"5-1/{name}" in out
    assert "4-1/dict is missing" in out
    assert "stranger is no file of the snapshot" in out
    assert err.startswith("zraft: 3 of 4 snapshots are damaged")


@pytest.mark.parametrize("command", ["list", "verify"])
def test_a_folder_without_snapshots_is_an_error_that_helps(tmp_path: Path, capsys: Capture, command: str) -> None:
    """There is nothing, or no folder at all."""
    assert "name the snapshot_dir of a node" in failure(capsys, command, tmp_path)
    assert "name the snapshot_dir of a node" in failure(capsys, command, tmp_path / "gone")


def restore(source: Path, data_dir: Path, peer: str) -> tuple[object, ...]:
    return ("restore", source, "--data-dir", data_dir, "--peer", peer)


def test_a_restored_group_has_the_state_and_grows(kept: Vaulted, tmp_path: Path, capsys: Capture) -> None:
    """From an archive: a new group of one, which leads, writes, and takes in others by a snapshot."""

    async def work() -> None:
        leases = [PortLease() for _ in range(3)]
        folders = [tmp_path / f"r{number}" for number in range(3)]
        peer = f"r@{leases[0].address}"
        made = answer(capsys, *restore(kept.snapshot(5, archived=True), folders[0], peer))
        assert (made["peer"], made["index"]) == (peer, 5)
        assert made["group"] != meta().group.hex()
        nodes = [Node(config(folder, lease.address)) for folder, lease in zip(folders, leases, strict=True)]
        try:
            for node in nodes:
                await within(node.start())
            async with zraft.Client() as client:
                assert (await client.query(peer, "k-5", timeout=WAIT_S))[0] == 5
                await client.write(peer, ("more", 6), timeout=WAIT_S)
                status = await client.stat(peer, timeout=WAIT_S)
                assert (status.snapshot_index, status.first_index, [str(one) for one in status.peers]) == (5, 6, [peer])
                peers = [f"r@{lease.address}" for lease in leases]
                await client.set_new_conf(peer, peers, [peer], timeout=WAIT_S)
                for other in peers:
                    newest = (await client.stat(peer, timeout=WAIT_S)).last_index
                    found = await client.query_local(other, "k-3", min_index=newest, timeout=WAIT_S)
                    assert found == 3
        finally:
            for node in nodes:
                await within(node.stop())
            for lease in leases:
                lease.release()

    asyncio.run(work())


def test_a_peer_that_is_there_is_not_restored_over(kept: Vaulted, tmp_path: Path, capsys: Capture) -> None:
    """Nothing is changed; another name is taken in."""
    folder = tmp_path / "new"
    source = kept.snapshot(5)
    assert cli.main(list(map(str, ("snapshot", *restore(source, folder, "r@127.0.0.1:7101"))))) == 0
    assert "start its node: zraft server --listen 127.0.0.1:7101" in capsys.readouterr().out
    before = sorted(folder.rglob("*"))
    assert "holds a peer named r already" in failure(capsys, *restore(source, folder, "r@127.0.0.1:7101"))
    assert sorted(folder.rglob("*")) == before
    answer(capsys, *restore(source, folder, "s@127.0.0.1:7101"))
    assert [row["peer"] for row in answer(capsys, "list", folder)] == ["r", "s"]


def test_a_folder_that_a_node_uses_is_refused(kept: Vaulted, tmp_path: Path, capsys: Capture) -> None:
    """The node would not know of the peer, and overwrite the state files."""
    disk = RealDisk(tmp_path / "new", lambda _: None)
    assert "another process uses" in failure(capsys, *restore(kept.snapshot(5), tmp_path / "new", "r@127.0.0.1:7101"))
    disk.close()


def test_a_damaged_snapshot_is_not_restored(kept: Vaulted, tmp_path: Path, capsys: Capture) -> None:
    """A flipped bit in a file or the manifest; no peer is made, and a second attempt with a sound one succeeds."""
    peer, folder = "r@127.0.0.1:7101", tmp_path / "new"
    for name in ("dict", "MANIFEST"):
        path = kept.snapshot(5) / name
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.unlink()
        path.write_bytes(data)
        assert "does not match its checksum" in failure(capsys, *restore(kept.snapshot(5), folder, peer))
    assert answer(capsys, *restore(kept.snapshot(5, archived=True), folder, peer))["index"] == 5


def test_one_snapshot_has_to_be_named(kept: Vaulted, tmp_path: Path, capsys: Capture) -> None:
    """A folder with several is refused, with what to do."""
    line = failure(capsys, *restore(kept.folder, tmp_path / "new", "r@127.0.0.1:7101"))
    assert "holds 4 snapshots: name the folder of one, which zraft snapshot list shows" in line
    empty = Vaulted(tmp_path / "empty")
    assert "holds no snapshots yet" in failure(capsys, *restore(empty.folder, tmp_path / "n", "r@127.0.0.1:7101"))
    empty.vault.close()


def test_a_disk_that_is_full_leaves_no_peer(
    kept: Vaulted, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said, and can be repeated when there is space."""
    peer, folder = "r@127.0.0.1:7101", tmp_path / "new"
    with monkeypatch.context() as full:

        def no_space(*_: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        full.setattr(os, "write", no_space)
        assert cli.main(list(map(str, ("snapshot", *restore(kept.snapshot(5), folder, peer))))) == 1
    capsys.readouterr()
    assert answer(capsys, "list", folder) == []
    assert answer(capsys, *restore(kept.snapshot(5), folder, peer))["index"] == 5
