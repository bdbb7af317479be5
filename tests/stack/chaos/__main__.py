"""`python -m tests.stack.chaos --minutes 20`: real servers under real faults, and a verdict on what clients saw.

Rounds follow one another until the time is over; the last one is finished. A round is drawn from the seed and its
number: new nodes, chains of three to five faults, everybody well before and after each, a verdict at the end. The seed
is what the clock says; `--seed` repeats one: the same faults in the same order, though never at the same moments.

Exits with 1 where a property does not hold, and keeps the folder of that round: `timeline.txt` says what was done when,
`history.txt` what clients saw, `n0.log` and the like what the servers said, and their data is there, too.
docs/chaos.md says more.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from tests.stack.chaos import bugged
from tests.stack.chaos.report import Totals
from tests.stack.chaos.rounds import Round, draw_round, run_round
from tests.stack.chaos.shim import build
from zraft.sim.checks.ghost import Violation

MOST_FAILURES = 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it all and report."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.stack.chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--first", type=int, default=1, help="number of the first round")
    parser.add_argument("--rounds", type=int, default=1 << 30, help="at most so many")
    parser.add_argument("--bug", choices=sorted(bugged.BUGS), help="put this bug back: the campaign has to find it")
    parser.add_argument("--folder", type=Path, help="where rounds that fail are kept [default: a temporary folder]")
    parser.add_argument("--plan", action="store_true", help="only print what the rounds would be; needs --rounds")
    parser.add_argument("--json", action="store_true", dest="as_json")
    options = parser.parse_args(arguments)
    totals = Totals(options.seed)
    folder = options.folder or Path(tempfile.mkdtemp(prefix="zraft-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    library = build(folder)
    if library is None:
        totals.without.append("disks that fail: there is no cc")
    program = ("-m", "zraft") if options.bug is None else (str(Path(bugged.__file__)), options.bug)
    for number in count(options.first):
        is_over = number >= options.first + options.rounds or time.monotonic() - began >= 60 * options.minutes
        if is_over or len(totals.failures) >= MOST_FAILURES or (options.bug and totals.failures):
            break
        one = draw_round(options.seed, number, has_shim=library is not None)
        if options.plan:
            _say(f"{one}")
            continue
        play_round(one, folder / f"round-{number}", library, totals, program)
        minutes = (time.monotonic() - began) / 60
        _say(f"round {number}: {totals.chains} chains, {len(totals.failures)} failed, {minutes:.1f} minutes")
    totals.minutes = (time.monotonic() - began) / 60
    if totals.is_good:
        shutil.rmtree(folder)
    print(totals.as_json() if options.as_json else "\n".join(totals.lines()))
    return int(not totals.is_good)


def play_round(one: Round, folder: Path, library: Path | None, totals: Totals, program: Sequence[str]) -> None:
    """A round from beginning to end. Its folder stays where it failed."""
    folder.mkdir()
    try:
        asyncio.run(run_round(one, folder, library, totals, program=program))
    except Exception as error:
        (folder / "failure.txt").write_text("".join(traceback.format_exception(error)))
        totals.failures.append(
            f"{reason(error)}\n  evidence: {folder}\n"
            f"  again: python -m tests.stack.chaos --seed {totals.seed} --first {one.name.split('/')[1]} --rounds 1"
        )
        _say(f"FAILED {totals.failures[-1]}")
    else:
        shutil.rmtree(folder)


def reason(error: BaseException) -> str:
    """The violation in it, or else the first error that is no group."""
    leaves: list[BaseException] = []
    waiting = [error]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions
        else:
            leaves.append(one)
    found = next((leaf for leaf in leaves if isinstance(leaf, Violation)), leaves[0])
    return f"{type(found).__name__}: {found}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
