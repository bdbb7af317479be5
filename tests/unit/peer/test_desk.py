"""The desk: every request is answered once, and what it says about having run is true."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.unit.peer.world import Asker
from zraft import limits
from zraft.core.entries import Batch, Kind
from zraft.core.output import Accepted, Refusal, Refused
from zraft.errors import (
    BackendError,
    CatchUpTimeout,
    ChangeInProgress,
    LeaderChanged,
    MembershipError,
    NotLeader,
    NotStable,
    OutcomeUnknown,
    Overloaded,
    PeerUnavailable,
    Rejected,
    RequestError,
    RequestTimeout,
)
from zraft.peer.desk import RESULT_TOO_LARGE, Desk
from zraft.peer.duties import Outbox
from zraft.types import Member, PeerId
from zraft.wire.requests import ChangeMembership, GetConf, Query, Transfer
from zraft.wire.values import encode_value

THERE = PeerId("p", "n2:1")


class Counter:
    """A desk with one client, whose answers are taken at once."""

    def __init__(self, **settings: Any) -> None:
        self.outbox = Outbox()
        self.desk = Desk(self.outbox, **settings)
        self.asker = Asker()

    def write(self, command: bytes = b"\x01") -> int:
        number = self.asker.next()
        self.desk.writes.append(((self.asker, number), command))
        return number

    def append(self, count: int, *, at: int, term: int) -> list[int]:
        """So many writes, in the log from `at` on."""
        numbers = [self.write() for _ in range(count)]
        (proposal,) = self.desk.take_proposals()
        assert proposal.count == count
        self.desk.accepted(Accepted(proposal.ref, at, term))
        return numbers

    def read(self, min_index: int | None = None) -> int:
        number = self.asker.next()
        asked = (self.asker, number)
        data = msgspec.Raw(encode_value("k"))
        if min_index is None:
            self.desk.queries.append((asked, Query(number, "p", data)))
        else:
            self.desk.wait_local(asked, Query(number, "p", data, True, min_index))
        return number

    def answered(self) -> list[int]:
        """Takes the answers; the numbers of those who got one, ever."""
        for client, reply in self.outbox.take().replies:
            client.take(reply)
        return sorted(self.asker.replies)


def batch(first: int, count: int, term: int) -> Batch:
    return Batch(first, count, term, 0, 0, Kind.COMMANDS, b"")


def test_a_turn_is_cut_where_a_batch_would_hold_too_many_entries() -> None:
    """Apply works in slices of batches: none holds more than its limit."""
    counter = Counter()
    for _ in range(limits.BATCH_ENTRIES + 1):
        counter.write()
    assert [proposal.count for proposal in counter.desk.take_proposals()] == [limits.BATCH_ENTRIES, 1]
    assert counter.desk.take_proposals() == ()


def test_a_turn_is_cut_where_a_batch_would_weigh_too_much() -> None:
    """A batch fits into a message; a single command that weighs more is a batch of its own (BM-112)."""
    counter = Counter()
    half = encode_value("x" * (limits.BATCH_BYTES // 2))
    huge = encode_value("x" * (2 * limits.BATCH_BYTES))
    for command in (half, half, huge, half):
        counter.write(command)
    assert [proposal.count for proposal in counter.desk.take_proposals()] == [1, 1, 1, 1]


def test_each_slice_of_a_batch_is_answered_once_and_in_order() -> None:
    """Apply may stop within a batch: who waits for its rest goes on waiting."""
    counter = Counter()
    numbers = counter.append(5, at=10, term=2)
    applied = batch(10, 5, 2)
    assert counter.desk.waits_for(applied)
    counter.desk.applied(applied, 0, ["a", "b"])
    assert counter.answered() == numbers[:2]
    counter.desk.applied(applied, 2, ["c", "d", "e"])
    assert counter.answered() == numbers
    assert [counter.asker.result(number) for number in numbers] == ["a", "b", "c", "d", "e"]
    assert not counter.desk.waits_for(applied)
    assert counter.desk.is_empty


def test_the_rest_of_a_batch_is_not_said_to_be_overwritten_while_it_is_applied() -> None:
    """Leadership went; of the committed batch a slice is applied: its rest is about to run, so nobody hears "no"."""
    counter = Counter()
    numbers = counter.append(4, at=10, term=2)
    counter.desk.leadership_lost(3, 1000)
    applied = batch(10, 4, 2)
    counter.desk.applied(applied, 0, ["a", "b"])
    counter.desk.applied_to(11, applied, THERE)
    assert counter.answered() == numbers[:2]
    counter.desk.applied(applied, 2, ["c", "d"])
    counter.desk.applied_to(13, None, THERE)
    assert counter.answered() == numbers
    assert counter.asker.result(numbers[3]) == "d"
    assert counter.desk.settle_by_ms is None


def test_the_rest_of_a_batch_is_unknown_where_its_apply_does_not_go_on() -> None:
    """What was answered of a batch is not answered again when the rest of it is given up."""
    counter = Counter()
    numbers = counter.append(3, at=10, term=2)
    counter.desk.leadership_lost(3, 1000)
    counter.desk.applied(batch(10, 3, 2), 0, ["a"])
    counter.desk.give_up_unsettled(1000)
    assert counter.answered() == numbers
    assert counter.asker.result(numbers[0]) == "a"
    assert {counter.asker.executed(number) for number in numbers[1:]} == {"maybe"}


def test_an_overwritten_write_did_not_run() -> None:
    """Another leader's entry stands at its index, committed: "no" is the truth, with the leader to ask (BM-062)."""
    counter = Counter()
    numbers = counter.append(2, at=10, term=2)
    counter.desk.leadership_lost(3, 1000)
    assert not counter.desk.waits_for(batch(10, 1, 3))
    counter.desk.applied_to(9, None, THERE)
    assert counter.answered() == []
    counter.desk.applied_to(10, None, THERE)
    assert counter.answered() == numbers
    error = counter.asker.error(numbers[0])
    assert isinstance(error, NotLeader)
    assert (error.executed, error.leader) == ("no", THERE)
    assert counter.desk.settle_by_ms is None


