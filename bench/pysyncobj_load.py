"""PySyncObj as its users run it: the replicated object lives in the process that writes. Of three nodes one asks.

Needs: pip install pysyncobj. Its journal is written, not synced.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from pysyncobj import SyncObj, SyncObjConf, replicated  # type: ignore[import-not-found,import-untyped]


class Store(SyncObj):  # type: ignore[misc]
    def __init__(self, own: str, others: list[str], journal: str) -> None:
        super().__init__(own, others, SyncObjConf(journalFile=journal, commandsQueueSize=1_000_000))
        self.data: dict[str, bytes] = {}

    @replicated  # type: ignore[untyped-decorator]
    def put(self, key: str, value: bytes) -> None:
        self.data[key] = value


def follow(own: str, others: list[str], journal: str) -> None:
    Store(own, others, journal)
    while True:
        time.sleep(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ports", required=True)
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--total", type=int, default=2000)
    parser.add_argument("--size", type=int, default=256)
    given = parser.parse_args()
    addresses = [f"127.0.0.1:{port}" for port in given.ports.split(",")]
    folder = Path(tempfile.mkdtemp(prefix="pysyncobj-"))
    children = [
        multiprocessing.Process(
            target=follow, args=(own, [a for a in addresses if a != own], str(folder / own)), daemon=True
        )
        for own in addresses[1:]
    ]
    for child in children:
        child.start()
    try:
        print(json.dumps(measure(Store(addresses[0], addresses[1:], str(folder / "0")), given)), flush=True)
    finally:
        for child in children:
            child.kill()


def measure(store: Store, given: argparse.Namespace) -> dict[str, Any]:
    deadline = time.monotonic() + 30
    while not store.isReady():
        if time.monotonic() > deadline:
            raise SystemExit("PySyncObj has no leader after 30 s")
        time.sleep(0.05)
    value, latencies, started = b"x" * given.size, [], 0
    done, lock = threading.Event(), threading.Lock()

    def ask() -> None:
        nonlocal started
        with lock:
            if started >= given.total:
                return
            started += 1
            key = f"key-{started % 10000:08d}"
        begun = time.perf_counter()

        def answered(_result: Any, _error: Any) -> None:
            latencies.append(time.perf_counter() - begun)
            if len(latencies) >= given.total:
                done.set()
            ask()

        store.put(key, value, callback=answered)

    begun = time.perf_counter()
    for _ in range(given.clients):
        ask()
    if not done.wait(120):
        raise SystemExit(f"PySyncObj finished {len(latencies)} of {given.total} in 120 s")
    seconds = time.perf_counter() - begun
    latencies.sort()
    return {
        "per_second": len(latencies) / seconds,
        "p50_ms": latencies[len(latencies) // 2] * 1000,
        "p99_ms": latencies[int(len(latencies) * 0.99)] * 1000,
    }


if __name__ == "__main__":
    main()
