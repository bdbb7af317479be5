"""How fast a snapshot goes from one process to another over the loopback, checked and durable.

    python bench/transfer.py                          1 GiB in 4 files
    python bench/transfer.py --mib 256 --files 1 --rounds 3 --json
    BENCH_DIR=/data python bench/transfer.py          on the disk that matters

Sender and receiver are two processes, each with an event loop in its main thread that notes how late it wakes: what a
heartbeat would suffer. The time is from the sender's connect to the receiver's word that every file is verified and
synced. In the same round the files are copied with `cp` and synced; the ratio says more than either figure. The
exit status is non-zero where a transfer failed. Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from google_crc32c import extend
from systems import settle

from zraft import limits
from zraft.errors import ZraftError
from zraft.transport.bulk import Receiver, new_token
from zraft.transport.bulk_send import send_files
from zraft.wire.bulk import FileEntry

TICK_S = 0.005
SWITCH_INTERVAL_S = 0.0005
"""As the server sets it."""
PATIENCE_S = 600.0
BLOCK = limits.MIB


@dataclass(slots=True)
class Round:
    """One transfer and one copy. Rates in 10^6 bytes a second; lateness is the worst of each loop."""

    transfer_mb_s: float
    copy_mb_s: float
    ratio: float
    receiver_late_ms: float
    sender_late_ms: float
    receiver_cpu_s: float
    sender_cpu_s: float


def make_files(folder: Path, *, size: int, count: int) -> list[FileEntry]:
    """`count` files of `size` bytes together."""
    block = os.urandom(BLOCK)
    entries: list[FileEntry] = []
    for number in range(count):
        name, checksum, missing = f"part-{number}", 0, size // count
        length = missing
        with (folder / name).open("wb") as file:
            while missing:
                piece = block[: min(missing, BLOCK)]
                file.write(piece)
                checksum = extend(checksum, piece)
                missing -= len(piece)
            file.flush()
            os.fsync(file.fileno())
        entries.append((name, length, checksum))
    return entries


class Heart:
    """An event loop in this thread that ticks until stopped."""

    def __init__(self) -> None:
        self.worst_s = 0.0
        self._stop = asyncio.Event()

    def run_beside(self, work: threading.Thread) -> None:
        """Ticks while `work` works."""
        asyncio.run(self._beat(work))

    async def _beat(self, work: threading.Thread) -> None:
        work.start()
        while work.is_alive():
            due = time.perf_counter() + TICK_S
            await asyncio.sleep(TICK_S)
            self.worst_s = max(self.worst_s, time.perf_counter() - due)


def receive(pipe: Connection, folder: Path, entries: list[FileEntry]) -> None:
    """The receiving process."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    receiver = Receiver("127.0.0.1", 0)
    done = threading.Event()
    errors: list[str] = []

    def on_done(error: ZraftError | None) -> None:
        errors.extend([str(error)] if error is not None else [])
        done.set()

    token = new_token()
    receiver.expect(token, folder, entries, on_done)
    pipe.send((receiver.address, token))
    pipe.recv()  # it begins
    heart, before = Heart(), time.process_time()
    heart.run_beside(threading.Thread(target=done.wait, args=(PATIENCE_S,)))
    pipe.send((time.monotonic(), heart.worst_s, time.process_time() - before, errors))
    receiver.close()


def send(pipe: Connection, folder: Path, entries: list[FileEntry]) -> None:
    """The sending process."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    pipe.send("ready")
    address, token = pipe.recv()
    errors: list[str] = []

    def work() -> None:
        try:
            send_files(address, token, folder, entries, [0] * len(entries))
        except ZraftError as error:
            errors.append(str(error))

    heart, before, began = Heart(), time.process_time(), time.monotonic()
    heart.run_beside(threading.Thread(target=work))
    pipe.send((began, heart.worst_s, time.process_time() - before, errors))


def transfer(source: Path, target: Path, entries: list[FileEntry]) -> tuple[float, Round]:
    """Seconds, and what else was seen."""
    context = multiprocessing.get_context("spawn")
    to_receiver, receivers = context.Pipe()
    to_sender, senders = context.Pipe()
    receiving = context.Process(target=receive, args=(receivers, target, entries))
    sending = context.Process(target=send, args=(senders, source, entries))
    receiving.start()
    sending.start()
    told = to_receiver.recv()
    to_sender.recv()  # it is ready, too
    settle()
    to_receiver.send("begin")
    to_sender.send(told)
    began, sender_late, sender_cpu, failed = to_sender.recv()
    ended, receiver_late, receiver_cpu, lost = to_receiver.recv()
    receiving.join()
    sending.join()
    if failed or lost:
        raise SystemExit(f"the transfer failed: {', '.join([*failed, *lost])}")
    late = round(1000 * receiver_late, 1), round(1000 * sender_late, 1)
    return ended - began, Round(0.0, 0.0, 0.0, *late, round(receiver_cpu, 2), round(sender_cpu, 2))


def copy(source: Path, target: Path, entries: list[FileEntry]) -> float:
    """Seconds that `cp` takes, and syncing what it wrote."""
    settle()
    began = time.perf_counter()
    names = [str(source / name) for name, _, _ in entries]
    subprocess.run(["cp", *names, str(target)], check=True)
    for name, _, _ in entries:
        file = os.open(target / name, os.O_RDWR)
        os.fsync(file)
        os.close(file)
    return time.perf_counter() - began


def measure(folder: Path, *, size: int, count: int, rounds: int) -> list[Round]:
    """All rounds, in one folder. What goes first changes: memory that was just freed is cheaper to write to.

    One round before them does not count: it makes the machine find the memory, which a virtual one may lack.
    """
    source, target = folder / "source", folder / "target"
    source.mkdir()
    entries = make_files(source, size=size, count=count)
    megabytes = sum(length for _, length, _ in entries) / 1e6
    results: list[Round] = []
    for number in range(rounds + 1):
        copied, carried, result = 0.0, 0.0, Round(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        for is_copy in (True, False) if number % 2 else (False, True):
            target.mkdir()
            if is_copy:
                copied = copy(source, target, entries)
            else:
                carried, result = transfer(source, target, entries)
            shutil.rmtree(target)
        result.transfer_mb_s, result.copy_mb_s = round(megabytes / carried, 1), round(megabytes / copied, 1)
        result.ratio = round(copied / carried, 2)
        results.append(result)
    return results[1:]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=1024, help="of all files together")
    parser.add_argument("--files", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="zraft-transfer-", dir=os.environ.get("BENCH_DIR")) as folder:
        rounds = measure(Path(folder), size=options.mib * limits.MIB, count=options.files, rounds=options.rounds)
    if options.json:
        print(json.dumps([asdict(each) for each in rounds]))
        return
    for each in rounds:
        rates = f"{each.ratio:5.2f} x cp   {each.transfer_mb_s:7.1f} MB/s   cp+fsync {each.copy_mb_s:7.1f} MB/s"
        late = f"loops late {each.receiver_late_ms} and {each.sender_late_ms} ms"
        print(f"{rates}   {late}   cpu {each.receiver_cpu_s} and {each.sender_cpu_s} s")
    print(f"median: {statistics.median(each.ratio for each in rounds):.2f} x cp")


if __name__ == "__main__":
    main()