def test_elections_that_follow_each_other_put_nothing_off() -> None:
    """A write that lost its leader is answered by the first deadline, however often roles change after it."""
    counter = Counter()
    (number,) = counter.append(1, at=10, term=2)
    counter.desk.leadership_lost(3, 1000)
    counter.desk.leadership_lost(4, 1700)
    assert counter.desk.settle_by_ms == 1000
    counter.desk.give_up_unsettled(999)
    assert counter.answered() == []
    counter.desk.give_up_unsettled(1000)
    assert isinstance(counter.asker.error(counter.answered()[0]), OutcomeUnknown)
    assert counter.asker.executed(number) == "maybe"


def test_the_present_leadership_is_not_given_up_with_the_lost_one() -> None:
    """Leadership lost and won again: only what the lost one appended is given up."""
    counter = Counter()
    old = counter.append(1, at=10, term=2)
    counter.desk.leadership_lost(3, 1000)
    new = counter.append(1, at=12, term=4)
    counter.desk.leadership_lost(4, 1500)
    counter.desk.give_up_unsettled(2000)
    assert counter.answered() == old
    assert counter.desk.settle_by_ms is None
    counter.desk.applied(batch(12, 1, 4), 0, ["ok"])
    assert counter.asker.result(counter.answered()[-1]) == "ok"
    assert new == [counter.asker.last]


def test_two_writes_at_one_index_are_two_writes() -> None:
    """Overwritten here and appended anew: the old entry may still be committed elsewhere, so both go on waiting."""
    counter = Counter()
    (old,) = counter.append(1, at=10, term=2)
    counter.desk.leadership_lost(3, 1000)
    (new,) = counter.append(1, at=10, term=4)
    assert counter.answered() == []
    counter.desk.applied(batch(10, 1, 4), 0, ["ok"])
    counter.desk.applied_to(10, None, None)
    counter.answered()
    assert counter.asker.result(new) == "ok"
    assert counter.asker.executed(old) == "no"


def test_a_leader_that_never_lost_anything_settles_nothing() -> None:
    """Without a lost leadership there is nothing to look for after an apply."""
    counter = Counter()
    counter.append(1, at=10, term=2)
    counter.desk.applied_to(20, None, None)
    counter.desk.leadership_lost(2, 1000)
    assert counter.desk.settle_by_ms is None
    assert counter.answered() == []


