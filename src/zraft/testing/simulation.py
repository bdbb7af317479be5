"""`simulate`: a user's state machine in zraft's simulator, seed by seed, and what is left of the first one that fails.

A run is made of the nodes of production over simulated clocks, links and disks. Nodes crash and lose power in the
middle of a write, links are cut, processes stand still, members change, and snapshots are taken every few entries. What
must hold is told in `zraft.sim.trials.examination`. No run depends on anything but its seed.
"""

from __future__ import annotations

import random
import shlex
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from zraft.errors import UsageError
from zraft.machine.backend import Backend
from zraft.sim.chance import Chance
from zraft.sim.excerpt import WHOLE, Excerpt, parse_excerpt
from zraft.sim.profiles import profile_named
from zraft.sim.run import Attempt, attempt
from zraft.sim.shrinking import TRIES, Shrunk, shrink, story_of
from zraft.sim.trials.trial import Exchange as Exchange  # noqa: PLC0414 - what `history` gets
from zraft.sim.trials.trial import Trial, TrialBackends
from zraft.types import PeerId, Value
from zraft.wire.values import encode_value

SEEDS: Final = range(1, 21)
PROFILE: Final = "machines"
_NAME: Final = "trial"


class Draw(random.Random):
    """Chance for one command or query: everything that `random.Random` has, decided by the seed of the run."""

    client: str = ""
    """Who asks."""
    number: int = 0
    """Which of its requests this is, from 1; with `client` it is like no other of the run."""


Asked: TypeAlias = Callable[[Draw], Any] | Sequence[Any]


class Simulated(msgspec.Struct, frozen=True, kw_only=True):
    """What all runs consisted of."""

    runs: int = 0
    asked: int = 0
    """Commands and queries."""
    answered: int = 0
    entries: int = 0
    """What was committed."""
    faults: dict[str, int]
    """How often what went wrong."""


class SimulationFailed(AssertionError):
    """A run failed. The text has everything: what did not hold, what happened, and how to see it again."""

    def __init__(self, seed: int, failure: str, timeline: Sequence[str], excerpt: str, text: str) -> None:
        self.seed = seed
        """The first seed that failed."""
        self.failure = failure
        """What did not hold, in the shortest run."""
        self.timeline = list(timeline)
        """What happened in it, line by line."""
        self.excerpt = excerpt
        """What was left of the seed's run."""
        super().__init__(text)


def simulate(
    backend: Callable[[PeerId], Backend],
    *,
    commands: Asked,
    queries: Asked | None = None,
    reads: int = 30,
    invariant: Callable[[Any], object] | None = None,
    history: Callable[[list[Exchange]], object] | None = None,
    state: Callable[[Any], object] | None = None,
    may_raise: tuple[type[Exception], ...] = (),
    seeds: Iterable[int] = SEEDS,
    profile: str = PROFILE,
    excerpt: str = "",
    tries: int = TRIES,
    replay: Callable[[int, str], str] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Simulated:
    """Every seed's run of this backend, a class or whatever makes one, has passed when this returns.

    `commands` and `queries` draw what simulated clients ask, from their argument alone, or list it; `reads` percent are
    queries. In each run every replica must have the state that the log gives, however it came there: by commands, a
    restart, a snapshot. A state is all fields but `peer_id`, or what `state` makes of a backend. Every answer must be
    that of a backend which applies the log in one piece, and be as new as any that was there before it was asked for.
    `apply` and its like may raise Reject and the classes of `may_raise`. `invariant` gets a backend, after every entry
    and on every replica, and `history` everything that was asked in a run; they raise, or return False, where something
    is wrong.

    The first seed that fails is shrunk, in at most so many `tries`, to a run with few faults and commands, and raises
    SimulationFailed. `excerpt`, as it says there, runs what is left of a seed. `profile` is one of `zraft sim`;
    `replay` says what to do to see a seed and excerpt again, `progress` is told how it goes. Raises UsageError for
    arguments that make no run.
    """
    parsed = parse_excerpt(excerpt)
    trial = Trial(
        name=_NAME,
        make=backend,
        command=_drawn(commands),
        query=_drawn(queries) if queries is not None else None,
        reads=reads,
        invariant=invariant,
        state=state,
        history=history,
        may_raise=tuple(kind.__name__ for kind in may_raise),
    )
    profile_named(profile)
    _check(trial)
    total = Simulated(faults={})
    for seed in seeds:

        def run(part: Excerpt, whole: Attempt | None, keep: bool, seed: int = seed) -> Attempt:
            script = whole.faults if whole is not None else None
            return attempt(seed, profile, keep_trace=keep, trial=trial, excerpt=part, script=script)

        first = run(WHOLE, None, False)
        if first.property or not parsed.is_whole:
            if progress is not None:
                progress(f"seed {seed} fails: {first.report.failure}")
            shrunk = shrink(run, parsed, tries=tries, progress=progress)
            _raise(first, shrunk, replay or _by_hand)
        total = _sum(total, first)
    return total


def _drawn(asked: Asked) -> Callable[[Chance, str, int], Value]:
    def draw(chance: Chance, client: str, number: int) -> Value:
        made = Draw(chance.bits())
        made.client, made.number = client, number
        return asked(made) if callable(asked) else made.choice(asked)

    return draw


def _check(trial: Trial) -> None:
    """What is given makes a backend, and commands that can travel: better said now than by every run."""
    TrialBackends(trial)
    if not 0 <= trial.reads <= 100:
        raise UsageError(f"reads are percent: {trial.reads}")
    for draw in (trial.command, trial.query):
        if draw is not None:
            encode_value(draw(Chance(1), "c0", 1))


def _raise(first: Attempt, shrunk: Shrunk | None, replay: Callable[[int, str], str]) -> None:
    seed = first.report.seed
    if shrunk is None or shrunk.whole.report.digest != first.report.digest:
        failure = (
            "the same seed ran in another way the second time: the backend, what is asked or what has to hold depends "
            "on more than its arguments"
        )
        text = f"seed {seed} FAILED: {first.report.failure or 'nothing'}\n{failure}"
        raise SimulationFailed(seed, failure, [], "", text)
    excerpt, shortest = str(shrunk.excerpt), shrunk.shortest.report
    timeline = story_of(shrunk)
    lines = [f"seed {seed} FAILED: {shortest.failure}", "", *timeline, ""]
    lines.append(f"see it again:          {replay(seed, '')}")
    if excerpt:
        lines.append(f"without shrinking it:  {replay(seed, excerpt)}")
    raise SimulationFailed(seed, shortest.failure, timeline, excerpt, "\n".join(lines))


def _by_hand(seed: int, excerpt: str) -> str:
    return f"simulate(..., seeds=[{seed}]{f', excerpt={excerpt!r}' if excerpt else ''})"


def in_pytest(node: str) -> Callable[[int, str], str]:
    """The command that replays a seed of the test with this id."""

    def command(seed: int, excerpt: str) -> str:
        words = ["pytest", node, "--zraft-seed", str(seed), *(["--zraft-excerpt", excerpt] if excerpt else [])]
        return shlex.join(words)

    return command


def _sum(total: Simulated, run: Attempt) -> Simulated:
    counters, faults = run.report.counters, dict(total.faults)
    for kind, count in counters.faults.items():
        faults[kind] = faults.get(kind, 0) + count
    return Simulated(
        runs=total.runs + 1,
        asked=total.asked + len(run.commands),
        answered=total.answered + counters.answered,
        entries=total.entries + counters.committed,
        faults=faults,
    )
