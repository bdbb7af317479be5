"""`python -m tests.sim.mutants.campaign [NAME...]`: every bug is put back, and must be found within its seeds.

`--first` begins at another seed than 1, `--repeat` begins so many times, each `SEEDS` later, and takes the median.
Exits with 1 where a mutant was not found, with the names.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from statistics import median

from tests.sim.mutants.mutants import ALL_MUTANTS, SEEDS
from tests.sim.mutants.mutation import hunt, play


@dataclass(frozen=True)
class Catch:
    """What became of one mutant. `needed`: seeds, per beginning; 0: not found. A played one has none."""

    name: str
    profile: str
    needed: list[int]
    failure: str
    seconds: float

    @property
    def is_caught(self) -> bool:
        return all(self.needed) and bool(self.failure)

    def __str__(self) -> str:
        how = f"{self.profile}: {', '.join(map(str, self.needed))} seeds" if self.needed else "played"
        verdict = self.failure if self.is_caught else "NOT FOUND"
        return f"{self.name:10} {how:24} {self.seconds:5.0f} s  {verdict[:100]}"


def put_back_and_look(name: str, first: int, repeat: int) -> Catch:
    """One mutant, in a process that does nothing else meanwhile."""
    mutant = next(mutant for mutant in ALL_MUTANTS if mutant.name == name)
    began = time.monotonic()
    if mutant.played:
        failure = play(mutant)
        return Catch(name, "played", [], failure, time.monotonic() - began)
    needed, failure = [], ""
    for start in range(first, first + repeat * SEEDS, SEEDS):
        report = hunt(mutant, start, start + SEEDS - 1)
        needed.append(report.seed - start + 1 if report is not None else 0)
        failure = report.failure if report is not None else failure
    return Catch(name, mutant.profile, needed, failure, time.monotonic() - began)


def catches(names: Sequence[str], *, first: int = 1, repeat: int = 1, jobs: int = 0) -> Iterator[Catch]:
    """In the order of the names."""
    work = partial(put_back_and_look, first=first, repeat=repeat)
    jobs = min(jobs or os.cpu_count() or 1, len(names))
    if jobs <= 1:
        yield from map(work, names)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(work, names)


def summary(found: Sequence[Catch]) -> str:
    """Caught of all, and the median of the seeds that the simulator needed."""
    caught = [catch for catch in found if catch.is_caught]
    seeds = [needed for catch in caught for needed in catch.needed]
    middle = f", median {median(seeds):g} seeds, at most {max(seeds)}" if seeds else ""
    missed = [catch.name for catch in found if not catch.is_caught]
    return f"mutants: {len(caught)} of {len(found)} caught{middle}{'; NOT: ' + ', '.join(missed) if missed else ''}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Hunt them and print how it went."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.mutants.campaign", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=0)
    parser.add_argument("--json", action="store_true", dest="as_json")
    options = parser.parse_args(arguments)
    names = options.names or [mutant.name for mutant in ALL_MUTANTS]
    found: list[Catch] = []
    for catch in catches(names, first=options.first, repeat=options.repeat, jobs=options.jobs):
        found.append(catch)
        print(json.dumps(asdict(catch)) if options.as_json else catch, flush=True)
    print(summary(found), file=sys.stderr if options.as_json else sys.stdout)
    return int(not all(catch.is_caught for catch in found))


if __name__ == "__main__":
    raise SystemExit(main())