def test_outcomes_travel_as_what_they_are() -> None:
    """A refusal of the backend is a refusal, an error an error, and what cannot travel says so, having run."""
    counter = Counter(max_result_bytes=100)
    numbers = counter.append(4, at=1, term=1)
    outcomes = [Rejected("full", 7), BackendError("KeyError"), object(), "x" * 200]
    counter.desk.applied(batch(1, 4, 1), 0, outcomes)
    counter.answered()
    errors = [counter.asker.error(number) for number in numbers]
    assert [type(error) for error in errors] == [Rejected, BackendError, BackendError, BackendError]
    assert [counter.asker.executed(number) for number in numbers] == ["no", "yes", "yes", "yes"]
    assert [error.type for error in errors[1:] if isinstance(error, BackendError)] == [
        "KeyError",
        "UnencodableResult",
        RESULT_TOO_LARGE,
    ]


@pytest.mark.parametrize("outcome", [object(), "x" * 200, BackendError("KeyError")])
def test_a_query_never_ran_whatever_became_of_its_result(outcome: object) -> None:
    """A query changes nothing: its errors say "no"."""
    counter = Counter(max_result_bytes=100)
    number = counter.asker.next()
    counter.desk.answer((counter.asker, number), 5, outcome)
    counter.answered()
    assert isinstance(counter.asker.error(number), BackendError)
    assert counter.asker.executed(number) == "no"


def test_queries_run_when_their_index_is_applied() -> None:
    """A read index is a promise about the state: not a moment before (§6.4)."""
    counter = Counter()
    first, second = counter.read(), counter.read()
    ref = counter.desk.take_queries()
    third = counter.read()
    later = counter.desk.take_queries()
    counter.desk.read_ready(ref, 10)
    counter.desk.read_ready(later, 12)
    assert counter.desk.take_runnable(9) == []
    assert [asked[1] for asked, _ in counter.desk.take_runnable(10)] == [first, second]
    assert [asked[1] for asked, _ in counter.desk.take_runnable(12)] == [third]
    assert counter.desk.take_runnable(99) == []


def test_local_queries_run_as_their_state_comes() -> None:
    """Those that want least run first; of the same index in order of arrival."""
    counter = Counter()
    far, near, same, now = (counter.read(min_index) for min_index in (30, 20, 20, 0))
    assert counter.desk.has_local
    assert [asked[1] for asked, _ in counter.desk.take_runnable(5)] == [now]
    assert [asked[1] for asked, _ in counter.desk.take_runnable(25)] == [near, same]
    assert counter.desk.is_empty, "nobody may wait for a state that never comes"
    assert [asked[1] for asked, _ in counter.desk.take_runnable(30)] == [far]
    assert not counter.desk.has_local


def test_only_so_many_wait_for_a_state_that_may_never_come() -> None:
    """The bound is told, not swallowed."""
    counter = Counter()
    for _ in range(limits.LOCAL_QUERIES):
        counter.read(1 << 40)
    number = counter.read(1 << 40)
    assert counter.answered() == [number]
    assert isinstance(counter.asker.error(number), Overloaded)


def test_nobody_waits_for_a_client_that_is_gone() -> None:
    """Its local queries are forgotten; those of others wait on."""
    counter = Counter()
    mine, other = counter.read(20), Asker("other")
    counter.desk.wait_local((other, other.next()), Query(1, "p", msgspec.Raw(b"\x01"), True, 10))
    counter.desk.forget(other)
    counter.desk.forget(other)
    assert [asked[1] for asked, _ in counter.desk.take_runnable(20)] == [mine]


def test_what_is_done_is_told_when_it_is_durable() -> None:
    """An answer that waits for a save leaves with that save or a later one (I13)."""
    counter = Counter()
    first, second = counter.asker.next(), counter.asker.next()
    counter.desk.answer_when_saved((counter.asker, first), 3, 1)
    counter.desk.answer_when_saved((counter.asker, second), 5, 1)
    assert not counter.desk.is_empty
    counter.desk.saved(2)
    assert counter.answered() == []
    counter.desk.saved(4)
    assert counter.answered() == [first]
    counter.desk.saved(5)
    assert counter.answered() == [first, second]


