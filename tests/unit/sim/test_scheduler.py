"""The scheduler: order, pauses, lives, clocks."""

from __future__ import annotations

from zraft.sim.chance import Chance
from zraft.sim.scheduler import ANY_LIFE, Clock, Owner, Scheduler


def order_of(seed: int) -> list[int]:
    scheduler, seen = Scheduler(Chance(seed)), list[int]()
    for number in range(6):
        scheduler.at(5, seen.append, number)
    scheduler.run_until(5)
    return seen


def test_events_run_in_order_of_time() -> None:
    """Whatever the order in which they were scheduled; time jumps to each and on to the end."""
    scheduler, seen = Scheduler(Chance(1)), list[int]()
    for time_ms in (30, 10, 20, 40):
        scheduler.at(time_ms, seen.append, time_ms)
    scheduler.run_until(35)
    assert (seen, scheduler.now_ms, scheduler.performed, len(scheduler)) == ([10, 20, 30], 35, 3, 1)


def test_events_of_one_millisecond_are_shuffled_by_the_seed() -> None:
    """The same seed the same order, another seed another."""
    assert order_of(1) == order_of(1)
    assert len({tuple(order_of(seed)) for seed in range(5)}) > 1


def test_an_event_of_the_past_runs_now() -> None:
    """Time never goes back."""
    scheduler, seen = Scheduler(Chance(1)), list[int]()
    scheduler.run_until(50)
    scheduler.at(10, lambda _: seen.append(scheduler.now_ms))
    scheduler.run_until(60)
    assert seen == [50]


def test_a_paused_owner_gets_its_events_afterwards_while_its_clock_runs() -> None:
    """SIGSTOP: everything that was due is due at once."""
    scheduler, seen = Scheduler(Chance(1)), list[int]()
    owner = Owner("a")
    owner.paused_until_ms = 100
    scheduler.at(10, lambda _: seen.append(owner.clock.reading(scheduler.now_ms)), owner=owner)
    scheduler.after(20, lambda _: seen.append(owner.clock.reading(scheduler.now_ms)))
    scheduler.run_until(200)
    assert seen == [21, 101]


def test_events_die_with_the_life_that_they_belong_to() -> None:
    """Except those that belong to any life."""
    scheduler, seen = Scheduler(Chance(1)), list[str]()
    owner = Owner("a")
    scheduler.at(10, seen.append, "timer", owner=owner)
    scheduler.at(10, seen.append, "packet", owner=owner, life=ANY_LIFE)
    owner.end_life()
    scheduler.run_until(20)
    assert seen == ["packet"]


def test_clock_reads_and_foretells_at_its_own_rate() -> None:
    """`when` is the first true millisecond at which `reading` shows the value, before and after a change of rate."""
    clock = Clock(rate=1500, offset_ms=1000)
    assert [clock.reading(0), clock.reading(10)] == [1000, 1015]
    clock.change_rate(10, 500)
    assert clock.reading(30) == 1025
    for wanted in range(1016, 1030):
        when = clock.when(wanted)
        assert clock.reading(when) >= wanted > clock.reading(when - 1)
