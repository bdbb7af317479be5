"""`zraft dev` without any process: what it refuses, and how other commands find it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zraft.app import cli, dev
from zraft.app.devfile import NAME, DevFile, DevRuns, running_peers
from zraft.types import PeerId

PEERS = [PeerId("default", "127.0.0.1:1"), PeerId("default", "127.0.0.1:2")]


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ZRAFT_PEERS", raising=False)


def test_the_peers_are_found_while_it_runs() -> None:
    """From the moment on that the group is there, until its end."""
    assert running_peers() == ([], "")
    with DevFile() as file:
        assert running_peers() == ([], "zraft dev is starting in this folder: try again in a moment")
        file.name(PEERS)
        assert running_peers() == (PEERS, "")
    assert not Path(NAME).exists()


def test_one_runs_in_a_folder() -> None:
    """The second is told which process is there."""
    with DevFile() as file:
        file.name(PEERS)
        with pytest.raises(DevRuns, match=rf"pid {os.getpid()}\) runs in this folder"), DevFile():
            pass
        assert running_peers() == (PEERS, "")


def test_a_file_that_is_left_over_is_ignored_and_said_so(capsys: pytest.CaptureFixture[str]) -> None:
    """Its process was killed: nobody holds its lock. The next one takes the file over."""
    Path(NAME).write_text('{"pid":12,"peers":["a@127.0.0.1:1"]}')
    assert cli.main(["get", "k"]) == 2
    said = capsys.readouterr().err
    assert f"{NAME} here is left over: its zraft dev (pid 12) runs no longer; run zraft dev" in said
    Path(NAME).write_text("nonsense")
    assert running_peers()[0] == []
    with DevFile() as file:
        file.name(PEERS)
        assert running_peers() == (PEERS, "")


def test_the_environment_goes_before_the_folder(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And a wrong word in it is told from one on the command line."""
    monkeypatch.setenv("ZRAFT_PEERS", "nonsense")
    with DevFile() as file:
        file.name(PEERS)
        assert cli.main(["get", "k"]) == 2
        assert "'nonsense' (write name@host:port), in the variable ZRAFT_PEERS; see" in capsys.readouterr().err
        assert cli.main(["get", "k", "--peers", "wrong"]) == 2
        assert "variable" not in capsys.readouterr().err


def refused(*words: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of a `zraft dev` that does not run."""
    assert cli.main(["dev", *words]) != 0
    line = capsys.readouterr().err
    assert len(line.splitlines()) == 1
    assert not Path(NAME).exists()
    return line


def test_data_of_another_shape_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """The number of nodes and their ports are part of the data."""
    Path("data").mkdir()
    Path("data/cluster.json").write_text('{"nodes":5,"base_port":7301}')
    shape = "data holds a cluster of 5 nodes from port 7301: leave --nodes"
    assert shape in refused("--nodes", "3", capsys=capsys)
    assert shape in refused("--base-port", "7101", capsys=capsys)
    assert shape in refused("--backend", "table", capsys=capsys)
    Path("data/cluster.json").write_text('{"nodes":3,"base_port":7301,"backend":"table"}')
    assert 'from port 7301, backend "table": leave' in refused("--backend", "dict", capsys=capsys)


def test_a_port_in_use_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is started or made."""
    monkeypatch.setattr(dev, "is_free", lambda port: port != 7102)
    assert "port 7102 is in use: stop what listens there" in refused(capsys=capsys)
    assert not Path("data").exists()


def test_a_folder_that_cannot_be_used_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """A file in its place, a layout that is none."""
    Path("file").touch()
    assert "'file' is a file" in refused("--dir", "file", capsys=capsys)
    Path("data").mkdir()
    Path("data/cluster.json").write_text("{")
    assert "data cannot be used, cluster.json" in refused(capsys=capsys)
