"""The divergence alarm: who is odd stops within so many entries, and everybody says so (BM-119)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.peer.test_taking_snapshots import fill
from tests.unit.peer.world import NAMES, World, host_settings, snapshots_every, wrote
from zraft.limits import ALARM_PATIENCE_MS
from zraft.machine.backend import Applied, Backend, Context
from zraft.peer.host import HostSettings
from zraft.types import PeerId
from zraft.wire.states import StateReport, StateVerdict

EVERY = 8


class Kept(Backend):
    """Keeps the last value. On an odd node it keeps another one, or answers another one, from command "go" on."""

    name = "kept"
    odd: dict[str, str] = {}  # noqa: RUF012 - set by the tests of this file, for the nodes of their own world

    def __init__(self, peer_id: PeerId) -> None:
        super().__init__(peer_id)
        self.value: Any = None
        self.is_on = False

    def apply(self, command: Any, ctx: Context) -> Any:
        self.is_on = self.is_on or command == "go"
        way = self.odd.get(self.peer_id.node, "") if self.is_on else ""
        self.value = (command, way) if way.startswith("state") else command
        return Applied((command, way) if way.startswith("result") else "ok", ("k",) if way != "quiet" else ("odd",))

    def query(self, query: Any) -> Any:
        return self.value

    def digest(self) -> int:
        return sum(repr(self.value).encode())


def world_of(
    monkeypatch: pytest.MonkeyPatch, odd: dict[str, str], *, names: tuple[str, ...] = NAMES, every: int = EVERY
) -> World:
    """A group of `names` that the first one leads, with these nodes odd."""
    monkeypatch.setattr(Kept, "odd", odd)
    world = World(names, host_settings(alarm_entries=every), {"kept": Kept})
    assert world.found(backend="kept") == names[0]
    return world


def write(world: World, *, until: int) -> None:
    """The log grows to `until`, as far as there is a leader for it, and everybody hears what is committed."""
    while (leader := world.leader()) is not None and world[leader].peer().raft.log.last_index < until:
        world.write(leader, "go")
        world.settle()
    world.advance(150)


def faults(world: World) -> dict[str, str]:
    """Of those that have failed, by node."""
    return {node: world[node].it.failed["p"].fault for node in world.nodes if "p" in world[node].it.failed}


def standing(world: World, node: str) -> str:
    """The fault in the status of the replica there."""
    status = world[node].it.status("p")
    assert status is not None
    return status.fault or ""


def alarms(world: World, node: str) -> list[str]:
    """What an operator is told there."""
    return [note.text for note in world[node].notes if note.is_alarm]


@pytest.mark.parametrize("way", ["state", "result", "quiet"])
def test_a_follower_that_differs_stops_within_so_many_entries(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """Whether its state, its results or its changed keys are others; the others go on and say so."""
    world = world_of(monkeypatch, {"n2:1": way})
    write(world, until=2 * EVERY)
    assert list(faults(world)) == ["n2:1"]
    assert world["n1:1"].peer().machine.last_applied <= 2 * EVERY
    for node in ("n1:1", "n3:1"):
        assert standing(world, node).startswith("p@n2:1 diverged: "), standing(world, node)
        assert any("p@n2:1 diverged" in text for text in alarms(world, node))
        assert world[node].peer().fault is None
    assert any("its state diverged" in text for text in alarms(world, "n2:1"))
    assert standing(world, "n2:1").startswith("its state diverged from that of its group: ")
    wrote(world, "n3:1" if world.lead() == "n3:1" else "n1:1", "more", 1)


def test_the_first_entry_with_another_effect_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as effects were noted: here every entry's were."""
    world = world_of(monkeypatch, {"n2:1": "result"})
    first = world["n1:1"].peer().raft.log.last_index + 1
    write(world, until=EVERY)
    assert f"entry {first} had another effect" in faults(world)["n2:1"]
    assert f"entry {first} had another effect" in standing(world, "n1:1")


