"""What a range of the table costs, by the entries that there are and by those that it answers with.

    python bench/ranges.py                  1,000 and 1,000,000 entries
    python bench/ranges.py --entries 100000

Processor times of one query through the backend, medians of many, in one process. The search is logarithmic: among a
thousand times as many entries a range costs a few times as much, which is mostly memory that is not in a cache.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time

from systems import machine

from zraft import table
from zraft.machine.backend import Context
from zraft.machine.table_backend import TableBackend
from zraft.types import PeerId

FEW = 1_000
ANSWERS = (1, 10, 100)
ROUNDS = 31
QUERIES = 50
STEP = 7919


def filled(entries: int) -> TableBackend:
    """Keys (0, "x") to (entries - 1, "x")."""
    backend = TableBackend(PeerId("bench", "127.0.0.1:7101"))
    for number in range(entries):
        backend.apply(table.Put((number, "x"), "value"), Context())
    gc.collect()
    gc.freeze()
    return backend


def range_us(backend: TableBackend, entries: int, answers: int) -> float:
    """Of one range that starts anywhere and answers with so many."""
    times = []
    for turn in range(ROUNDS):
        starts = [(turn * QUERIES + number) * STEP % (entries - answers) for number in range(QUERIES)]
        began = time.process_time_ns()
        for start in starts:
            backend.query(table.Range((start,), None, answers))
        times.append((time.process_time_ns() - began) / 1e3 / QUERIES)
    return statistics.median(times)


def main() -> None:
    """Both sizes, and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1_000_000, help="of the larger table")
    entries: int = parser.parse_args().entries
    print(machine())
    small, large = filled(FEW), filled(entries)
    for answers in ANSWERS:
        few, many = range_us(small, FEW, answers), range_us(large, entries, answers)
        print(f"a range of {answers}: {few:.1f} us among {FEW}, {many:.1f} us among {entries}: {many / few:.2f} times")


if __name__ == "__main__":
    main()
