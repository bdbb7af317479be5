"""Deadlines and sockets: who is heard first. The loop is a list of calls, and time stands in the test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from zraft.node import timekeeper
from zraft.node.timekeeper import PASSES, Timekeeper


class Handle:
    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        self.call = None


class Loop:
    """What a Timekeeper uses of a loop. `go_round` is one pass: the calls that wait, in order."""

    def __init__(self) -> None:
        self.ready: list[Callable[[], None]] = []
        self.timers: list[tuple[float, Handle]] = []

    def call_soon(self, call: Callable[..., None], *arguments: object) -> None:
        self.ready.append(lambda: call(*arguments))

    def call_later(self, delay: float, call: Callable[[], None]) -> Handle:
        handle = Handle(call)
        self.timers.append((delay, handle))
        return handle

    def go_round(self) -> None:
        ready, self.ready = self.ready, []
        for call in ready:
            call()

    def fire(self) -> None:
        timers, self.timers = self.timers, []
        for _, handle in timers:
            if handle.call is not None:
                handle.call()

    def armed(self) -> list[float]:
        return [delay for delay, handle in self.timers if handle.call is not None]


class Scene:
    """A Timekeeper with a host that wants to be woken at `wake`, and what its turns were told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.wake = 1000, 1500
        monkeypatch.setattr(timekeeper, "now_ms", lambda: self.now)
        self.loop = Loop()
        self.keeper = Timekeeper(cast(asyncio.AbstractEventLoop, self.loop), self.turn)
        self.told: list[int] = []

    def turn(self) -> None:
        now = self.keeper.believed_ms()
        self.told.append(now)
        if now >= self.wake:
            self.wake = now + 500
        self.keeper.turn_ended(self.wake)


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(monkeypatch)


def test_many_requests_are_one_turn(scene: Scene) -> None:
    """Everything that one pass of the loop brought shares a turn."""
    for _ in range(5):
        scene.keeper.schedule_turn()
    scene.loop.go_round()
    scene.loop.go_round()
    assert scene.told == [1000]
    assert scene.loop.armed() == [0.5]


def test_a_deadline_is_believed_after_a_look_at_the_sockets(scene: Scene) -> None:
    """The loop goes round before time counts: what waited in the sockets came first."""
    scene.keeper.schedule_turn()
    scene.loop.go_round()
    scene.now = 1501
    scene.loop.fire()
    scene.loop.go_round()
    assert scene.told == [1000, 1499]
    for _ in range(3):
        scene.loop.go_round()
    assert scene.told == [1000, 1499, 1501]
    assert scene.loop.armed() == [0.5]


def test_a_turn_that_is_due_already_does_not_overtake_the_sockets(scene: Scene) -> None:
    """The loop was held up with a turn in its hands: that turn is told the moment before the deadline too."""
    scene.keeper.schedule_turn()
    scene.loop.go_round()
    scene.keeper.schedule_turn()
    scene.now = 4000
    scene.loop.go_round()
    assert scene.told[-1] == 1499
    scene.keeper.schedule_turn()
    scene.loop.go_round()
    assert scene.told[-1] == 1499
    for _ in range(3):
        scene.loop.go_round()
    assert scene.told[-1] == 4000


def test_while_messages_come_they_are_read_first_up_to_a_bound(scene: Scene) -> None:
    """Other nodes' messages go on arriving: read on, but not for ever."""
    scene.keeper.schedule_turn()
    scene.loop.go_round()
    scene.now = 4000
    scene.keeper.schedule_turn()
    scene.loop.go_round()
    rounds = 0
    while scene.told[-1] != 4000:
        scene.keeper.peer_frames += 1
        scene.loop.go_round()
        rounds += 1
    assert 4 < rounds <= PASSES + 2


def test_a_deadline_that_stays_is_armed_once(scene: Scene) -> None:
    """The same deadline after another turn: the timer that runs is the right one."""
    for _ in range(3):
        scene.keeper.schedule_turn()
        scene.loop.go_round()
    assert len(scene.loop.timers) == 1
    scene.wake = 1200
    scene.keeper.schedule_turn()
    scene.loop.go_round()
    assert scene.loop.armed() == [0.2]


def test_without_a_deadline_nothing_wakes_the_host(scene: Scene) -> None:
    """A node without replicas sleeps; one that stops is woken no more."""
    scene.keeper.turn_ended(None)
    assert scene.loop.armed() == []
    assert scene.keeper.believed_ms() == 1000
    scene.keeper.turn_ended(1500)
    scene.keeper.cancel()
    scene.keeper.cancel()
    assert scene.loop.armed() == []


def test_the_clock_is_monotonic() -> None:
    """Milliseconds that never fall."""
    readings: list[Any] = [timekeeper.now_ms() for _ in range(100)]
    assert readings == sorted(readings)