def test_the_last_index_at_which_all_were_alike_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the first one at which they were not."""
    world = world_of(monkeypatch, {})
    write(world, until=EVERY)
    monkeypatch.setattr(Kept, "odd", {"n3:1": "state"})
    write(world, until=3 * EVERY)
    assert f"alike after index {EVERY}, another one after index {2 * EVERY}" in faults(world)["n3:1"]


def test_a_leader_that_differs_from_two_followers_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    """The majority counts, not the role; another one leads then."""
    world = world_of(monkeypatch, {"n1:1": "state"})
    write(world, until=2 * EVERY)
    world.until(lambda: world.leader() in ("n2:1", "n3:1"))
    assert list(faults(world)) == ["n1:1"]
    assert "p@n1:1 diverged" in standing(world, "n2:1")
    write(world, until=5 * EVERY)
    assert list(faults(world)) == ["n1:1"]


def test_where_no_majority_can_tell_the_followers_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients have seen the leader's answers; with all three different nobody is left to go on, and that is right."""
    world = world_of(monkeypatch, {"n2:1": "state 2", "n3:1": "state 3"})
    write(world, until=EVERY)
    world.settle()
    assert list(faults(world)) == ["n2:1", "n3:1"]
    pair = world_of(monkeypatch, {"n1:1": "state"}, names=NAMES[:2])
    write(pair, until=EVERY)
    assert list(faults(pair)) == ["n2:1"]


def test_a_voter_that_may_still_tell_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that differ are one against one until the third has come so far: here it is on the follower's side."""
    world = world_of(monkeypatch, {"n1:1": "state"})
    world.cut("n3:1")
    write(world, until=EVERY)
    assert not faults(world)
    assert any("p@n3:1 may tell which one counts" in text for text in alarms(world, "n1:1"))
    world.heal()
    world.until(lambda: bool(faults(world)))
    assert list(faults(world)) == ["n1:1"]


def test_a_voter_that_stays_silent_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the leader's state counts."""
    world = world_of(monkeypatch, {"n2:1": "state"})
    world.cut("n3:1")
    write(world, until=EVERY)
    world.advance(ALARM_PATIENCE_MS)
    assert not faults(world)
    write(world, until=2 * EVERY)
    assert list(faults(world)) == ["n2:1"]


def test_what_was_lost_is_made_up_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report repeats the last samples, and a verdict comes again with the next report."""
    world = world_of(monkeypatch, {"n2:1": "state"})
    world.loses_states = True
    write(world, until=2 * EVERY)
    assert not faults(world)
    world.loses_states = False
    write(world, until=3 * EVERY)
    assert list(faults(world)) == ["n2:1"]


def test_all_is_well_again_once_the_odd_one_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its node is started anew, without what made it odd, and applies its log again."""
    world = world_of(monkeypatch, {"n2:1": "state"})
    write(world, until=EVERY)
    assert list(faults(world)) == ["n2:1"]
    monkeypatch.setattr(Kept, "odd", {})
    world["n2:1"].crash("killed")
    world["n2:1"].start()
    world.settle()
    write(world, until=2 * EVERY)
    assert not faults(world)
    assert [standing(world, node) for node in world.nodes] == ["", "", ""]
    assert any("all states are alike" in text for text in alarms(world, "n3:1"))


def test_versions_that_count_differently_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a group is upgraded, a digest that is made in another way says nothing."""
    world = world_of(monkeypatch, {"n2:1": "state"})
    monkeypatch.setattr("zraft.peer.alarm.method_of", lambda machine: sum(machine.backend.peer_id.node.encode()))
    write(world, until=3 * EVERY)
    assert not faults(world)
    assert any(isinstance(word, StateReport) for word in world.states)
    assert not any(isinstance(word, StateVerdict) for word in world.states)


def test_nothing_is_compared_where_that_was_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """0 entries: never."""
    world = world_of(monkeypatch, {"n2:1": "state"}, every=0)
    write(world, until=3 * EVERY)
    assert not faults(world)
    assert not world.states


@pytest.mark.parametrize("backend", ["dict", "table"])
def test_a_snapshot_makes_the_same_samples_as_the_log(backend: str) -> None:
    """Who was given a snapshot is compared with who applied every entry, and is like them."""
    settings: HostSettings = snapshots_every(10, alarm_entries=EVERY)
    world = World(settings=settings)
    leader = world.found(backend=backend)
    behind = world.followers()[0]
    world.cut(behind)
    for number in range(40):
        command = (f"k{number % 7}", number) if backend == "dict" else ("put", f"k{number % 7}", number, None)
        world.write(leader, command)
        world.settle()
    world.heal()
    world.until(lambda: world[behind].peer().machine.last_applied >= 40)
    fill(world, 80, leader) if backend == "dict" else None
    for number in range(30):
        world.write(leader, (f"x{number}", number) if backend == "dict" else ("put", f"x{number}", number, None))
        world.settle()
    ours = world[behind].peer().alarm.sampling.samples
    theirs = world[leader].peer().alarm.sampling.samples
    common = [index for index in ours if index in theirs]
    assert len(common) >= 2
    assert [ours[index] for index in common] == [theirs[index] for index in common]
    assert not faults(world)
