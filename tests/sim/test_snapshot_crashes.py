"""Crash points, one after the other: a node dies between any two steps of taking, sending or installing a snapshot.

The same run is repeated, and each time the node dies one event later: killed, or with what was not synced lost. It
always starts again, everybody comes to the same state, and nothing acknowledged is gone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import pytest

from zraft.peer.vault import VaultJob
from zraft.sim.cluster import Cluster
from zraft.sim.healing import heal_all
from zraft.sim.judging import judge
from zraft.sim.network import isolate
from zraft.sim.profiles import PROFILES, Profile
from zraft.sim.vault import SimVault, Steps, VaultFaults
from zraft.wire.requests import SnapshotProgress

POINTS = int(os.environ.get("ZRAFT_CRASH_POINTS", "20"))
"""Crash points tried at most, spread over all that there are."""


def profile(nodes: int) -> Profile:
    return msgspec.structs.replace(
        PROFILES["calm"], nodes=(nodes,), clients=(2, 2), think_ms=(5,), max_log_count=(10,), never=frozenset({"churn"})
    )


class Run:
    """A calm cluster, founded, in which a snapshot is taken every ten entries, each step in some milliseconds."""

    def __init__(self, nodes: int) -> None:
        self.cluster = cluster = Cluster(1, profile(nodes))
        for node in cluster.nodes.values():
            assert node.start()
            node.vault.faults = VaultFaults(step_ms=4, piece_bytes=20)
        cluster.operator.start()
        self.until(lambda: cluster.operator.is_founded)
        for client in cluster.clients.values():
            client.start()

    def until(self, condition: object) -> None:
        assert callable(condition)
        for _ in range(20_000):
            if condition():
                return
            self.cluster.scheduler.step(1 << 40)
        raise AssertionError("it does not come true")

    def committed(self, index: int) -> None:
        """So much is committed."""
        self.until(lambda: self.cluster.checks.ledger.committed.end.last >= index)

    def leave_behind(self) -> str:
        """A follower whose next entries are in nobody's log any more, about to be let in again."""
        cluster = self.cluster
        self.committed(5)
        leader = cluster.leader()
        assert leader is not None
        behind = next(name for name in cluster.names if name != leader.name)
        for link in isolate(cluster.names, behind):
            cluster.cut(*link)
        self.committed(45)
        for link in isolate(cluster.names, behind):
            cluster.mend(*link)
        return behind

    def end(self) -> None:
        """Everybody is well, equal, and nothing was lost."""
        cluster = self.cluster
        heal_all(cluster)
        for client in cluster.clients.values():
            client.finish()
        assert judge(cluster.groups[0].history(), cluster.checks.ledger.committed) == ""


@contextmanager
def counted() -> Iterator[dict[str, list[int]]]:
    """By node: after how many events a vault had taken a step."""
    found: dict[str, list[int]] = {}
    before = SimVault._proceed

    def proceed(self: SimVault, running: tuple[VaultJob, Steps]) -> None:
        found.setdefault(self._owner.name, []).append(self._scheduler.performed)
        before(self, running)

    SimVault._proceed = proceed  # type: ignore[method-assign]
    try:
        yield found
    finally:
        SimVault._proceed = before  # type: ignore[method-assign]


def points(first: int, last: int) -> list[int]:
    step = max(1, (last - first) // POINTS)
    return list(range(first, last + 1, step))


def crash_at(run: Run, name: str, event: int, *, power_loss: bool) -> None:
    """The node dies after so many events, and starts again a little later."""
    scheduler, node = run.cluster.scheduler, run.cluster.nodes[name]
    while scheduler.performed < event:
        assert scheduler.step(1 << 40)
    node.crash(power_loss=power_loss)
    scheduler.run_until(scheduler.now_ms + 20)
    assert node.start(), node.fault
    assert node.host is not None
    assert not node.host.failed


@pytest.mark.timeout(300)
@pytest.mark.parametrize("power_loss", [False, True])
def test_bm_053_a_crash_between_any_two_steps_of_taking_a_snapshot(power_loss: bool) -> None:
    """Half written, not renamed, renamed and not synced, published, the log cut, the old one dropped."""
    with counted() as steps:
        run = Run(1)
        run.committed(35)
        name = run.cluster.names[0]
    for event in points(steps[name][0] - 2, steps[name][-1] + 4):
        run = Run(1)
        crash_at(run, name, event, power_loss=power_loss)
        run.committed(70)
        run.end()
        assert run.cluster.nodes[name].vault.tally.written > 2


@pytest.mark.timeout(300)
@pytest.mark.parametrize("power_loss", [False, True])
@pytest.mark.parametrize("victim", ["receiver", "sender"])
def test_bm_054_a_crash_between_any_two_steps_of_installing_a_snapshot(victim: str, power_loss: bool) -> None:
    """Half fetched, published, installed and not saved, saved: of whoever receives it, and of whoever sends it."""
    with counted() as steps:
        run = Run(3)
        behind = run.leave_behind()
        first = run.cluster.scheduler.performed
        run.until(lambda: run.cluster.nodes[behind].vault.tally.installed > 0)
        last = run.cluster.scheduler.performed
        leader = run.cluster.leader()
        assert leader is not None
        assert behind in steps
    name = behind if victim == "receiver" else leader.name
    for event in points(first, last + 40)[:: 1 if victim == "receiver" else 3]:
        run = Run(3)
        assert run.leave_behind() == behind
        crash_at(run, name, event, power_loss=power_loss)
        run.committed(90)
        run.end()


def test_a_simulated_fetch_tells_how_far_it_is() -> None:
    """Piece by piece, never backwards, and nothing once it has ended."""
    run = Run(3)
    behind = run.cluster.nodes[run.leave_behind()]
    seen: list[SnapshotProgress] = []

    def is_installed() -> bool:
        peers = behind.host.peers.values() if behind.host is not None else ()
        seen.extend(found for peer in peers if (found := peer.status().fetching) is not None)
        return behind.vault.tally.installed > 0

    run.until(is_installed)
    first = [one for one in seen if one.index == seen[0].index]
    received = [one.received for one in first]
    assert received == sorted(received)
    assert received[0] == 0 < received[-1] == first[-1].total
    assert behind.host is not None
    assert [peer.status().fetching for peer in behind.host.peers.values()] == [None]
    run.end()
