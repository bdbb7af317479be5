"""Watches of a session: each fires once, nothing that fired is lost, and a waiter on its reference comes first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from zraft.client.triggers import Triggers, WatchTrigger
from zraft.errors import Overloaded
from zraft.limits import SESSION_WATCHES


def watching(*refs: str) -> Triggers[str]:
    """Watches 1, 2, ... are open, on these references."""
    triggers: Triggers[str] = Triggers()
    for number, ref in enumerate(refs, 1):
        triggers.ask(number, ref)
        assert triggers.opened(number) == []
    return triggers


def change(ref: str) -> WatchTrigger:
    return WatchTrigger(ref, "change")


def leader(ref: str) -> WatchTrigger:
    return WatchTrigger(ref, "change_leader")


def test_a_watch_fires_once() -> None:
    """To watch on, one asks again."""
    triggers = watching("a")
    assert triggers.wait_any("w") is None
    assert triggers.fired(1) == [("w", change("a"))]
    assert triggers.wait_any("w") is None
    assert triggers.fired(1) == []
    assert triggers.lost() == []


def test_what_fires_before_anybody_waits_is_kept_in_its_order() -> None:
    """For whoever takes any, the first that fired comes first."""
    triggers = watching("a", "b", "a")
    for number in (2, 1, 3):
        assert triggers.fired(number) == []
    assert [triggers.wait_any("w") for _ in range(3)] == [change("b"), change("a"), change("a")]
    assert triggers.wait_any("w") is None


def test_a_waiter_on_the_reference_comes_before_one_on_any() -> None:
    """Even where that one has waited longer; what nobody waits for goes to it."""
    triggers = watching("a", "b")
    assert triggers.wait_any("any") is None
    assert triggers.wait_on("on a", "a") is None
    assert triggers.fired(1) == [("on a", change("a"))]
    assert triggers.fired(2) == [("any", change("b"))]


def test_of_two_waiters_the_first_is_served_first_and_each_once() -> None:
    """A watch is one trigger."""
    triggers = watching("a", "a")
    assert triggers.wait_on("first", "a") is None
    assert triggers.wait_on("second", "a") is None
    assert triggers.fired(2) == [("first", change("a"))]
    assert triggers.fired(1) == [("second", change("a"))]


def test_a_kept_trigger_waits_for_its_reference() -> None:
    """Whoever waits on another one does not get it."""
    triggers = watching("a")
    triggers.fired(1)
    assert triggers.wait_on("w", "b") is None
    assert triggers.wait_on("w", "a") == change("a")
    assert triggers.count == 0


def test_the_loss_of_the_leader_fires_every_open_watch() -> None:
    """In the order in which they were opened; what has fired stays what it was."""
    triggers = watching("a", "b", "c")
    triggers.fired(2)
    assert triggers.wait_on("w", "c") is None
    assert triggers.lost() == [("w", leader("c"))]
    assert [triggers.wait_any("w") for _ in range(2)] == [change("b"), leader("a")]


def test_a_leader_may_say_itself_that_it_leads_no_longer() -> None:
    """The reason is the one that it gives."""
    triggers = watching("a")
    assert triggers.fired(1, "change_leader") == []
    assert triggers.wait_any("w") == leader("a")


def test_a_watch_that_fires_before_its_query_is_answered_has_fired() -> None:
    """The frame that brings both brings the answer first, but the caller runs later."""
    triggers: Triggers[str] = Triggers()
    triggers.ask(1, "a")
    assert triggers.fired(1) == []
    assert triggers.opened(1) == []
    assert triggers.wait_any("w") == change("a")


def test_a_leader_lost_between_the_answer_and_its_caller_is_told_once_the_caller_has_the_answer() -> None:
    """Not before: a query that was not answered is asked again, and sets a watch of its own."""
    triggers: Triggers[str] = Triggers()
    triggers.ask(1, "a")
    triggers.ask(2, "b")
    assert triggers.lost() == []
    assert triggers.wait_any("w") is None
    triggers.forget(2)
    assert triggers.opened(1) == [("w", leader("a"))]
    assert triggers.opened(2) == []


def test_a_watch_that_nobody_asked_for_or_that_was_forgotten_fires_nothing() -> None:
    """Late words of an earlier leader, or of a query whose caller has gone."""
    triggers = watching("a")
    triggers.ask(2, "b")
    triggers.forget(2)
    assert triggers.fired(2) == []
    assert triggers.fired(7) == []
    assert triggers.wait_any("w") is None


def test_what_a_cancelled_waiter_was_given_goes_to_the_next() -> None:
    """Or is kept."""
    triggers = watching("a")
    triggers.wait_any("cancelled")
    ((_, trigger),) = triggers.fired(1)
    assert triggers.wait_any("next") is None
    assert triggers.give_back(trigger) == [("next", change("a"))]
    assert triggers.give_back(trigger) == []
    assert triggers.wait_any("last") == change("a")


def test_a_waiter_that_left_is_given_nothing() -> None:
    """Neither on a reference nor on any."""
    triggers = watching("a")
    triggers.wait_any("any")
    triggers.wait_on("on", "a")
    triggers.leave("any")
    triggers.leave("on", "a")
    assert triggers.fired(1) == []
    assert triggers.wait_on("late", "a") == change("a")


def test_what_is_forgotten_fires_nothing_and_is_kept_no_more() -> None:
    """By its reference; others are as they were."""
    triggers = watching("a", "b", "a", "b")
    for number in (1, 2):
        triggers.fired(number)
    assert triggers.forget_all("a") == [3]
    assert triggers.fired(3) == []
    assert triggers.count == 2
    assert triggers.wait_any("w") == change("b")
    assert triggers.lost() == []
    assert triggers.wait_any("w") == leader("b")


def test_the_end_wakes_everybody_and_forgets_everything() -> None:
    """Nothing is told of a session that is over."""
    triggers = watching("a", "b")
    triggers.fired(2)
    triggers.wait_on("on", "c")
    triggers.wait_on("too", "c")
    assert triggers.end() == ["on", "too"]
    assert triggers.count == 0
    assert triggers.lost() == []


@given(st.integers(0, SESSION_WATCHES))
def test_open_and_untaken_watches_share_one_bound(fired: int) -> None:
    """Whoever never takes what fired is refused one more, and nothing is forgotten."""
    triggers = watching(*(["a"] * SESSION_WATCHES))
    for number in range(1, fired + 1):
        triggers.fired(number)
    with pytest.raises(Overloaded) as refused:
        triggers.ask(SESSION_WATCHES + 1, "a")
    assert refused.value.reason == "watches"
    assert triggers.count == SESSION_WATCHES


class Books(RuleBasedStateMachine):
    """Whatever happens: each watch that was opened is given exactly once, or is still open or kept."""

    def __init__(self) -> None:
        super().__init__()
        self.triggers: Triggers[int] = Triggers()
        self.numbers, self.waiters = 0, 0
        self.asked: list[int] = []
        self.opened = self.given = 0
        self.waiting: dict[int, str | None] = {}

    def take(self, deliveries: list[tuple[int, WatchTrigger]]) -> None:
        for waiter, trigger in deliveries:
            wanted = self.waiting.pop(waiter)
            assert wanted in (None, trigger.ref)
            assert wanted is not None or trigger.ref not in self.waiting.values()
            self.given += 1

    @rule(ref=st.sampled_from("abc"))
    def ask(self, ref: str) -> None:
        self.numbers += 1
        self.triggers.ask(self.numbers, ref)
        self.asked.append(self.numbers)

    @rule(is_answered=st.booleans())
    def answer(self, is_answered: bool) -> None:
        for number in self.asked:
            if is_answered:
                self.opened += 1
                self.take(self.triggers.opened(number))
            self.triggers.forget(number)
        self.asked.clear()

    @rule(data=st.data())
    def fire(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(0, self.numbers))
        if number not in self.asked:
            self.take(self.triggers.fired(number))

    @rule()
    def lose(self) -> None:
        self.take(self.triggers.lost())

    @rule(ref=st.sampled_from([None, "a", "b", "c"]))
    def wait(self, ref: str | None) -> None:
        self.waiters += 1
        waiter = self.waiters
        kept = self.triggers.wait_any(waiter) if ref is None else self.triggers.wait_on(waiter, ref)
        if kept is None:
            self.waiting[waiter] = ref
        else:
            assert ref in (None, kept.ref)
            self.given += 1

    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        if self.waiting:
            waiter = data.draw(st.sampled_from(sorted(self.waiting)))
            self.triggers.leave(waiter, self.waiting.pop(waiter))

    @invariant()
    def every_watch_is_somewhere(self) -> None:
        missed = sum(number in self.triggers._missed for number in self.asked)
        assert self.triggers.count + missed == self.opened - self.given + len(self.asked)


TestBooks = Books.TestCase
