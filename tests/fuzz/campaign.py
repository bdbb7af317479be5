"""`python -m tests.fuzz.campaign --minutes 30`: every target in turn, with seeds that nobody has run yet.

An input for which a property does not hold is made shorter, kept in build/fuzz, and replayed by

    python -m tests.fuzz.campaign --replay build/fuzz/wire.peering-0a1b2c3d

Seeds begin where the clock says; `--first` repeats a campaign. Exits with 1 after any finding.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from tests.fuzz.amounts import ROUND
from tests.fuzz.kit import Finding, Tally, judge, run, shortened, traced
from tests.fuzz.targets import TARGETS

SAY_EVERY_S = 15.0
KEPT = Path("build/fuzz")


@dataclass
class Totals:
    """Of a whole campaign."""

    first: int
    tallies: dict[str, Tally] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)
    """The file of each kind of finding: one of a kind is enough to be read."""

    def add(self, tally: Tally, folder: Path) -> list[str]:
        """One more round; what was found for the first time, as text."""
        self.tallies.setdefault(tally.target, Tally(tally.target)).add(tally)
        said = []
        for finding in tally.findings:
            kind = f"{finding.target}: {re.sub(r'[0-9]+', 'N', finding.what)[:80]}"
            if kind not in self.kept:
                self.kept[kind] = keep(finding, folder)
                said.append(f"FOUND {finding}\n  replay it: {replay_command(self.kept[kind])}")
        return said

    @property
    def inputs(self) -> int:
        return sum(tally.inputs for tally in self.tallies.values())

    @property
    def findings(self) -> int:
        return sum(len(tally.findings) for tally in self.tallies.values())

    def lines(self) -> Iterator[str]:
        """The report for readers."""
        width = max(map(len, self.tallies), default=0)
        for name, tally in sorted(self.tallies.items()):
            found = len(tally.findings)
            yield f"{name:{width}}  {tally.accepted:>10,} accepted {tally.refused:>10,} refused {found:>4} found"
        yield from (f"FOUND {kind}\n  replay it: {replay_command(path)}" for kind, path in self.kept.items())
        yield f"{self.inputs:,} inputs from seed {self.first}: " + ("FAILED" if self.kept else "every property held")

    def as_json(self) -> str:
        """The same for programs."""
        targets = {
            name: {"accepted": tally.accepted, "refused": tally.refused, "found": len(tally.findings)}
            for name, tally in self.tallies.items()
        }
        return json.dumps({"first": self.first, "inputs": self.inputs, "targets": targets, "kept": self.kept})


def keep(finding: Finding, folder: Path) -> str:
    """The path of a file with the input, made shorter where that is possible."""
    target = TARGETS[finding.target]
    data = shortened(target, finding.data)
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^a-z.]+", "-", finding.target)
    path = folder / f"{name}-{hashlib.sha256(data).hexdigest()[:8]}"
    path.write_bytes(finding.target.encode() + b"\n" + data)
    return str(path)


def replay_command(path: str) -> str:
    """What gives a kept input to its target again."""
    return f"python -m tests.fuzz.campaign --replay {path}"


def replay(path: Path) -> int:
    """Gives a kept input to its target. 0: every property holds now."""
    name, _, data = path.read_bytes().partition(b"\n")
    target = TARGETS[name.decode()]
    with traced():
        verdict = judge(target, data)
    if not isinstance(verdict, str):
        print(f"{target.name}: {'accepted' if verdict else 'refused'}, every property holds")
        return 0
    print(f"{target.name}: {verdict}")
    try:
        target.feed(data)
    except Exception:
        traceback.print_exc()
    return 1


def one_round(name: str, seed: int) -> Tally:
    """One target, one seed."""
    target = TARGETS[name]
    return run(target, seed, ROUND[target.cost])


def run_rounds(totals: Totals, seconds: float, jobs: int, names: Sequence[str], folder: Path) -> None:
    """Seeds in turn over the targets until the time is over; what is under way then is still counted."""
    ends = time.monotonic() + seconds
    says = time.monotonic() + SAY_EVERY_S
    work = ((name, seed) for seed in count(totals.first) for name in names)
    running: set[Future[Tally]] = set()
    with ProcessPoolExecutor(jobs) as pool:
        while running or time.monotonic() < ends:
            while len(running) < 2 * jobs and time.monotonic() < ends:
                running.add(pool.submit(one_round, *next(work)))
            done, running = wait(running, timeout=SAY_EVERY_S, return_when=FIRST_COMPLETED)
            for future in done:
                for line in totals.add(future.result(), folder):
                    _say(line)
            if time.monotonic() >= says:
                says += SAY_EVERY_S
                left = max(0.0, ends - time.monotonic())
                _say(f"{totals.inputs:,} inputs, {totals.findings} found, {left / 60:.1f} minutes to go")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it all and report."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.campaign", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--first", type=int, default=int(time.time()) // 60 * 1000, help="the first seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--target", action="append", choices=sorted(TARGETS), help="only these; may be repeated")
    parser.add_argument("--kept", type=Path, default=KEPT, help="the folder of inputs that were taken wrongly")
    parser.add_argument("--replay", type=Path, help="one of those")
    parser.add_argument("--json", action="store_true", dest="as_json")
    options = parser.parse_args(arguments)
    if options.replay is not None:
        return replay(options.replay)
    totals = Totals(options.first)
    names = options.target or list(TARGETS)
    run_rounds(totals, 60 * options.minutes, max(1, options.jobs), names, options.kept)
    print(totals.as_json() if options.as_json else "\n".join(totals.lines()))
    return int(bool(totals.kept))


if __name__ == "__main__":
    raise SystemExit(main())
