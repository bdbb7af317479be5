"""Nodes of an older version in a simulated cluster."""

from __future__ import annotations

import pytest

from zraft.core.messages import AppendEntries, Heartbeat, PreVote, Quiesce, RequestVote
from zraft.sim.chance import Chance
from zraft.sim.cluster import Cluster
from zraft.sim.profiles import PROFILES
from zraft.sim.run import run_seed
from zraft.sim.versions import ADDED, draw_lacking

NAMES = [f"n{number}:1" for number in range(5)]


def test_some_nodes_are_older_and_never_all_of_them() -> None:
    """Each lacks something, and over many seeds everything is lacked by somebody."""
    drawn = [draw_lacking(NAMES[: 2 + seed % 4], Chance(seed)) for seed in range(200)]
    assert {len(lacking) for lacking in drawn} == {1, 2}
    assert all(len(lacking) < 2 + seed % 4 for seed, lacking in enumerate(drawn))
    assert all(kinds for lacking in drawn for kinds in lacking.values())
    lacked = {kind for lacking in drawn for kinds in lacking.values() for kind in kinds}
    assert lacked == {kind for kinds in ADDED.values() for kind in kinds}


def test_what_raft_cannot_do_without_everybody_knows() -> None:
    """Elections and replication are of the first version."""
    lacked = {kind for kinds in ADDED.values() for kind in kinds}
    assert not lacked & {PreVote, RequestVote, AppendEntries, Heartbeat}


@pytest.mark.uncounted
def test_what_an_older_node_does_not_know_never_leaves_it() -> None:
    """Nor does it get in: what was sent to it in vain is counted, and the group goes on."""
    report = run_seed(3, "mixed")
    assert not report.failure, f"{report.failure}\nreplay it: {report.command}"
    assert report.counters.faults["message not known"] > 1


def test_seeds_of_other_profiles_have_no_older_nodes() -> None:
    """Their runs are what they were."""
    assert not any(node.lacks for node in Cluster(1, PROFILES["default"]).nodes.values())
    assert Quiesce in ADDED["quiet groups"]
