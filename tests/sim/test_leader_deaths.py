"""A leader dies at each step of a change of members (§4.2, §4.3): whatever it had done, the group goes on.

A step is one message delivered or one save completed. The change is played as often as it has steps, and each time the
leader dies one step later: with everything that it had sent lost, or with all of it still arriving. The others go on,
then it comes back. What must hold in the end: one leader, one stable configuration, which is the old or the new one,
and the new one where anybody was told so; equal logs; and whoever is not in it knows that.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from tests.raftkit.cluster import Cluster, Host, led_cluster
from tests.sim.mutants.mutation import put_back
from tests.sim.mutants.played import UNHEARD_PROMOTION
from zraft.core.events import ChangeMembership, Event
from zraft.core.output import Output
from zraft.core.recovered import RaftSettings

CHANGES = [
    ("a", "a b c"),
    ("a b c", "a b c d e"),
    ("a b c d e", "a b c"),
    ("a b c", "b c"),
    ("a b c", "b c d"),
    ("a b c", "d e f"),
]
SETTINGS = RaftSettings(election_timeout_ms=100, heartbeat_ms=20, request_timeout_ms=100, catch_up_ms=300)


@dataclass
class Story:
    """One change, up to the death of its leader."""

    old: str
    new: str
    changed: int = 0
    """How often somebody was told that it is done."""
    left: dict[str, None] = field(default_factory=dict)
    """Who knows that it left."""

    def __post_init__(self) -> None:
        self.cluster = led_cluster(self.old, SETTINGS)
        for name in self.new.split():
            if name not in self.cluster.hosts:
                self.cluster.add(name)
        self.cluster.on_step = self._seen
        self.cluster.propose("a", 1)
        self.cluster.step("a", ChangeMembership(9, self.cluster.members(self.new)), "change")

    def _seen(self, host: Host, event: Event, output: Output) -> None:
        self.changed += len(output.changed)
        if output.left:
            self.left[host.me.peer.name] = None

    def go(self, steps: int) -> int:
        """So many steps, or fewer, if there are no more; how many."""
        for done in range(steps):
            if not _one_step(self.cluster):
                return done
        return steps


def _one_step(cluster: Cluster) -> bool:
    for name, host in cluster.hosts.items():
        if host.raft is not None and host.disk.pending and len(cluster.network) % 2:
            cluster.save(name, 1)
            return True
    if cluster.network:
        cluster.deliver(count=1)
        return True
    pending = [name for name, host in cluster.hosts.items() if host.raft is not None and host.disk.pending]
    if pending:
        cluster.save(pending[0], 1)
    return bool(pending)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("old", "new"), CHANGES)
def test_whenever_the_leader_dies_the_group_ends_in_one_configuration(old: str, new: str) -> None:
    """At each step, with its messages lost or not."""
    total = Story(old, new).go(10_000)
    assert total > 10
    ends: dict[str, None] = {}
    for step in range(total + 1):
        for is_lost in (True, False):
            ends[_play(old, new, step, is_lost=is_lost)] = None
    assert set(ends) <= {old, new}
    assert new in ends


def _play(old: str, new: str, step: int, *, is_lost: bool) -> str:
    story = Story(old, new)
    cluster = story.cluster
    story.go(step)
    was_told = story.changed
    label = f"{old} -> {new}, leader dies after {step}, messages {'lost' if is_lost else 'kept'}"
    cluster.crash("a")
    if is_lost:
        cluster.drop("a")
    cluster.run(1000)
    if _could_go_on(old) and _could_go_on(new):
        _expect_progress(cluster, f"{label}, the others alone")
    cluster.start("a")
    cluster.run(1500)
    leader = cluster.leader()
    membership = cluster[leader].membership
    assert membership is not None, label
    assert membership.is_stable, label
    voters = sorted(voter.peer.name for voter in membership.voters)
    end = " ".join(voters)
    assert end == new or not was_told, f"{label}: told that it is done, and it is {end}"
    assert leader in voters, label
    _expect_progress(cluster, label)
    logs = [cluster.terms(name) for name in voters]
    assert all(log == logs[0] for log in logs), label
    strangers = [name for name in cluster.hosts if name not in voters and cluster[name].membership is not None]
    for name in strangers:
        named = cluster[name].memberships.newest_naming(cluster.hosts[name].me)
        assert name in story.left or not named, f"{label}: {name} does not know that it is out"
    return end


def _could_go_on(names: str) -> bool:
    """A majority without the dead leader."""
    return 2 * len(set(names.split()) - {"a"}) > len(names.split())


def _expect_progress(cluster: Cluster, label: str) -> None:
    """Somebody leads, and commits."""
    assert cluster.leaders(), f"{label}: nobody leads"
    leader = cluster.leader()
    before = cluster[leader].commit_index
    cluster.propose(leader, 2)
    cluster.run(300)
    assert cluster[leader].commit_index > before, f"{label}: nothing is committed any more"


def test_bm_039_mutant_is_found_by_the_deaths_of_leaders() -> None:
    """The others need the vote of somebody who has not heard that it has one."""
    with put_back(UNHEARD_PROMOTION), pytest.raises(AssertionError, match="nobody leads"):
        test_whenever_the_leader_dies_the_group_ends_in_one_configuration("a b c", "a b c d e")
