"""Leaders die again and again while sessions count: nothing is lost, nothing counts twice (§6.3, BM-076).

`ZRAFT_SIM_KILLS` is how often; `make sessions` sets it to more than the few of every run.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import msgspec
import pytest

from tests.sim.mutants.mutants import MUTANTS
from tests.sim.mutants.mutation import put_back
from zraft.sim.chance import Chance
from zraft.sim.checks.ghost import Violation
from zraft.sim.checks.sessions import Totals
from zraft.sim.cluster import Cluster
from zraft.sim.faults import calm_down
from zraft.sim.healing import check_sessions, heal_all
from zraft.sim.network import Weather
from zraft.sim.profiles import PROFILES

KILLS = int(os.environ.get("ZRAFT_SIM_KILLS", "8"))
PATIENCE = 500
"""Election timeouts in which whatever is waited for must come."""

UNDER_WAY = 4
"""Writes that a client has under way at most."""


class Campaign:
    """Three nodes, four clients that count in sessions, links to them that lose, and leaders that die."""

    def __init__(self, seed: int) -> None:
        self.cluster = Cluster(seed, msgspec.structs.replace(PROFILES["sessions"], nodes=(3,)))
        self.chance = Chance(seed).split("deaths")
        self.holders = list(self.cluster.session_clients.values())
        self.kills = 0

    def begin(self) -> None:
        """The group is founded, and its clients ask."""
        cluster = self.cluster
        for node in cluster.nodes.values():
            assert node.start()
        cluster.operator.start()
        self.wait(lambda: cluster.operator.is_founded)
        for name in cluster.session_clients:
            for node_name in cluster.nodes:
                weather = Weather(delay_ms=1, jitter_ms=cluster.election_ms // 4, loss=50_000)
                cluster.network.set_weather(name, node_name, weather)
                cluster.network.set_weather(node_name, name, weather)
        for client in cluster.clients.values():
            client.start()
        for holder in self.holders:
            holder.start()
            holder.wake()

    def run(self, ms: int) -> None:
        """So much time passes."""
        self.cluster.scheduler.run_until(self.cluster.scheduler.now_ms + ms)

    def wait(self, is_reached: Callable[[], bool]) -> None:
        """Until it is so."""
        for _ in range(PATIENCE):
            if is_reached():
                return
            self.run(self.cluster.election_ms)
        raise AssertionError(f"it did not come: {self.kills} leaders were killed")

    @property
    def served(self) -> int:
        """Answers to clients with sessions so far."""
        return sum(holder.served for holder in self.holders)

    def kill_leaders(self, times: int) -> None:
        """So many."""
        while self.kills < times:
            self._kill_leader()

    def _kill_leader(self) -> None:
        """At any moment once it serves; the dead one is back before the next one serves, or after that."""
        cluster, chance = self.cluster, self.chance
        goal = self.served + 4 + chance.below(20)
        self.wait(lambda: self.served >= goal)
        self.run(chance.below(cluster.election_ms))
        leader = cluster.leader()
        if leader is not None and leader.is_up:
            leader.crash(power_loss=chance.below(2) == 0)
            self.kills += 1
            self.run(chance.below(6) * cluster.election_ms)
            assert leader.start()

    def end(self) -> Totals:
        """All is well again, and everything is judged. Raises Violation."""
        calm_down(self.cluster)
        heal_all(self.cluster)
        return check_sessions(self.cluster)


@pytest.mark.uncounted
@pytest.mark.timeout(60 + 10 * KILLS)
@pytest.mark.parametrize("seed", [1, 2])
def test_counters_are_what_was_acknowledged_and_what_nobody_knows(seed: int) -> None:
    """At most what was under way in a session when it ended ran without an answer; half of the deaths each."""
    campaign = Campaign(seed)
    campaign.begin()
    campaign.kill_leaders(KILLS // 2)
    totals = campaign.end()
    lives = len(campaign.cluster.session_checks.counters)
    print(f"seed {seed}: {campaign.kills} leaders killed, {campaign.served} answers, {lives} sessions, {totals}")
    assert totals.acknowledged <= totals.counted <= totals.sent <= totals.acknowledged + UNDER_WAY * lives
    assert totals.acknowledged > campaign.kills


@pytest.mark.uncounted
def test_the_campaign_sees_a_write_that_runs_again() -> None:
    """The net has no hole there (BM-076)."""
    campaign = Campaign(1)
    with put_back(next(mutant for mutant in MUTANTS if mutant.name == "BM-076")):
        campaign.begin()
        with pytest.raises(Violation):
            campaign.kill_leaders(100)
