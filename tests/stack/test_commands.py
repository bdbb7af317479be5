"""The command line against real nodes: every command does what it says, and says what it could not do."""

from __future__ import annotations

import json

import pytest

from tests.stack.clusters import CALM, Cluster, cli, printed, refused
from tests.stack.conftest import MakeCluster


def test_a_value_that_was_put_is_got_and_deleted(group: Cluster) -> None:
    """Texts come back as they were; what is gone is exit status 1."""
    assert printed(group.cli("put", "greeting", "hello wörld")) == "ok\n"
    assert printed(group.cli("get", "greeting")) == "hello wörld\n"
    assert printed(group.cli("delete", "greeting")) == "ok\n"
    assert refused(group.cli("get", "greeting")) == "zraft: no such key: greeting"
    assert refused(group.cli("delete", "greeting")) == "zraft: no such key: greeting"


def test_a_table_is_spoken_to_as_one(make_cluster: MakeCluster) -> None:
    """The same commands; --json tells the history of an entry, too."""
    table = make_cluster(1)
    printed(table.cli("create", table.peers_text, "--backend", "table"))
    assert printed(table.cli("put", "greeting", "hello")) == "ok\n"
    assert printed(table.cli("put", "greeting", "hello wörld")) == "ok\n"
    assert printed(table.cli("get", "greeting")) == "hello wörld\n"
    got = json.loads(printed(table.cli("get", "greeting", "--json")))
    assert (got["key"], got["value"], got["version"]) == ("greeting", "hello wörld", 2)
    assert printed(table.cli("delete", "greeting")) == "ok\n"
    assert refused(table.cli("get", "greeting")) == "zraft: no such key: greeting"
    assert refused(table.cli("delete", "greeting")) == "zraft: no such key: greeting"


def test_json_is_printed_for_programs(group: Cluster) -> None:
    """Each command that prints data prints it as one JSON value."""
    put = json.loads(printed(group.cli("put", "k", "v", "--json")))
    assert put["result"] == "ok"
    assert put["leader"] in map(str, group.peers)
    got = json.loads(printed(group.cli("get", "k", "--json")))
    assert (got["key"], got["value"]) == ("k", "v")
    assert got["index"] >= put["index"]
    conf = json.loads(printed(group.cli("conf", "--json")))
    assert sorted(conf["peers"]) == sorted(map(str, group.peers))
    statuses = json.loads(printed(group.cli("status", "--json")))
    assert [status["id"] for status in statuses] == list(map(str, group.peers))
    assert sorted(status["role"] for status in statuses) == ["follower", "follower", "leader"]


def test_tables_are_printed_for_people(group: Cluster) -> None:
    """A line for each peer."""
    status = printed(group.cli("status")).splitlines()
    assert status[0].split()[:3] == ["PEER", "ROLE", "TERM"]
    assert [line.split()[0] for line in status[1:]] == list(map(str, group.peers))
    conf = printed(group.cli("conf")).splitlines()
    assert sorted(line.split()[1] for line in conf) == ["leader", "voter", "voter"]


def test_leadership_goes_where_it_is_told(group: Cluster) -> None:
    """`transfer` returns when the peer leads (§3.10)."""
    leader = json.loads(printed(group.cli("conf", "--json")))["leader"]
    other = next(str(peer) for peer in group.peers if str(peer) != leader)
    assert printed(group.cli("transfer", other)) == f"{other}\n"
    assert json.loads(printed(group.cli("conf", "--json")))["leader"] == other


def test_a_peer_that_is_there_already_is_not_made_again(group: Cluster) -> None:
    """`create` names each peer in its way, and leaves the group alone."""
    line = refused(group.cli("create", *map(str, group.peers)))
    assert all(str(peer) in line for peer in group.peers)
    assert "already" in line
    printed(group.cli("put", "still", "here"))


def test_an_unknown_backend_is_refused(group: Cluster) -> None:
    """And nothing is left behind."""
    node = group.peers[0].node
    for _ in range(2):
        assert "does not have that backend" in refused(group.cli("create", f"other@{node}", "--backend", "nope"))


def test_a_failed_create_leaves_nothing_behind(group: Cluster) -> None:
    """A node that is down costs the whole group; the name is free again afterwards."""
    node = group.peers[0].node
    line = refused(group.cli("create", f"half@{node}", "half@127.0.0.1:1", "--timeout", "15"))
    assert "half@127.0.0.1:1" in line
    assert str(node) not in line
    assert "no peer half" in refused(group.cli("conf", "--peers", f"half@{node}"))
    printed(group.cli("create", f"half@{node}"))


def test_the_group_changes_to_any_other(make_cluster: MakeCluster) -> None:
    """`set-conf` starts peers where they are missing, and data moves with the group (§4.3)."""
    cluster = make_cluster(3, environment=CALM)
    first, second, third = map(str, cluster.peers)
    printed(cluster.cli("create", first))
    printed(cluster.cli("put", "k", "v"))
    changed = cluster.cli("set-conf", second, third, "--timeout", "10")
    assert changed.stdout.split() == [second, third], changed.stderr
    assert printed(cluster.cli("get", "k", "--peers", second)) == "v\n"
    conf = json.loads(printed(cluster.cli("conf", "--json", "--peers", third)))
    assert sorted(conf["peers"]) == sorted([second, third])


def test_the_group_is_measured(group: Cluster) -> None:
    """Writes and reads; where a request fails the exit status is 1, and a line says why."""
    for operation in ("put", "get"):
        measured = group.cli("bench", "--clients", "4", "--total", "40", "--op", operation)
        assert measured.stdout.startswith(f"{operation}: "), measured.stderr
        assert measured.stdout.endswith("40 done, 0 failed, 4 clients on 4 connections\n")
        assert measured.stderr == ""
    assert set(json.loads(printed(group.cli("bench", "--total", "4", "--json")))) >= {"per_second", "p50_ms", "p99_ms"}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("put", "k"), "zraft: Missing argument 'VALUE'; see zraft put --help"),
        (("get", "k"), "zraft: which group? run zraft dev in this folder, or name the group's peers with --peers"),
        (("get", "k", "--peers", "nonsense"), "not a peer: 'nonsense' (write name@host:port)"),
        (("conf", "--peers", "a@127.0.0.1:1"), "nothing listens there; check the address, or start the node"),
        (("server",), "give --config, or both --listen and --data-dir"),
        (("server", "--config", "/nowhere/zraft.toml"), "/nowhere/zraft.toml"),
        (("sim",), "one of the arguments --seed --seeds is required"),
        (("nonsense",), "No such command 'nonsense'"),
        (("statsu",), "No such command 'statsu', did you mean status?; see zraft --help"),
        (("put", "k", "v", "--peer", "a@127.0.0.1:1"), "No such option '--peer'"),
        (("get", "k", "--peers", "a@localhost"), "not a node address: 'localhost' (host:port)"),
        (("bench", "--clients", "0"), "'--clients': 0 is not in the range"),
        (("bench", "--peers", "a@127.0.0.1:1", "--timeout", "10"), "nothing listens there); check the names"),
        (("server", "--listen", "7101", "--data-dir", "x"), "listen: must be an address, host:port, not '7101'"),
        (("dev", "--nodes", "0"), "'--nodes': 0 is not in the range 1<=x<=9"),
        (
            ("log", "verify", "/nowhere/data"),
            "/nowhere/data cannot be read: No such file or directory; name the folder",
        ),
    ],
)
def test_a_wrong_command_line_costs_one_line(words: tuple[str, ...], line: str) -> None:
    """On stderr, with what to do."""
    assert line in refused(cli(*words))
