"""The demonstration, and the data that a node leaves behind."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.stack.clusters import cli, refused
from tests.stack.conftest import MakeCluster


@pytest.mark.counts_processes
@pytest.mark.timeout(120)
def test_the_demonstration_shows_what_it_says() -> None:
    """A leader is killed, another takes over, nothing acknowledged is lost, and nothing is left behind."""
    before = set(Path(tempfile.gettempdir()).glob("zraft-demo-*"))
    done = subprocess.run(
        [sys.executable, "-m", "zraft.app.demo"], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "took over: first write after" in done.stdout
    counts, speed, verdict = done.stdout.splitlines()[-3:]
    assert re.fullmatch(r"demo: [\d,]+ writes acknowledged, \d+ of unknown outcome, [\d,]+ linearizable reads", counts)
    assert re.fullmatch(r"demo: [\d,]+ writes/s, p50 [\d.]+ ms, p99 [\d.]+ ms; failover \d+ ms", speed)
    assert verdict.startswith("demo: no acknowledged write was lost, every read was linearizable (")
    assert set(Path(tempfile.gettempdir()).glob("zraft-demo-*")) <= before


@pytest.mark.counts_processes
def test_the_data_of_a_stopped_node_is_looked_into(make_cluster: MakeCluster) -> None:
    """Not while it runs; sound afterwards; and damage is found, named and exit status 1."""
    cluster = make_cluster(1)
    server = cluster.servers[cluster.peers[0]]
    folder = str(server.folder)
    assert cluster.cli("create", cluster.peers_text).returncode == 0
    assert cluster.cli("put", "secret key", "secret value").returncode == 0
    assert "stop it first" in refused(cli("log", "verify", folder))
    assert server.stop() == 0
    records = cli("log", "inspect", folder).stdout
    assert "replica t#" in records
    assert "secret" not in records
    lines = [json.loads(line) for line in cli("log", "inspect", folder, "--json").stdout.splitlines()]
    assert {line["line"] for line in lines} >= {"ReplicaLine", "RecordLine"}
    verified = cli("log", "verify", folder)
    assert verified.returncode == 0
    assert verified.stdout.splitlines()[-1].endswith(": sound")
    damage(server.folder, lines)
    verified = cli("log", "verify", folder)
    assert verified.returncode == 1
    assert "LOST" in verified.stdout
    assert json.loads(cli("log", "verify", folder, "--json").stdout)["is_sound"] is False


def damage(folder: Path, lines: list[dict[str, object]]) -> None:
    """Flips a bit of a batch, which later records say was durable, and after which nobody else joined the group."""
    record = next(line for line in lines if line.get("entries") == "commands")
    path, offset = folder / str(record["file"]), record["offset"]
    assert isinstance(offset, int)
    data = bytearray(path.read_bytes())
    data[offset + 90] ^= 1
    path.write_bytes(data)


def test_a_server_without_a_peer_that_runs_ends(make_cluster: MakeCluster) -> None:
    """It ends with exit status 1, and says of each peer why it failed and what to do."""
    cluster = make_cluster(1)
    server, name = cluster.servers[cluster.peers[0]], str(cluster.peers[0])
    assert cluster.cli("create", name).returncode == 0
    assert cluster.cli("put", "k", "v").returncode == 0
    assert server.stop() == 0
    lines = [json.loads(line) for line in cli("log", "inspect", str(server.folder), "--json").stdout.splitlines()]
    damage(server.folder, lines)
    server.start()
    assert server.wait_ended() == 1
    assert f"no peer of {server.address} is left running: {name} has failed: corrupt data" in server.last_line()
    assert "zraft set-conf" in server.last_line()
