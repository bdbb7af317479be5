"""`set-conf`, `transfer` and `remove` against real nodes."""

from __future__ import annotations

import json

from tests.stack.clusters import CALM, refused
from tests.stack.conftest import MakeCluster


def test_the_members_are_changed_and_what_left_is_deleted(make_cluster: MakeCluster) -> None:
    """Grown, joined again, shrunk; each command prints what is so now, for people and for programs."""
    cluster = make_cluster(3, environment=CALM)
    one, two, three = map(str, cluster.peers)
    assert cluster.cli("create", one).returncode == 0
    assert cluster.cli("put", "k", "v").returncode == 0
    grown = cluster.cli("set-conf", one, two, three, "--progress")
    assert (grown.returncode, grown.stdout.splitlines()) == (0, [one, two, three])
    assert all(line.startswith("zraft: ") for line in grown.stderr.splitlines())
    again = cluster.cli("set-conf", three, two, one, "--json")
    assert (json.loads(again.stdout), again.stderr) == ([three, two, one], "")
    shrunk = cluster.cli("set-conf", two, three)
    assert (shrunk.returncode, shrunk.stderr) == (0, "")
    conf = json.loads(cluster.cli("conf", "--json").stdout)
    assert sorted(conf["peers"]) == sorted([two, three])
    assert cluster.cli("get", "k", "--peers", two).stdout == "v\n"
    assert json.loads(cluster.cli("remove", one, "--json").stdout) == [one]
    assert "no peer t" in refused(cluster.cli("remove", one))
    assert "configuration without it" in refused(cluster.cli("remove", two))


def test_leadership_is_handed_to_whom_the_command_names(make_cluster: MakeCluster) -> None:
    """And to nobody who has no vote."""
    cluster = make_cluster(2, environment=CALM)
    one, two = map(str, cluster.peers)
    assert cluster.cli("create", one, two).returncode == 0
    assert cluster.cli("transfer", two).stdout == f"{two}\n"
    assert json.loads(cluster.cli("transfer", one, "--json").stdout) == {"leader": one}
    assert json.loads(cluster.cli("conf", "--json").stdout)["leader"] == one
    line = refused(cluster.cli("transfer", "ghost@127.0.0.1:1"))
    assert line.endswith("is not a voter of this group; zraft conf shows who is")


def test_a_change_that_cannot_be_says_what_to_do(make_cluster: MakeCluster) -> None:
    """In one line, with exit status 1; the members stay, and nothing is left of what was made."""
    cluster = make_cluster(2, environment=CALM)
    one, two = map(str, cluster.peers)
    assert cluster.cli("create", one).returncode == 0
    assert "start that node first" in refused(cluster.cli("set-conf", one, two, "new@127.0.0.1:1"))
    assert "no peer t" in refused(cluster.cli("remove", two)), "what was made beside it is gone again"
    cluster.servers[cluster.peers[1]].kill()
    assert "start that node first" in refused(cluster.cli("set-conf", one, two))
    assert "not a peer" in refused(cluster.cli("set-conf", "nonsense"))
    assert json.loads(cluster.cli("conf", "--json").stdout)["peers"] == [one]


def test_a_change_that_takes_longer_goes_on(make_cluster: MakeCluster) -> None:
    """The old majority is not there: the command says so in time, and the same one ends it when it is."""
    cluster = make_cluster(3)
    one, two, three = cluster.peers
    assert cluster.cli("create", str(one), str(two)).returncode == 0
    cluster.servers[two].kill()
    line = refused(cluster.cli("set-conf", str(one), str(three), "--timeout", "4"))
    assert "no leader" in line or "goes on" in line
    cluster.servers[two].start()
    done = cluster.cli("set-conf", str(one), str(three), "--timeout", "15")
    assert (done.returncode, done.stdout.splitlines()) == (0, [str(one), str(three)])
