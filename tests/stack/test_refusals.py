"""What a node will not do: talk to strangers, start on data that is not safe, share what it has with another."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tests.stack.clusters import CALM, Cluster, cli, refused
from tests.stack.conftest import MakeCluster
from zraft.app.processes import PortLease

SECRETS = {"ZRAFT_CLUSTER_SECRET": "among nodes", "ZRAFT_CLIENT_SECRET": "among clients"}


def start(folder: Path, lease: PortLease, **environment: str) -> str:
    """The one line of a node that cannot run."""
    return refused(cli("server", "--listen", lease.address, "--data-dir", str(folder), environment=environment))


def test_a_client_without_the_secret_is_refused(make_cluster: MakeCluster) -> None:
    """And told which variable to set; with the secret everything works."""
    cluster = make_cluster(1, environment=SECRETS)
    line = refused(cluster.cli("create", cluster.peers_text, environment={"ZRAFT_CLIENT_SECRET": "a guess"}))
    assert "set ZRAFT_CLIENT_SECRET" in line
    assert "set ZRAFT_CLIENT_SECRET" in refused(cluster.cli("conf"))
    assert cluster.cli("create", cluster.peers_text, environment=SECRETS).returncode == 0
    assert cluster.cli("put", "k", "v", environment=SECRETS).returncode == 0


def test_a_client_of_another_cluster_is_refused(group: Cluster) -> None:
    """A client that names the cluster which it wants talks to no other."""
    assert "--cluster" in refused(group.cli("conf", "--cluster", "another"))
    assert group.cli("conf", "--cluster", "default").returncode == 0


def test_nodes_of_different_clusters_do_not_meet(make_cluster: MakeCluster) -> None:
    """A group over both is not made: the nodes refuse each other, whatever a client wants."""
    here = make_cluster(1, environment=CALM)
    there = make_cluster(1, environment=CALM, options=("--cluster", "another"))
    done = cli("create", *map(str, (*here.peers, *there.peers)), "--timeout", "6")
    assert "was not applied" in refused(done)
    log = there.servers[there.peers[0]].log.read_text()
    assert "another cluster" in log


def test_data_that_another_process_uses_is_refused(group: Cluster, lease: PortLease) -> None:
    """Two processes on one journal would destroy it."""
    line = start(group.servers[group.peers[0]].folder, lease)
    assert "another process" in line


@pytest.mark.parametrize("mode", [0o770, 0o702])
def test_data_that_others_may_write_is_refused(tmp_path: Path, lease: PortLease, mode: int) -> None:
    """By the group or by anybody: the folder is mended or another chosen, by hand."""
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(mode)
    assert str(folder) in start(folder, lease)
    assert os.listdir(folder) == []


def test_data_in_a_file_is_refused(tmp_path: Path, lease: PortLease) -> None:
    """A file is no folder, and stays as it is."""
    file = tmp_path / "data"
    file.write_text("mine")
    assert str(file) in start(file, lease)
    assert file.read_text() == "mine"


def test_an_address_in_use_is_refused(tmp_path: Path, lease: PortLease) -> None:
    """The port has one owner."""
    with socket.create_server(("127.0.0.1", lease.port)):
        assert "listen" in start(tmp_path / "data", lease)


def test_settings_are_refused_as_a_whole(tmp_path: Path, lease: PortLease) -> None:
    """One line names every problem, and no data is made."""
    line = start(tmp_path / "data", lease, ZRAFT_ELECTION_TIMEOUT="soon", ZRAFT_MAX_LOG_COUNT="-1")
    assert "ZRAFT_ELECTION_TIMEOUT" in line
    assert "max_log_count" in line
    assert not (tmp_path / "data").exists()
