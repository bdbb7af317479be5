"""What a session decides: its life, by a clock given from outside, and which writes go out under which number."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from zraft.client.session_state import PATIENCE_S, Lifeline, Pending, Window
from zraft.errors import ConnectionTimeout, InvariantViolation, Overloaded, SessionClosed, SessionExpired
from zraft.limits import SESSION_UNANSWERED

T = 10.0


def lifeline(*, answered: float | None = 100.0) -> Lifeline:
    """Begun at 100, and connected unless `answered` is None."""
    line = Lifeline(T, 100.0)
    if answered is not None:
        line.answered(answered)
        line.found()
    return line


def state(line: Lifeline) -> str:
    return line.state


def test_a_session_that_is_not_answered_in_time_was_never_connected() -> None:
    """Not `SessionExpired`: there was none."""
    line = lifeline(answered=None)
    assert state(line) == "connecting"
    assert not line.check(109.9)
    assert line.check(110.0)
    assert state(line) == "closed"
    assert isinstance(line.error(), ConnectionTimeout)


def test_a_session_expires_a_timeout_after_the_last_answered_ping_was_sent() -> None:
    """Sent, not answered: the leader counts from a later moment, and is never the first to give up."""
    line = lifeline(answered=101.0)
    assert line.expires_at == 111.0
    line.answered(105.0)
    assert not line.check(114.9)
    assert line.state_at(115.0) == "expired"
    assert state(line) == "connected"
    assert line.check(115.0)
    assert state(line) == "expired"
    assert isinstance(line.error(), SessionExpired)


def test_answers_out_of_order_never_shorten_a_life_and_none_brings_it_back() -> None:
    """An expired session stays that."""
    line = lifeline(answered=105.0)
    line.answered(101.0)
    assert line.expires_at == 115.0
    assert line.check(116.0)
    line.answered(116.0)
    assert line.check(116.5)
    assert line.expires_at == 115.0


def test_a_lost_leader_suspends_and_an_answer_alone_does_not_end_that() -> None:
    """It may be late, of the leader that was lost; whoever is asked now has to be found first."""
    line = lifeline()
    line.lost()
    line.answered(101.0)
    assert state(line) == "suspended"
    assert not line.is_connected
    line.found()
    assert state(line) == "connected"


def test_a_ping_is_due_half_a_timeout_after_what_was_answered_last() -> None:
    """A write that is answered does what a ping does."""
    line = lifeline()
    assert line.ping_at == 105.0
    line.answered(104.0)
    assert line.ping_at == 109.0


@pytest.mark.parametrize(("timeout", "patience"), [(2.0, 0.5), (60.0, PATIENCE_S)])
def test_a_peer_is_silent_when_it_owes_an_answer_and_nothing_was_heard_for_a_while(
    timeout: float, patience: float
) -> None:
    """With a short session, soon enough for another peer to be asked."""
    line = Lifeline(timeout, 0.0)
    line.asked(1.0, owed=False)
    assert line.silent_at(0.5) == 1.0 + patience
    line.asked(1.1, owed=True)
    assert line.silent_at(0.5) == 1.0 + patience
    assert line.silent_at(1.2) == 1.2 + patience
    line.asked(9.0, owed=False)
    assert line.silent_at(1.2) == 9.0 + patience


def test_the_first_end_is_the_end() -> None:
    """And every call is told the same, with what is true of it."""
    line = lifeline()
    with pytest.raises(InvariantViolation):
        line.error()
    line.end("closed", SessionClosed("stopped"))
    line.end("expired", SessionExpired("late"))
    assert state(line) == "closed"
    told = line.error("maybe")
    assert isinstance(told, SessionClosed)
    assert told.executed == "maybe"
    assert line.error().executed == "no"


def send_all(window: Window[str]) -> list[tuple[int, str]]:
    """Number and command of everything that is to be sent now."""
    out = []
    while (write := window.next_to_send()) is not None:
        window.sent(write, 0.0)
        out.append((write.sequence, write.call))
    return out


def test_writes_are_numbered_in_the_order_of_the_calls() -> None:
    """From 1, or after the last number that a resumed session has used."""
    window: Window[str] = Window()
    for command in "abc":
        window.add(command, temporary=False)
    assert send_all(window) == [(1, "a"), (2, "b"), (3, "c")]
    assert send_all(window) == []
    later: Window[str] = Window(7)
    assert (later.acknowledged, later.add("d", temporary=False).sequence) == (7, 8)


def test_only_a_row_of_answers_without_a_gap_is_acknowledged() -> None:
    """The replicas forget what is acknowledged."""
    window: Window[str] = Window()
    a, b, c = (window.add(command, temporary=False) for command in "abc")
    send_all(window)
    window.answered(b)
    assert window.acknowledged == 0
    window.answered(a)
    assert window.acknowledged == 2
    window.answered(c)
    assert window.acknowledged == 3


def test_after_a_loss_what_is_unanswered_goes_out_again_under_its_numbers() -> None:
    """So that it runs once, whatever became of the first copy."""
    window: Window[str] = Window()
    a, b, c = (window.add(command, temporary=False) for command in "abc")
    send_all(window)
    window.answered(b)
    window.rewind()
    assert send_all(window) == [(1, "a"), (3, "c")]
    assert [write.executed for write in (a, c)] == ["maybe", "maybe"]


def test_a_refused_write_goes_out_again_and_those_behind_it_only_when_they_are_refused_too() -> None:
    """They are under way, and their refusal is on its way back."""
    window: Window[str] = Window()
    _, b, c = (window.add(command, temporary=False) for command in "abc")
    send_all(window)
    window.refused(b)
    assert (b.executed, c.executed) == ("no", "maybe")
    assert send_all(window) == [(2, "b")]
    window.refused(c)
    assert send_all(window) == [(3, "c")]


def test_one_write_more_than_may_be_unanswered_is_refused() -> None:
    """Counted from the first that is unanswered, as the replicas do."""
    window: Window[int] = Window()
    writes = [window.add(number, temporary=False) for number in range(SESSION_UNANSWERED)]
    for write in writes[1:]:
        window.answered(write)
    with pytest.raises(Overloaded):
        window.add(0, temporary=False)
    assert window.add(0, temporary=False, is_bound=False).sequence == SESSION_UNANSWERED + 1
    window.answered(writes[0])
    assert window.add(0, temporary=False).sequence == SESSION_UNANSWERED + 2


def test_what_no_leader_takes_leaves_its_number_to_the_next() -> None:
    """Once nothing behind it is under way, and then in the old order."""
    window: Window[str] = Window()
    a, b, c, d = (window.add(command, temporary=False) for command in "abcd")
    send_all(window)
    window.leave_out(b)
    assert not window.is_stuck
    window.answered(a)
    assert window.acknowledged == 1
    window.refused(c)
    window.add("e", temporary=False)
    assert send_all(window) == []
    window.refused(d)
    assert send_all(window) == [(2, "c"), (3, "d"), (4, "e")]
    assert window.add("f", temporary=False).sequence == 5


def test_the_last_of_all_is_left_out_at_once() -> None:
    """There is nothing behind it."""
    window: Window[str] = Window()
    write = window.add("a", temporary=False)
    send_all(window)
    window.leave_out(write)
    assert window.acknowledged == 0
    window.add("b", temporary=False)
    assert send_all(window) == [(1, "b")]


def test_two_that_are_left_out_make_one_hole() -> None:
    """Both are refused before those behind them."""
    window: Window[str] = Window()
    a, b, c = (window.add(command, temporary=False) for command in "abc")
    send_all(window)
    window.leave_out(b)
    window.leave_out(a)
    window.refused(c)
    assert send_all(window) == [(1, "c")]


def test_nothing_moves_up_while_an_old_copy_may_still_come() -> None:
    """Under its old number it would run in the place of another write."""
    window: Window[str] = Window()
    a, _ = (window.add(command, temporary=False) for command in "ab")
    send_all(window)
    window.rewind()
    send_all(window)
    window.leave_out(a)
    assert window.is_stuck
    assert send_all(window) == []


def test_a_loss_while_there_is_a_hole_is_the_end() -> None:
    """What was under way behind it may run under the old number."""
    window: Window[str] = Window()
    a, _ = (window.add(command, temporary=False) for command in "ab")
    send_all(window)
    window.leave_out(a)
    assert not window.is_stuck
    window.rewind()
    assert window.is_stuck


def test_an_answer_behind_a_hole_cannot_be() -> None:
    """No replica runs a write before its predecessor: this one lies, or we do."""
    window: Window[str] = Window()
    a, b = (window.add(command, temporary=False) for command in "ab")
    send_all(window)
    window.leave_out(a)
    with pytest.raises(InvariantViolation):
        window.answered(b)


class ExactlyOnce(RuleBasedStateMachine):
    """A window against a replica's rules, with copies that are lost, late, refused and delivered twice.

    Every command runs at most once, in the order of the calls, and an answer is the one of its own command.
    """

    def __init__(self) -> None:
        super().__init__()
        self.window: Window[int] = Window()
        self.calls = 0
        self.ran: list[int] = []
        self.last = self.acknowledged = 0
        self.wires: list[list[tuple[Pending[int], int, int, int]]] = [[]]
        """By connection: copies under way as (write, its number then, what it acknowledged, command)."""
        self.by_sequence: dict[int, int] = {}
        self.left_out: set[int] = set()

    @rule()
    def call(self) -> None:
        self.calls += 1
        self.window.add(self.calls, temporary=False)

    @rule()
    def send(self) -> None:
        while (write := self.window.next_to_send()) is not None:
            self.window.sent(write, 0.0)
            self.wires[-1].append((write, write.sequence, self.window.acknowledged, write.call))

    @rule(is_large=st.booleans(), is_overloaded=st.booleans())
    def deliver(self, is_large: bool, is_overloaded: bool) -> None:
        """The oldest copy of the connection that there is arrives, and its answer comes back."""
        if not self.wires[-1]:
            return
        write, sequence, acknowledged, command = self.wires[-1].pop(0)
        is_large = is_large and not any(write.lost for write in self.window.pending)
        if is_large and command not in self.ran and not write.lost:
            self.left_out.add(command)
            self.window.leave_out(write)
            return
        if is_overloaded or not self.apply(sequence, acknowledged, command):
            self.window.refused(write)
            return
        assert self.by_sequence[sequence] == command
        self.window.answered(write)

    @rule(data=st.data())
    def late(self, data: st.DataObject) -> None:
        """A copy of a connection that is gone arrives after all; nobody hears of it."""
        old = [wire for wire in self.wires[:-1] if wire]
        if old:
            _, sequence, acknowledged, command = data.draw(st.sampled_from(old)).pop(0)
            self.apply(sequence, acknowledged, command)

    @rule()
    def lose(self) -> None:
        self.window.rewind()
        if self.window.is_stuck:  # the session ends here
            self.__init__()  # type: ignore[misc] # and another one begins
        else:
            self.wires.append([])

    def apply(self, sequence: int, acknowledged: int, command: int) -> bool:
        """As a replica does. False: refused, and not kept."""
        self.acknowledged = max(self.acknowledged, acknowledged)
        if sequence == self.last + 1:
            self.last = sequence
            self.ran.append(command)
            self.by_sequence[sequence] = command
        return self.acknowledged < sequence <= self.last

    @invariant()
    def commands_run_once_in_order(self) -> None:
        assert self.ran == sorted(set(self.ran))
        assert not self.left_out & set(self.ran)
        assert self.window.acknowledged <= self.last


TestExactlyOnce = ExactlyOnce.TestCase
TestExactlyOnce.settings = settings(stateful_step_count=60)


@given(st.lists(st.floats(0, 1000), min_size=1))
def test_a_session_lives_a_timeout_from_the_latest_of_its_proofs(sent: list[float]) -> None:
    """In whatever order they come."""
    line = Lifeline(T, 0.0)
    for when in sent:
        line.answered(when)
    assert line.expires_at == max(sent) + T
