"""The garbage collector of a server: survivors are frozen, sweeps wait for quiet."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from zraft.app.collector import LOOK_S, PATIENCE_S, SWEEP_S, Collector


class Knot:
    """Refers to itself, so that only the collector can free it."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Installed at time 0 with no processor time used."""
    made = Collector()
    made.install(0.0, 0.0)
    yield made
    made.remove()


def test_what_survives_a_full_collection_is_frozen(collector: Collector) -> None:
    """The next one does not look at it."""
    before = gc.get_freeze_count()
    values = [[number] for number in range(1000)]
    gc.collect()
    assert gc.get_freeze_count() >= before + len(values)
    assert not gc.get_objects(generation=2)


def test_a_sweep_finds_what_became_garbage_later(collector: Collector) -> None:
    """Frozen while it was in use, in a cycle when it was not."""
    knot = Knot()
    seen = weakref.ref(knot)
    gc.collect()
    del knot
    gc.collect()
    assert seen() is not None
    assert collector.look(SWEEP_S, 0.0)
    assert seen() is None


def test_a_busy_process_is_not_swept(collector: Collector) -> None:
    """The pause would be somebody's."""
    assert not collector.look(SWEEP_S, 0.5 * SWEEP_S)
    assert collector.look(SWEEP_S + LOOK_S, 0.5 * SWEEP_S)


def test_sweeps_keep_their_distance(collector: Collector) -> None:
    """However quiet it is."""
    assert not collector.look(SWEEP_S - 1, 0.0)
    assert collector.look(SWEEP_S, 0.0)
    assert not collector.look(SWEEP_S + LOOK_S, 0.0)


def test_a_process_that_is_never_quiet_is_swept_once_a_day(collector: Collector) -> None:
    """What is lost has a bound."""
    assert not collector.look(PATIENCE_S - 1, 0.9 * PATIENCE_S)
    assert collector.look(PATIENCE_S, 0.9 * PATIENCE_S + 1)


def test_removed_it_leaves_nothing_behind() -> None:
    """Neither frozen objects nor a callback."""
    callbacks = list(gc.callbacks)
    made = Collector()
    made.install(0.0, 0.0)
    made.remove()
    assert gc.callbacks == callbacks
    assert gc.get_freeze_count() == 0
