"""The command line: every command that talks to a group, its exit status, its errors, and what it prints as JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import zraft
from tests.stack.contract.conftest import Nodes
from zraft.app.cli import main


@dataclass(frozen=True)
class Done:
    """A command line that ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, which is one JSON value."""
        assert (self.status, self.err) == (0, "")
        return json.loads(self.out)

    @property
    def problem(self) -> str:
        """The one line on stderr of a command that did not do what it was told to."""
        assert self.status != 0
        assert self.out == ""
        (line,) = self.err.splitlines()
        assert line.startswith("zraft: ")
        return line


class Shell:
    """Runs command lines in this process, in an empty folder."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *words: object) -> Done:
        status = main([str(word) for word in words])
        printed = self._capsys.readouterr()
        return Done(status, printed.out, printed.err)


@pytest.fixture
def zraft_(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Shell:
    """The command `zraft` where no group is known."""
    for name in [name for name in os.environ if name.startswith("ZRAFT_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return Shell(capsys)


@pytest.fixture
def peers(nodes: Nodes, monkeypatch: pytest.MonkeyPatch, zraft_: Shell) -> list[zraft.PeerId]:
    """A group that `ZRAFT_PEERS` names."""
    made = nodes.group()
    monkeypatch.setenv("ZRAFT_PEERS", ",".join(map(str, made)))
    return made


def test_a_group_is_made_used_and_changed(zraft_: Shell, nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """As people see it, who are told no more than they asked for."""
    names = list(map(str, nodes.names()))
    assert zraft_("create", *names[:2]) == Done(0, "".join(f"{name}\n" for name in names[:2]), "")
    monkeypatch.setenv("ZRAFT_PEERS", ", ".join(names))
    assert zraft_("put", "greeting", "hello wörld") == Done(0, "ok\n", "")
    assert zraft_("get", "greeting") == Done(0, "hello wörld\n", "")
    assert zraft_("set-conf", *names, "--timeout", "20").out.split() == names
    assert sorted(line.split()[0] for line in zraft_("conf").out.splitlines()) == sorted(names)
    assert zraft_("transfer", names[2]) == Done(0, f"{names[2]}\n", "")
    assert f"{names[2]}  leader" in zraft_("conf").out
    head, *rows = zraft_("status").out.splitlines()
    assert head.split()[:4] == ["PEER", "ROLE", "TERM", "LEADER"]
    assert [row.split()[:2] for row in rows] == [[names[0], "follower"], [names[1], "follower"], [names[2], "leader"]]
    assert zraft_("delete", "greeting") == Done(0, "ok\n", "")
    assert zraft_("get", "greeting").problem == "zraft: no such key: greeting"
    assert zraft_("delete", "greeting").problem == "zraft: no such key: greeting"


def test_everything_that_is_printed_is_had_as_json(
    zraft_: Shell, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One value, for programs."""
    names = list(map(str, nodes.names()))
    assert zraft_("create", *names, "--json").json == names
    monkeypatch.setenv("ZRAFT_PEERS", ",".join(names))
    put = zraft_("put", "k", "v", "--json").json
    assert (put["result"], put["leader"]) == ("ok", names[0])
    got = zraft_("get", "k", "--json").json
    assert (got["key"], got["value"]) == ("k", "v")
    assert zraft_("delete", "k", "--json").json["result"] == "ok"
    conf = zraft_("conf", "--json").json
    assert (conf["leader"], sorted(conf["peers"]), conf["learners"]) == (names[0], sorted(names), [])
    statuses = zraft_("status", "--json").json
    assert [(one["id"], one["role"], one["fault"]) for one in statuses] == [
        (names[0], "leader", None),
        (names[1], "follower", None),
        (names[2], "follower", None),
    ]
    assert zraft_("set-conf", *names[:2], "--json", "--timeout", "20").json == names[:2]
    assert zraft_("transfer", names[1], "--json").json["leader"] == names[1]
    for operation in ("put", "get"):
        measured = zraft_("bench", "--total", "20", "--clients", "4", "--connections", "2", "--op", operation, "--json")
        assert (measured.json["done"], measured.json["failed"]) == (20, 0)


def test_peers_are_named_by_the_option_before_the_variable(
    zraft_: Shell, peers: list[zraft.PeerId], nodes: Nodes
) -> None:
    """The option may stand before the command, too."""
    other = ",".join(map(str, nodes.group()))
    zraft_("put", "k", "of the variable")
    zraft_("put", "k", "of the option", "--peers", other)
    assert zraft_("get", "k").out == "of the variable\n"
    for words in (("--peers", other, "get", "k"), (f"--peers={other}", "get", "k"), ("get", "--peers", other, "k")):
        assert zraft_(*words).out == "of the option\n"
    assert zraft_("--json", "--timeout", "9", "get", "k").json["value"] == "of the variable"
    assert zraft_("--json").problem.endswith("see zraft --help")


def test_any_peer_that_answers_will_do(zraft_: Shell, peers: list[zraft.PeerId], dead: str) -> None:
    """The first of the list may be down; `status` shows it and fails."""
    named = f"p@{dead},{peers[2]}"
    assert zraft_("put", "k", "v", "--peers", named).status == 0
    shown = zraft_("status", "--peers", named)
    assert shown.status == 1
    assert [row.split()[1] for row in shown.out.splitlines()[1:]] == ["unreachable", "follower"]
    assert f"p@{dead} does not answer" in shown.err


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (("put", "k", "v"), 2, "run zraft dev in this folder, or name the group's peers with --peers"),
        (("put", "k"), 2, "Missing argument 'VALUE'; see zraft put --help"),
        (("put", "k", "-5"), 2, "write -- before what begins with -"),
        (("get", "k", "--peers", "p@127.0.0.1:1"), 1, "start the node with zraft server"),
        (("get", "k", "--peers", "nonsense"), 2, "write name@host:port"),
        (("create", "p@127.0.0.1:1"), 1, "start it with zraft server"),
        (("create",), 2, "Missing argument 'PEER...'"),
        (("transfer", "x", "--peers", "p@127.0.0.1:1"), 2, "write name@host:port"),
        (("conf", "--peers", "p@127.0.0.1:1", "--timeout", "0"), 2, "is no number of seconds above 0"),
        (("bench", "--peers", "p@127.0.0.1:1", "--op", "delete"), 2, "'delete' is not one of 'put', 'get'"),
        (("log", "verify", "nowhere"), 1, "name the folder of a node's data"),
        (("server",), 2, "give --config, or both --listen and --data-dir"),
        (("sim", "--seeds", "5"), 2, "no range of seeds, such as 1-300"),
        (("sim", "--seed", "1", "--profile", "nope"), 2, "nope"),
        ((), 2, "see zraft --help"),
        (("stats",), 2, "did you mean status?"),
    ],
)
def test_an_error_is_one_line_that_says_what_to_do(
    zraft_: Shell, words: tuple[str, ...], status: int, told: str
) -> None:
    """2: the command line was wrong; 1: it was not done."""
    done = zraft_(*words)
    assert told in done.problem
    assert done.status == status


def test_what_stands_in_the_way_is_told_with_a_way_out(zraft_: Shell, peers: list[zraft.PeerId]) -> None:
    """By the commands about groups."""
    assert "choose another name" in zraft_("create", *peers).problem
    assert "choose another with --backend" in zraft_("create", f"new@{peers[0].node}", "--backend", "nope").problem
    assert "not a voter" in zraft_("transfer", f"stranger@{peers[0].node}").problem
    assert "check the names with zraft status" in zraft_("get", "k", "--peers", f"nobody@{peers[0].node}").problem
    assert zraft_("get", "k").problem == "zraft: no such key: k"


def test_a_reader_that_has_seen_enough_costs_no_word(tmp_path: Path) -> None:
    """`zraft ... | head -1` ends quietly, for every command that prints much."""
    command = f"{sys.executable} -m zraft sim --seed 3 | head -1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert (len(done.stdout.splitlines()), done.stderr) == (1, "")
