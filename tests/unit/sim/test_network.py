"""The network: what each kind of weather and each shape of a partition does to frames."""

from __future__ import annotations

import pytest

from zraft.sim.chance import MILLION, Chance
from zraft.sim.network import (
    Link,
    Network,
    Weather,
    bridge,
    chain,
    halves,
    isolate,
    one_way,
    star_only,
)
from zraft.sim.scheduler import Owner, Scheduler

NAMES = ["a", "b", "c", "d", "e"]


class World:
    def __init__(self, weather: Weather) -> None:
        self.scheduler = Scheduler(Chance(1))
        self.arrived: list[tuple[int, str, str, bytes]] = []
        self.network = Network(self.scheduler, Chance(2), self._deliver)
        self.network.weather = weather
        self.owners = [Owner(name) for name in NAMES]
        for owner in self.owners:
            self.network.attach(owner)

    def _deliver(self, source: str, destination: str, frame: bytes) -> None:
        self.arrived.append((self.scheduler.now_ms, source, destination, frame))


def test_a_frame_arrives_after_its_delay() -> None:
    """The plain case."""
    world = World(Weather(delay_ms=7))
    world.network.send("a", "b", b"x")
    world.scheduler.run_until(100)
    assert world.arrived == [(7, "a", "b", b"x")]
    assert world.network.names() == NAMES


def test_jitter_lets_frames_overtake_each_other() -> None:
    """Reordering."""
    world = World(Weather(jitter_ms=50))
    frames = [bytes([number]) for number in range(20)]
    for frame in frames:
        world.network.send("a", "b", frame)
    world.scheduler.run_until(10_000)
    order = [frame for _, _, _, frame in world.arrived]
    assert sorted(order) == frames
    assert order != frames


def test_loss_duplication_and_replay_are_counted_and_happen() -> None:
    """A lost frame never arrives, a duplicate soon, a replay late."""
    lost = World(Weather(loss=MILLION))
    lost.network.send("a", "b", b"x")
    lost.scheduler.run_until(100)
    assert (lost.arrived, lost.network.tally.lost) == ([], 1)
    twice = World(Weather(duplicate=MILLION, replay=MILLION, replay_ms=5000))
    for _ in range(20):
        twice.network.send("a", "b", b"x")
    twice.scheduler.run_until(10_000)
    assert len(twice.arrived) == 60
    assert max(time_ms for time_ms, *_ in twice.arrived) > 2000


def test_one_link_may_have_its_own_weather_until_it_clears() -> None:
    """Direction matters: the way back is as the others."""
    world = World(Weather())
    world.network.set_weather("a", "b", Weather(loss=MILLION))
    world.network.send("a", "b", b"x")
    world.network.send("b", "a", b"y")
    world.network.clear_weather(Weather())
    world.network.send("a", "b", b"z")
    world.scheduler.run_until(10)
    assert [frame for *_, frame in world.arrived] == [b"y", b"z"] or [frame for *_, frame in world.arrived] == [
        b"z",
        b"y",
    ]


def test_a_clogged_link_lets_everything_go_at_once() -> None:
    """A burst."""
    world = World(Weather())
    world.network.clog("a", "b", 500)
    for _ in range(3):
        world.network.send("a", "b", b"x")
    world.scheduler.run_until(1000)
    assert [time_ms for time_ms, *_ in world.arrived] == [500] * 3
    assert world.network.tally.clogged == 3


def test_a_cut_link_loses_what_is_sent_and_what_is_under_way() -> None:
    """One way only; mended, it carries again."""
    world = World(Weather(delay_ms=10))
    network = world.network
    network.send("a", "b", b"under way")
    network.cut("a", "b")
    network.send("a", "b", b"sent")
    network.send("b", "a", b"back")
    world.scheduler.run_until(50)
    network.mend("a", "b")
    network.send("a", "b", b"mended")
    network.cut("c", "d")
    assert network.is_cut("c", "d")
    assert network.cut_links() == [("c", "d")]
    network.mend_all()
    network.send("c", "d", b"all")
    world.scheduler.run_until(100)
    assert sorted(frame for *_, frame in world.arrived) == [b"all", b"back", b"mended"]
    assert network.tally.cut == 2


def test_frames_to_a_paused_node_wait() -> None:
    """They lie in its socket."""
    world = World(Weather())
    world.owners[1].paused_until_ms = 300
    world.network.send("a", "b", b"x")
    world.scheduler.run_until(400)
    assert world.arrived == [(300, "a", "b", b"x")]


@pytest.mark.parametrize(
    ("links", "talking"),
    [
        (isolate(NAMES, "a"), {"bc", "bd", "be", "cd", "ce", "de"}),
        (halves(NAMES, ["a", "b"]), {"ab", "cd", "ce", "de"}),
        (bridge(NAMES, "c"), {"ab", "ac", "bc", "cd", "ce", "de"}),
        (chain(NAMES), {"ab", "bc", "cd", "de"}),
        (star_only(NAMES, "a", "b"), {"ab", "bc", "bd", "be", "cd", "ce", "de"}),
    ],
)
def test_a_shape_leaves_exactly_its_links(links: list[Link], talking: set[str]) -> None:
    """Each shape is symmetric and leaves the pairs that its name promises."""
    left = {
        one + other
        for one in NAMES
        for other in NAMES
        if one < other and (one, other) not in links and (other, one) not in links
    }
    assert left == talking
    assert all((other, one) in links for one, other in links)


def test_one_way_makes_one_deaf_but_not_mute() -> None:
    """The asymmetric partition."""
    assert one_way(["a", "b", "c"], "a") == [("b", "a"), ("c", "a")]
