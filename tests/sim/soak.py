"""`python -m tests.sim.soak --minutes 30`: seeds that nobody has run yet, every mutant, and the deep suites.

The minutes are those of the seeds; mutants and suites take some more. Seeds begin where the clock says, so that no two
campaigns run the same ones; `--first` repeats one. Every profile gets its turn. Exits with 1 after any failure, with
the commands that replay it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from itertools import count

from tests.sim.mutants.campaign import catches, summary
from tests.sim.mutants.mutants import ALL_MUTANTS
from zraft.sim.profiles import PROFILES
from zraft.sim.run import Report, run_seed

SAY_EVERY_S = 15.0
DEEP_SUITES = (
    "tests/sim/mutants",
    "tests/sim/test_snapshot_crashes.py",
    "tests/sim/test_leader_deaths.py",
    "tests/unit/storage/test_crashes.py",
)


_MENDED = ("heal", "older node", "message not known", "refused start", "store failure")
_EXERCISED = ("snapshot", "snapshot fetched", "snapshot installed")
NO_FAULTS = frozenset((*_MENDED, *_EXERCISED))
"""What a run counts beside its faults: what mends them, what follows from them, and that something was exercised."""


def injected(happened: Mapping[str, int]) -> int:
    """How many faults these are. The shapes of partitions are counted once more as partitions, by a run."""
    return sum(n for kind, n in happened.items() if kind not in NO_FAULTS and not kind.startswith("partition: "))


@dataclass
class Totals:
    """Of all seeds of a campaign."""

    first: int
    seeds: int = 0
    simulated_hours: float = 0.0
    events: int = 0
    operations: int = 0
    answered: int = 0
    committed: int = 0
    images: int = 0
    """Disks as a power loss at some moment would leave them, started to see what is there."""
    seconds: float = 0.0
    """That the seeds took, on all processors together."""
    unknown: int = 0
    """Histories that could not be judged."""
    faults: dict[str, int] = field(default_factory=dict)
    seeds_by_profile: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    mutants: str = ""
    missed: list[str] = field(default_factory=list)
    """Mutants that were not found."""
    suites: str = ""

    def add(self, report: Report) -> None:
        """One more run."""
        counters = report.counters
        self.seeds += 1
        self.simulated_hours += counters.simulated_ms / 3_600_000
        self.events += counters.events
        self.operations += counters.operations
        self.answered += counters.answered
        self.committed += counters.committed
        self.images += counters.images
        self.unknown += bool(report.unknown)
        for kind, number in counters.faults.items():
            self.faults[kind] = self.faults.get(kind, 0) + number
        self.seeds_by_profile[report.profile] = self.seeds_by_profile.get(report.profile, 0) + 1
        if report.failure:
            self.failures.append(f"{report.failure}\n  replay it: {report.command}")

    @property
    def is_good(self) -> bool:
        """Nothing failed."""
        return not (self.failures or self.missed or self.suites == "FAILED")

    def lines(self) -> Iterator[str]:
        """The report for readers."""
        yield f"seeds {self.seeds:,} from {self.first}, simulated {self.simulated_hours:,.1f} h, events {self.events:,}"
        yield f"operations {self.operations:,}, answered {self.answered:,}, entries committed {self.committed:,}"
        if self.seconds:
            simulated = 3600 * self.simulated_hours / self.seconds
            yield f"speed {self.events / self.seconds:,.0f} events and {simulated:,.1f} simulated seconds in a second"
        yield f"disk images started {self.images:,}; histories that could not be judged {self.unknown}"
        yield "seeds by profile: " + ", ".join(f"{name} {number}" for name, number in self.seeds_by_profile.items())
        yield f"faults injected {injected(self.faults):,}"
        yield "what happened: " + ", ".join(f"{number:,} × {kind}" for kind, number in sorted(self.faults.items()))
        yield from ([self.mutants] if self.mutants else [])
        yield from ([f"deep suites: {self.suites}"] if self.suites else [])
        yield from (f"FAILED {failure}" for failure in self.failures)
        yield "every property held" if self.is_good else "FAILED"


def run_seeds(totals: Totals, seconds: float, jobs: int, profiles: Sequence[str]) -> None:
    """Seeds in turn over the profiles until the time is over; what is under way then is still counted."""
    began = time.monotonic()
    ends = began + seconds
    says = time.monotonic() + SAY_EVERY_S
    work = ((seed, profiles[seed % len(profiles)]) for seed in count(totals.first))
    running: set[Future[Report]] = set()
    with ProcessPoolExecutor(jobs) as pool:
        while running or time.monotonic() < ends:
            while len(running) < 2 * jobs and time.monotonic() < ends:
                running.add(pool.submit(run_seed, *next(work)))
            done, running = wait(running, timeout=SAY_EVERY_S, return_when=FIRST_COMPLETED)
            for future in done:
                report = future.result()
                totals.add(report)
                if report.failure:
                    _say(f"FAILED {totals.failures[-1]}")
            if time.monotonic() >= says:
                says += SAY_EVERY_S
                left = max(0.0, ends - time.monotonic())
                _say(f"{totals.seeds} seeds, {len(totals.failures)} failed, {left / 60:.1f} minutes to go")
    totals.seconds = time.monotonic() - began


def run_mutants(totals: Totals, jobs: int) -> None:
    """Each from a beginning of this campaign, so that it is found by other seeds than the last time."""
    found = []
    for catch in catches([mutant.name for mutant in ALL_MUTANTS], first=totals.first, jobs=jobs):
        found.append(catch)
        _say(str(catch))
    totals.mutants = summary(found)
    totals.missed = [catch.name for catch in found if not catch.is_caught]


def run_suites(totals: Totals) -> None:
    """With more crash points, and examples that are drawn by chance."""
    environment = os.environ | {"ZRAFT_CRASH_POINTS": "200", "ZRAFT_HYPOTHESIS": "soak"}
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", *DEEP_SUITES], env=environment, check=False)
    totals.suites = "FAILED" if done.returncode else "passed"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it all and report."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--first", type=int, default=int(time.time()) // 60 * 1000, help="the first seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--profile", action="append", choices=sorted(PROFILES), help="only these; may be repeated")
    parser.add_argument("--seeds-only", action="store_true", help="neither mutants nor suites")
    parser.add_argument("--json", action="store_true", dest="as_json")
    options = parser.parse_args(arguments)
    totals = Totals(options.first)
    run_seeds(totals, 60 * options.minutes, max(1, options.jobs), options.profile or sorted(PROFILES))
    if not options.seeds_only:
        run_mutants(totals, max(1, options.jobs))
        run_suites(totals)
    if options.as_json:
        print(json.dumps(asdict(totals) | {"injected": injected(totals.faults), "is_good": totals.is_good}))
    else:
        print("\n".join(totals.lines()))
    return int(not totals.is_good)


if __name__ == "__main__":
    raise SystemExit(main())
