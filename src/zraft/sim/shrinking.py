"""A failing run made short: fewer nodes, calmer weather, fewer faults, fewer commands, and nothing after the failure.

Each try is a run of its own that follows the script of the first one, as deterministic as that; a try counts where
the same property breaks. Lists are thinned out by halves, then quarters, down to single items, again and again until
nothing more can go (delta debugging). Bounded by a number of tries and of simulated events, never by a clock: the same
seed is shrunk to the same excerpt on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias, TypeVar

import msgspec

from zraft.sim.excerpt import CALMABLE, WEATHER, Excerpt
from zraft.sim.run import Attempt

Run: TypeAlias = Callable[[Excerpt, Attempt | None, bool], Attempt]
"""Runs an excerpt, with the whole run whose script it follows; the last argument keeps the trace."""

Progress: TypeAlias = Callable[[str], None]

T = TypeVar("T")

TRIES: Final = 400
EVENTS: Final = 600_000
"""Of all tries together: less than half a minute."""


SNAPSHOTS: Final = (1, 3)
"""Entries after which snapshots are taken, tried in this order: fewer commands may then be enough."""


class Shrunk(msgspec.Struct, frozen=True):
    """`shortest` is what is left, with its story; `whole` is what it began with."""

    whole: Attempt
    shortest: Attempt
    excerpt: Excerpt
    tries: int
    is_exhausted: bool
    """There were no tries left: something more might have gone."""


def shrink(run: Run, excerpt: Excerpt, *, tries: int = TRIES, progress: Progress | None = None) -> Shrunk | None:
    """The shortest run found in which what breaks in the whole run breaks; None: nothing breaks.

    An `excerpt` that is given is taken as it is, and what breaks in it is reported.
    """
    whole = run(Excerpt(), None, excerpt.is_whole)
    if not excerpt.is_whole:
        shortest = run(excerpt, whole, True)
        return Shrunk(whole, shortest, excerpt, 0, is_exhausted=False) if shortest.property else None
    if not whole.property:
        return None
    search = _Search(run, whole, tries, progress)
    search.perform()
    shortest = run(search.best, whole, True)
    return Shrunk(whole, shortest, search.best, search.tries, search.is_exhausted)


class _Search:
    """`best` is the shortest excerpt so far."""

    def __init__(self, run: Run, whole: Attempt, tries: int, progress: Progress | None) -> None:
        self._run, self._whole, self._limit, self._progress = run, whole, tries, progress
        self._events_left = EVENTS
        self._attempt = whole
        self.tries = 0
        self._tried: set[str] = set()
        self.best = Excerpt()

    @property
    def is_exhausted(self) -> bool:
        return self.tries >= self._limit or self._events_left <= 0

    def perform(self) -> None:
        """Tries until nothing more can go, or no more tries are left."""
        if not self._fails():  # what follows the failure goes
            return
        for nodes in range(1, self._whole.report.counters.nodes):
            if self._fails(nodes=nodes):
                break
        for count in SNAPSHOTS:
            if self._fails(log_count=count):
                break
        self._thin_out_commands()  # what is left out here need not be run in any further try
        self._calm()
        before = None
        while before != self.best:
            before = self.best
            self._thin_out_faults()
            self._thin_out_commands()
        if self.best.log_count:
            self._fails(log_count=0)  # it may have helped nothing

    def _calm(self) -> None:
        """Everything at once, or one after the other."""
        rates = self._whole.rates
        there = [name for name in WEATHER if name not in CALMABLE or getattr(rates, name)]
        if self._fails(calm=tuple(there)):
            return
        for name in there:
            self._fails(calm=(*self.best.calm, name))

    def _thin_out_faults(self) -> None:
        _thin_out([fault.number for fault in self._attempt.faults], lambda kept: self._fails(faults=tuple(kept)))

    def _thin_out_commands(self) -> None:
        _thin_out(self._attempt.commands, lambda kept: self._fails(commands=tuple(kept)))

    def _fails(self, **changes: object) -> bool:
        """With these changes to the best excerpt the same property breaks: it is the best one now."""
        if self.is_exhausted:
            return False
        attempt = self._attempt
        until_ms = attempt.at_ms if attempt.is_in_chaos else 0
        excerpt = msgspec.structs.replace(self.best, until_ms=until_ms, **changes)
        if (text := str(excerpt)) in self._tried:
            return False
        self._tried.add(text)
        self.tries += 1
        found = self._run(excerpt, self._whole, False)
        self._events_left -= found.report.counters.events
        if found.property != self._whole.property:
            return False
        self._attempt = found
        end_ms = found.at_ms if found.is_in_chaos else 0
        self.best = msgspec.structs.replace(excerpt, until_ms=end_ms)
        if self._progress is not None:
            self._progress(f"try {self.tries}: {_size(found)}")
        return True


def _thin_out(items: Sequence[T], fails: Callable[[list[T]], bool]) -> None:
    """Leaves out what can be left out: all of them, halves, and so on."""
    kept = list(items)
    size = len(kept)
    while size:
        place = 0
        while place < len(kept):
            shorter = kept[:place] + kept[place + size :]
            if fails(shorter):
                kept = shorter
            else:
                place += size
        size //= 2


def _size(attempt: Attempt) -> str:
    counters = attempt.report.counters
    sizes = ((counters.nodes, "node"), (len(attempt.faults), "fault"), (len(attempt.commands), "command"))
    return ", ".join([*(f"{count} {name}{'s' * (count != 1)}" for count, name in sizes), f"{attempt.at_ms} ms"])


def story_of(shrunk: Shrunk) -> list[str]:
    """What happened in the shortest run, line by line, and in what way it failed."""
    whole, shortest = shrunk.whole, shrunk.shortest
    if shrunk.excerpt.is_whole or not shrunk.tries:
        head = f"the run has {_size(shortest)}"
    else:
        rest = ", and might get shorter" if shrunk.is_exhausted else ""
        head = f"shrunk in {shrunk.tries} tries from {_size(whole)}\n                  to {_size(shortest)}{rest}"
    lines = [*head.split("\n"), "", *shortest.story]
    first_line, _, _ = shortest.report.failure.partition("\n")
    return [*lines, f"{shortest.at_ms:8d} {'FAILED':<8} {first_line}"]
