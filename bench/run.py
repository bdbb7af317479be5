"""Compare zraft with other systems in one run: ratios first, medians over rounds, never a single timing.

    make bench                          everything, one round
    make bench ARGS="--rounds 3 --only zraft,spike --output docs/bench/results.md"

A system that is not installed is named, with how to install it, and left out. The exit status is non-zero only where
zraft itself fails. Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
from collections import defaultdict
from pathlib import Path

from systems import SETTINGS, SYSTEMS, Figure, Missing, Setting, settle

Results = dict[str, dict[Setting, list[Figure]]]


def measure(names: list[str], rounds: int, size: int) -> tuple[Results, list[str]]:
    """Every system in turn, `rounds` times; and what could not be measured, and why."""
    results: Results = {name: defaultdict(list) for name in names}
    remarks: list[str] = []
    for number in range(rounds):
        for name in list(results):
            settle()
            try:
                for setting, figure in SYSTEMS[name](size):
                    results[name][setting].append(figure)
                    print(f"round {number + 1} {name:10} {setting!s:16} {_text(figure)}", flush=True)
            except Missing as missing:
                remarks.append(f"{name} is left out: {missing}")
                print(remarks[-1], file=sys.stderr)
                del results[name]
            except Exception as error:
                if name == "zraft":
                    raise
                remarks.append(f"{name} failed: {error}")
                print(remarks[-1], file=sys.stderr)
                del results[name]
    return results, remarks


def _text(figure: Figure) -> str:
    return f"{figure.per_second:9.0f}/s  p50 {figure.p50_ms:8.2f} ms  p99 {figure.p99_ms:8.2f} ms"


def median(figures: list[Figure]) -> Figure:
    """Each number's own median."""
    return Figure(*(statistics.median(column) for column in zip(*figures, strict=True)))


def report(results: Results, remarks: list[str], rounds: int, size: int) -> str:
    """Markdown: ratios, then the figures, then the machine."""
    names = list(results)
    others = [name for name in names if name != "zraft"]
    lines = ["| requests | " + " | ".join(f"zraft ÷ {name}" for name in others) + " |"]
    lines.append("|---|" + "---|" * len(others))
    for setting in SETTINGS:
        if setting in results.get("zraft", {}):
            cells = [_ratio(results, setting, name) for name in others]
            lines.append(f"| {setting} | " + " | ".join(cells) + " |")
    lines += ["", "| requests | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for setting in SETTINGS:
        cells = [_cell(results[name].get(setting)) for name in names]
        lines.append(f"| {setting} | " + " | ".join(cells) + " |")
    lines += ["", f"{size}-byte values, three nodes and the clients on one machine, {rounds} round(s), medians."]
    lines.append(f"Machine: {_machine()}.")
    return "\n".join([*lines, *remarks])


def _ratio(results: Results, setting: Setting, name: str) -> str:
    theirs = results[name].get(setting)
    if not theirs:
        return "–"
    ours, other = median(results["zraft"][setting]), median(theirs)
    rate, latency = ours.per_second / other.per_second, ours.p50_ms / other.p50_ms
    return f"{rate:.2f} × rate, {latency:.2f} × p50"


def _cell(figures: list[Figure] | None) -> str:
    if not figures:
        return "–"
    middle = median(figures)
    return f"{middle.per_second:,.0f}/s, p50 {middle.p50_ms:.2f} ms, p99 {middle.p99_ms:.2f} ms"


def _machine() -> str:
    cpu = "unknown processor"
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        cpu = models[0] if models else cpu
    return (
        f"{os.cpu_count()} cores, {cpu}, {platform.system()} {platform.release()}, Python {platform.python_version()}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--only", default=",".join(SYSTEMS), help="systems, with commas between them")
    parser.add_argument("--output", type=Path, help="write the report there, too")
    given = parser.parse_args()
    names = [name for name in given.only.split(",") if name in SYSTEMS]
    if "zraft" not in names:
        names.insert(0, "zraft")
    results, remarks = measure(names, given.rounds, given.size)
    text = report(results, remarks, given.rounds, given.size)
    print("\n" + text)
    if given.output:
        given.output.parent.mkdir(parents=True, exist_ok=True)
        given.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
