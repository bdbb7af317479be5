"""`zraft watch` over real nodes: a line for the value, and one for each change that is seen."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stack.clusters import WAIT_S, Cluster, cli, refused
from tests.stack.conftest import MakeCluster

pytestmark = pytest.mark.counts_processes


def watching(cluster: Cluster, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "zraft", "watch", *words],
        env={**os.environ, "ZRAFT_PEERS": cluster.peers_text},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def line(process: subprocess.Popen[str]) -> str:
    """The next one, without its end."""
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


@pytest.mark.timeout(60)
def test_a_key_is_watched_from_before_it_is_there_until_it_is_gone(group: Cluster) -> None:
    """For people; it ends at Ctrl-C."""
    process = watching(group, "colour")
    try:
        assert line(process) == "(no such key)"
        for value in ("red", "blue"):
            assert group.cli("put", "colour", value).returncode == 0
            assert line(process) == value
        assert group.cli("delete", "colour").returncode == 0
        assert line(process) == "(no such key)"
        process.send_signal(signal.SIGINT)
        assert process.wait(WAIT_S) == 0
        assert process.stderr is not None
        assert process.stderr.read().strip() == ""
    finally:
        process.kill()
        process.communicate()


@pytest.mark.timeout(60)
def test_a_table_is_watched_by_key_and_by_prefix(make_cluster: MakeCluster) -> None:
    """For programs; it ends after so many lines, and another one goes on from the index of any."""
    cluster = make_cluster(1)
    assert cluster.cli("create", cluster.peers_text, "--backend", "table").returncode == 0
    assert cluster.cli("put", "colour", "red").returncode == 0
    process = watching(cluster, "colour", "--json", "--count", "2")
    try:
        first = json.loads(line(process))
        assert (first["key"], first["value"], first["kind"]) == ("colour", "red", "now")
        assert cluster.cli("put", "colour", "blue").returncode == 0
        second = json.loads(line(process))
        assert (second["key"], second["value"], second["kind"]) == ("colour", "blue", "put")
        assert second["index"] > first["index"]
        assert process.wait(WAIT_S) == 0
    finally:
        process.kill()
        process.communicate()
    assert cluster.cli("delete", "colour").returncode == 0
    later = cluster.cli("watch", "--prefix", "col", "--from-index", str(first["index"]), "--count", "2")
    assert (later.stdout.splitlines(), later.returncode) == (["colour blue", "colour (no such key)"], 0)


def test_what_cannot_be_watched_is_one_line_that_says_so(group: Cluster) -> None:
    """A prefix of a dict, and neither a key nor a prefix."""
    assert "reports no changes of the prefix" in refused(group.cli("watch", "--prefix", "c"))
    assert "name a key, or a --prefix" in refused(group.cli("watch"))


def test_nobody_there_is_one_line_that_says_so(tmp_path: Path) -> None:
    """As for every command."""
    done = cli("watch", "colour", "--peers", "a@127.0.0.1:1", "--timeout", "6")
    assert "127.0.0.1:1" in refused(done)
    assert not list(tmp_path.iterdir())
