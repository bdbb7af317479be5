"""What holding a state still costs, in one process: a copy of it, as it was once done, and what is done now, in turn.

    python bench/capture.py                 1,000,000 keys, 10,000 sessions
    python bench/capture.py --keys 100000

Then what a command costs while a snapshot is being written, and while what changed meanwhile is merged, beside one with
no snapshot anywhere near. Processor times, medians, and ratios of medians: the machine may be in use by others.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Callable
from typing import Any

from systems import machine

from zraft import table
from zraft.machine.backend import Backend, Context
from zraft.machine.dict_backend import DictBackend
from zraft.machine.table_backend import TableBackend
from zraft.session.sessions import Session, Sessions
from zraft.types import PeerId

PEER = PeerId("bench", "127.0.0.1:7101")
CTX = Context()
ROUNDS = 9
COMMANDS = 20_000
STEP = 7919


def took_ms(what: Callable[[], object]) -> float:
    """Processor time of one call."""
    began = time.process_time_ns()
    result = what()
    took = (time.process_time_ns() - began) / 1e6
    del result
    return took


def compared(name: str, copied: list[float], held: list[float]) -> None:
    """One line of the report."""
    copy, hold = statistics.median(copied), statistics.median(held)
    print(f"{name}: copied {copy:.1f} ms, held {hold:.3f} ms: {copy / hold:.0f} times")


def measure(name: str, backend: Backend, put: Callable[[int, str], Any], plain: Callable[[], Any], keys: int) -> None:
    """Of a backend. `plain` makes the copy."""
    for number in range(keys):
        backend.apply(put(number, "x"), CTX)
    gc.collect()
    gc.freeze()
    copied, held = [], []
    calm, above, merging = [], [], []
    commands = [put(number * STEP % keys, "y") for number in range(COMMANDS)]

    def apply() -> None:
        for command in commands:
            backend.apply(command, CTX)

    for _ in range(ROUNDS):
        apply()
        copied.append(took_ms(plain))
        calm.append(took_ms(apply))
        held.append(took_ms(backend.snapshot))
        above.append(took_ms(apply))
        backend.snapshot_done()
        merging.append(took_ms(apply))
    compared(f"{name}, {keys} keys", copied, held)
    usual = statistics.median(calm)
    for what, times in (("while it is written", above), ("while it is merged", merging)):
        found = statistics.median(times)
        print(f"    a command {what}: {found / usual:.2f} times, {(found - usual) / COMMANDS * 1e3:+.2f} us")


def measure_sessions(count: int) -> None:
    """Of sessions, each with one kept reply."""
    sessions = Sessions()
    for number in range(1, count + 1):
        sessions.install(Session(number, number.to_bytes(16, "big"), 5000).saved())
    copied, held = [], []
    for _ in range(ROUNDS):
        copied.append(took_ms(sessions.saved))
        held.append(took_ms(sessions.capture))
    compared(f"{count} sessions", copied, held)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--sessions", type=int, default=10_000)
    words = parser.parse_args()
    texts, lists, rows = DictBackend(PEER), DictBackend(PEER), TableBackend(PEER)
    plain: Callable[[], Any] = lambda: dict(texts._data)  # noqa: E731
    measure("dict", texts, lambda number, value: (f"k{number}", value * 16), plain, words.keys)
    plain = lambda: dict(lists._data)  # noqa: E731
    measure("dict of lists", lists, lambda number, value: (f"k{number}", [value * 16]), plain, words.keys)
    plain = lambda: list(rows._entries._by_place.values())  # noqa: E731
    measure("table", rows, lambda number, value: table.Put(f"k{number}", value * 16), plain, words.keys)
    measure_sessions(words.sessions)
    print(machine())


if __name__ == "__main__":
    main()
