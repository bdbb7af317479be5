"""The log against a list of batches, whatever is done to it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zraft.core.entries import Batch, Kind, SnapshotMark
from zraft.core.log import Log
from zraft.core.recovered import Recovered
from zraft.errors import InvariantViolation


class Model:
    """Every batch after the base, in a list."""

    def __init__(self) -> None:
        self.base = (0, 0)
        self.batches: list[Batch] = []

    def term_at(self, index: int) -> int | None:
        if index == self.base[0]:
            return self.base[1]
        found = [batch.term for batch in self.batches if batch.first <= index <= batch.last]
        return found[0] if found else None

    def ends(self) -> list[tuple[int, int]]:
        return [self.base, *((batch.last, batch.term) for batch in self.batches)]


def make_batch(first: int, count: int, term: int, size: int = 3) -> Batch:
    """A batch of commands."""
    return Batch(first, count, term, 0, 0, Kind.COMMANDS, b"x" * size)


steps = st.lists(
    st.tuples(
        st.sampled_from(["append", "append", "append", "truncate", "compact", "reset", "evict"]),
        st.integers(0, 30),
        st.integers(1, 4),
    ),
    max_size=40,
)


def _apply(log: Log, model: Model, step: tuple[str, int, int]) -> None:
    kind, number, small = step
    ends = model.ends()
    last, last_term = ends[-1]
    end = ends[number % len(ends)]
    if kind == "append":
        batch = make_batch(last + 1, small, last_term + number % 2 if last_term else 1, number)
        log.append(batch)
        model.batches.append(batch)
    elif kind == "truncate":
        log.truncate_from(end[0] + 1)
        model.batches = [batch for batch in model.batches if batch.last <= end[0]]
    elif kind == "compact":
        log.compact_to(end[0])
        model.batches = [batch for batch in model.batches if batch.last > end[0]]
        model.base = end
    elif kind == "reset":
        log.reset(last + small, last_term + 1)
        model.base, model.batches = (last + small, last_term + 1), []
    else:
        log.evict(number * 40, keep_from=end[0] + 1)


@given(steps)
def test_log_is_a_list_of_batches(done: list[tuple[str, int, int]]) -> None:
    """Terms, ends, hints and what it hands out are those of the plain list, in memory or not."""
    log, model = Log(Recovered()), Model()
    for step in done:
        _apply(log, model, step)
    ends = model.ends()
    assert (log.last_index, log.last_term) == ends[-1]
    assert (log.base_index, log.base_term) == ends[0]
    assert log.batch_count == len(model.batches)
    _, _, window = log.parts()
    in_memory = model.batches[window:]
    assert log.memory_bytes == sum(len(batch.payload) + 160 for batch in in_memory)
    for index in range(ends[-1][0] + 3):
        assert log.term_at(index) == model.term_at(index)
        assert log.is_boundary(index) is (index in [last for last, _ in ends])
        for term in range(1, 6):
            assert log.has(index, term) is ((index, term) in ends)
            known = [end for end in ends if end[0] <= index and end[1] <= term]
            if index >= ends[0][0]:
                assert log.boundary_before(index, term) == (known[-1] if known else ends[0])
    for position, batch in enumerate(model.batches):
        taken = log.take(batch.first, 20)
        if position < window:
            assert taken is None
            assert log.last_before_memory(batch.first) == model.batches[window - 1].last
        else:
            assert taken == _within(model.batches[position:], 20)
    assert log.take(ends[-1][0] + 1, 20) == []
    assert log.payload_bytes_after(ends[0][0]) == sum(len(batch.payload) for batch in in_memory)


def _within(batches: list[Batch], limit: int) -> list[Batch]:
    total = 0
    taken: list[Batch] = []
    for batch in batches:
        total += len(batch.payload)
        if taken and total > limit:
            break
        taken.append(batch)
    return taken


@given(steps, st.integers(0, 50))
def test_recovered_log_is_the_same_log(done: list[tuple[str, int, int]], tail: int) -> None:
    """Whatever suffix of it is put into memory."""
    log, model = Log(Recovered()), Model()
    for step in done:
        _apply(log, model, step)
    lasts, terms, _ = log.parts()
    kept = model.batches[max(len(model.batches) - tail, 0) :]
    again = Log(Recovered(mark=SnapshotMark(*model.base), lasts=list(lasts), terms=list(terms), tail=kept))
    assert again.parts() == (lasts, terms, len(model.batches) - len(kept))
    assert (again.last_index, again.last_term, repr(again)) == (log.last_index, log.last_term, repr(log))


def test_tail_that_does_not_end_the_log_is_left_out() -> None:
    """Memory holds a suffix of the log or nothing."""
    log = Log(Recovered(lasts=[1, 2, 3], terms=[1, 1, 1], tail=[make_batch(2, 1, 1)]))
    assert log.take(2, 100) is None


def test_eviction_frees_a_quarter_at_once() -> None:
    """Only above the budget, and then so much that the next batches find room."""
    log = Log(Recovered())
    for index in range(1, 101):
        log.append(make_batch(index, 1, 1, 40))
    assert log.memory_bytes == 100 * 200
    log.evict(20_000, keep_from=101)
    assert log.memory_bytes == 20_000
    log.evict(19_999, keep_from=101)
    assert 14_500 <= log.memory_bytes <= 15_000


def test_eviction_keeps_what_is_not_committed() -> None:
    """However small the budget is."""
    log = Log(Recovered())
    for index in range(1, 6):
        log.append(make_batch(index, 1, 1))
    log.evict(0, keep_from=4)
    assert log.take(3, 1) is None
    assert log.take(4, 1) == [make_batch(4, 1, 1)]


@pytest.mark.parametrize("batch", [make_batch(5, 1, 2), make_batch(3, 1, 2), make_batch(4, 0, 2), make_batch(4, 1, 1)])
def test_batch_that_does_not_follow_is_refused(batch: Batch) -> None:
    """A gap, an overlap, no entries, a smaller term."""
    log = Log(Recovered())
    log.append(make_batch(1, 3, 2))
    with pytest.raises(InvariantViolation):
        log.append(batch)


def test_batch_is_never_split() -> None:
    """Not by a truncation, a compaction or a message."""
    log = Log(Recovered())
    log.append(make_batch(1, 3, 2))
    for act in (log.truncate_from, log.compact_to):
        with pytest.raises(InvariantViolation):
            act(2)
    with pytest.raises(InvariantViolation):
        log.take(2, 10)
    with pytest.raises(InvariantViolation):
        log.compact_to(9)


@pytest.mark.parametrize(
    ("last_index", "last_term", "is_so"), [(3, 2, True), (2, 2, False), (9, 1, False), (1, 3, True), (4, 2, True)]
)
def test_up_to_date_is_by_term_then_length(last_index: int, last_term: int, is_so: bool) -> None:
    """§3.6.1."""
    log = Log(Recovered())
    log.append(make_batch(1, 3, 2))
    assert log.is_up_to_date(last_index, last_term) is is_so
