"""`zraft sim`: replay one seed of the simulator with its trace, or run many and say which fail.

Works without click. One seed and profile give the same trace on every machine, so a line such as
`zraft sim --seed 7 --profile default` is a whole bug report; with `--shrink` it is a short one.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import chain
from typing import Final, NoReturn

import msgspec

from zraft.errors import UsageError
from zraft.sim.excerpt import Excerpt, parse_excerpt
from zraft.sim.profiles import PROFILES, profile_named
from zraft.sim.run import Attempt, Report, attempt, run_seed
from zraft.sim.shrinking import TRIES, shrink, story_of

_WINDOW: Final = 64
"""Seeds that are handed out ahead, for each process."""


class _Parser(argparse.ArgumentParser):
    """Errors are one line, as of every other command."""

    def error(self, message: str) -> NoReturn:
        print(f"zraft: {message}; see zraft sim --help", file=sys.stderr)
        raise SystemExit(2)


def main(arguments: Sequence[str]) -> int:
    """Run what the command line asks for. 0: every property held in every run."""
    try:
        options = _parser().parse_args(list(arguments))
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 2
    try:
        profile_named(options.profile)
        if options.seed is not None:
            if options.shrink or options.excerpt:
                return _shrink(options.seed, options.profile, options.excerpt, options.tries)
            return _replay(options.seed, options.profile, as_json=options.as_json)
        return _run_many(options.seeds, options.profile, options.jobs, as_json=options.as_json)
    except UsageError as error:
        print(f"zraft: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="zraft sim",
        description="Run clusters in a simulated world that loses messages, power and disks, drawn from a seed, and "
        "check that Raft's properties hold. The same seed gives the same run.",
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--seed", type=_number, metavar="N", help="replay this seed and print its trace")
    which.add_argument("--seeds", type=_range, metavar="A-B", help="run the seeds from A to B, both included")
    parser.add_argument(
        "--profile", default="default", metavar="NAME", help=f"how much goes wrong: {', '.join(sorted(PROFILES))}"
    )
    parser.add_argument(
        "--jobs", type=_number, default=0, metavar="N", help="processes for --seeds; by default one for each processor"
    )
    parser.add_argument("--json", dest="as_json", action="store_true", help="print one JSON object for each run")
    parser.add_argument("--shrink", action="store_true", help="of a failing --seed only what it needs to fail")
    parser.add_argument("--tries", type=_number, default=TRIES, metavar="N", help="runs that --shrink may take")
    parser.add_argument("--excerpt", default="", metavar="TEXT", help="of the --seed what --shrink said is left")
    return parser


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number")
    return int(text)


def _range(text: str) -> range:
    first, dash, last = text.partition("-")
    if not dash or not first.isdigit() or not last.isdigit() or int(first) > int(last):
        raise argparse.ArgumentTypeError(f"{text!r} is no range of seeds, such as 1-300")
    return range(int(first), int(last) + 1)


def _replay(seed: int, profile: str, *, as_json: bool) -> int:
    report = run_seed(seed, profile, keep_trace=True)
    if as_json:
        print(_json(report, with_trace=True))
    else:
        for line in report.trace:
            print(line)
        print(_counts(report))
        print(_verdict(report))
    return 1 if report.failure else 0


def _shrink(seed: int, profile: str, excerpt: str, tries: int) -> int:
    """What a run that fails can do without is left out; how that goes is told on stderr."""

    def run(part: Excerpt, whole: Attempt | None, keep: bool) -> Attempt:
        script = whole.faults if whole is not None else None
        return attempt(seed, profile, keep_trace=keep, excerpt=part, script=script)

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    shrunk = shrink(run, parse_excerpt(excerpt), tries=tries, progress=say if sys.stderr.isatty() else None)
    if shrunk is None:
        print(f"seed {seed}, profile {profile}: every property held")
        return 0
    command = f"zraft sim --seed {seed} --profile {profile}"
    print("\n".join(story_of(shrunk)))
    print(f"\nsee it again:          {command} --shrink")
    print(f"without shrinking it:  {command} --excerpt {shlex.quote(str(shrunk.excerpt))}")
    return 1


def _run_many(seeds: range, profile: str, jobs: int, *, as_json: bool) -> int:
    """Failing runs are printed when they come; all of them are run, so that one night shows every kind of failure."""
    began = time.monotonic()
    failed: list[Report] = []
    unknown = operations = 0
    for report in _reports(seeds, profile, jobs):
        operations += report.counters.operations
        unknown += bool(report.unknown)
        if report.failure:
            failed.append(report)
        if as_json:
            print(_json(report, with_trace=False), flush=True)
        elif report.failure:
            print(_verdict(report), flush=True)
    if not as_json:
        took = time.monotonic() - began
        what = f"{len(failed)} FAILED" if failed else "every property held"
        doubt = f", {unknown} histories too long to judge" if unknown else ""
        print(f"{len(seeds)} seeds, profile {profile}: {what}{doubt}; {operations} operations in {took:.1f} s")
    return 1 if failed else 0


def _reports(seeds: range, profile: str, jobs: int) -> Iterator[Report]:
    """The reports in the order of the seeds, from as many processes as are wanted."""
    jobs = min(jobs or os.cpu_count() or 1, len(seeds))
    run = partial(run_seed, profile=profile)
    if jobs == 1:
        yield from map(run, seeds)
        return
    with ProcessPoolExecutor(jobs) as pool:
        window = jobs * _WINDOW
        parts = (seeds[at : at + window] for at in range(0, len(seeds), window))
        yield from chain.from_iterable(pool.map(run, part, chunksize=4) for part in parts)


def _verdict(report: Report) -> str:
    if report.failure:
        how = f"\n  replay it: {report.command}\n  shrink it: {report.command} --shrink"
        return f"seed {report.seed} FAILED: {report.failure}{how}"
    doubt = f", except that {report.unknown}" if report.unknown else ""
    return f"seed {report.seed}, profile {report.profile}: every property held{doubt}; digest {report.digest}"


def _counts(report: Report) -> str:
    counts = report.counters
    parts = [f"{name} {value}" for name, value in msgspec.structs.asdict(counts).items() if name != "faults"]
    parts += [f"{count} × {fault}" for fault, count in sorted(counts.faults.items())]
    return ", ".join(parts)


def _json(report: Report, *, with_trace: bool) -> str:
    found = msgspec.to_builtins(report)
    if not with_trace:
        del found["trace"]
    return json.dumps(found)