def test_a_desk_that_closes_answers_everybody_and_promises_nothing_false() -> None:
    """What was never appended did not run; of what was, nobody knows."""
    counter = Counter()
    appended = counter.append(2, at=10, term=2)
    counter.desk.leadership_lost(3, 1000)
    proposed = [counter.write()]
    counter.desk.take_proposals()
    written = [counter.write()]
    reading = [counter.read()]
    counter.desk.take_queries()
    ready = [counter.read()]
    counter.desk.read_ready(counter.desk.take_queries(), 99)
    asked_now = [counter.read()]
    local = [counter.read(99)]
    changing = [counter.asker.next()]
    counter.desk.ask((counter.asker, changing[0]), GetConf(changing[0], "p"))
    saving = [counter.asker.next()]
    counter.desk.answer_when_saved((counter.asker, saving[0]), 9, 1)
    counter.desk.close("it goes")
    counter.desk.close("it goes")
    counter.answered()
    for number in (*proposed, *written, *reading, *ready, *asked_now, *local):
        assert isinstance(counter.asker.error(number), PeerUnavailable)
        assert counter.asker.executed(number) == "no"
    for number in (*appended, *changing, *saving):
        assert isinstance(counter.asker.error(number), OutcomeUnknown)
    assert counter.desk.is_empty
    assert len(counter.asker.replies) == counter.asker.last


LEADER = Member(THERE, 5)
CHANGE = ChangeMembership(1, "p", [LEADER], [THERE])
TRANSFER = Transfer(1, "p", THERE)


@pytest.mark.parametrize(
    ("why", "request_", "error", "executed"),
    [
        (Refusal.NOT_LEADER, CHANGE, NotLeader, "no"),
        (Refusal.NOT_STABLE, CHANGE, NotStable, "no"),
        (Refusal.CHANGE_IN_PROGRESS, CHANGE, ChangeInProgress, "no"),
        (Refusal.CATCH_UP_TIMEOUT, CHANGE, CatchUpTimeout, "maybe"),
        (Refusal.TIMED_OUT, TRANSFER, RequestTimeout, "maybe"),
        (Refusal.LOST, TRANSFER, OutcomeUnknown, "maybe"),
        (Refusal.LOST, CHANGE, LeaderChanged, "maybe"),
        (Refusal.TRANSFERRING, TRANSFER, ChangeInProgress, "no"),
        (Refusal.NOT_A_VOTER, TRANSFER, MembershipError, "no"),
    ],
)
def test_refusals_of_changes_say_what_may_still_happen(
    why: Refusal, request_: ChangeMembership | Transfer, error: type[RequestError], executed: str
) -> None:
    """ "no" only where nothing was told to anybody: a target may take over late, a new leader may go on."""
    counter = Counter()
    number = counter.asker.next()
    ref = counter.desk.ask((counter.asker, number), request_)
    counter.desk.refused(Refused(ref, why, LEADER))
    counter.desk.refused(Refused(ref, why, LEADER))
    assert counter.answered() == [number]
    assert type(counter.asker.error(number)) is error
    assert counter.asker.executed(number) == executed


@pytest.mark.parametrize(
    ("why", "error"),
    [
        (Refusal.NOT_LEADER, NotLeader),
        (Refusal.UNCOMMITTED_LIMIT, Overloaded),
        (Refusal.DISK_STALLED, Overloaded),
        (Refusal.TRANSFERRING, Overloaded),
    ],
)
def test_refused_writes_and_reads_did_not_run(why: Refusal, error: type[RequestError]) -> None:
    """What the core does not take has no effect, and everybody of the batch hears it."""
    counter = Counter()
    writes = [counter.write(), counter.write()]
    (proposal,) = counter.desk.take_proposals()
    counter.desk.refused(Refused(proposal.ref, why, LEADER))
    read = counter.read()
    counter.desk.refused(Refused(counter.desk.take_queries(), why, None))
    assert counter.answered() == [*writes, read]
    assert {type(counter.asker.error(number)) for number in (*writes, read)} == {error}
    assert {counter.asker.executed(number) for number in (*writes, read)} == {"no"}


def test_what_nobody_asked_for_is_answered_to_nobody() -> None:
    """A node that stops hands over by itself: its number is nobody's."""
    counter = Counter()
    ref = counter.desk.next_ref()
    counter.desk.done(ref, 7)
    counter.desk.refused(Refused(ref, Refusal.NOT_A_VOTER))
    assert counter.answered() == []


def test_a_change_is_done_at_the_index_of_its_configuration() -> None:
    """The answer names the entry."""
    counter = Counter()
    number = counter.asker.next()
    counter.desk.done(counter.desk.ask((counter.asker, number), CHANGE), 7)
    counter.answered()
    assert counter.asker.result(number) is None
    assert counter.asker.reply(number).index == 7  # type: ignore[union-attr]  # a Result
