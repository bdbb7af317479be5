"""What a target is, and what must hold of every input, however it came about.

    accepted   `feed` says so; what it read can be written again and is read as the same (that is asserted in `feed`)
    refused    one of the errors that the target is allowed to raise, which are zraft's own
    found      anything else: another exception, an assertion, or more memory than the input justifies

An input is bytes, or whatever a target draws from a `Random`. Both follow from (target, seed, number) alone.
"""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from random import Random

from tests.fuzz.mutation import mutated

PEAK_BYTES = 256 << 10
"""What any input may cost in memory, and what each of its bytes may: a struct of a dozen fields in three bytes."""
PEAK_PER_BYTE = 512


class Cost(Enum):
    """What one input costs: tells `amounts` how many there may be."""

    BYTES = "bytes"
    """Tens of microseconds: a decoder."""
    FOLDERS = "folders"
    """Milliseconds: a whole folder is opened."""
    STEPS = "steps"
    """Milliseconds: a replica is given many things one after the other."""
    NODES = "nodes"
    """Tens of milliseconds: so is one of three nodes."""


@dataclass(frozen=True)
class Target:
    """Somewhere that foreign data comes in. `feed` of an input returns where it is accepted and raises where not."""

    name: str
    feed: Callable[[bytes], None]
    errors: tuple[type[Exception], ...]
    samples: Callable[[Random], Sequence[bytes]]
    """Valid inputs, before `wrap`, to be changed."""
    wrap: Callable[[bytes], bytes] = lambda body: body
    """Puts around a changed body what would refuse it at once: lengths and checksums."""
    cost: Cost = Cost.BYTES
    peak_bytes: int = PEAK_BYTES


@dataclass(frozen=True)
class Finding:
    """An input for which a property does not hold."""

    target: str
    seed: int
    number: int
    data: bytes
    what: str

    def __str__(self) -> str:
        return f"{self.target}, input {self.number} of seed {self.seed} ({len(self.data)} bytes): {self.what}"


@dataclass
class Tally:
    """What became of the inputs of one target."""

    target: str
    accepted: int = 0
    refused: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def inputs(self) -> int:
        return self.accepted + self.refused + len(self.findings)

    def add(self, other: Tally) -> None:
        self.accepted += other.accepted
        self.refused += other.refused
        self.findings += other.findings


def inputs(target: Target, seed: int, count: int) -> Iterator[bytes]:
    """The inputs of this seed: first the samples as they are, then changed ones. The same ones every time."""
    chance = Random(f"{target.name} {seed}")
    samples = list(target.samples(chance))
    for number in range(count):
        if number < len(samples):
            yield target.wrap(samples[number])
        elif chance.randrange(4):
            yield target.wrap(mutated(chance, samples))
        else:
            yield mutated(chance, [target.wrap(chance.choice(samples))])


def judge(target: Target, data: bytes) -> bool | str:
    """Whether `data` was accepted; or what is wrong with how it was taken."""
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    try:
        target.feed(data)
        accepted = True
    except target.errors:
        accepted = False
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    peak = tracemalloc.get_traced_memory()[1] - before
    if peak > target.peak_bytes + PEAK_PER_BYTE * len(data):
        return f"{peak} bytes of memory for {len(data)} bytes of input"
    return accepted


def run(target: Target, seed: int, count: int) -> Tally:
    """So many inputs of this seed."""
    tally = Tally(target.name)
    with traced():
        for number, data in enumerate(inputs(target, seed, count)):
            verdict = judge(target, data)
            if isinstance(verdict, str):
                tally.findings.append(Finding(target.name, seed, number, data, verdict))
            elif verdict:
                tally.accepted += 1
            else:
                tally.refused += 1
    return tally


class traced:  # noqa: N801 - used like a function
    """Memory is counted inside."""

    def __enter__(self) -> None:
        tracemalloc.start()

    def __exit__(self, *_: object) -> None:
        tracemalloc.stop()


def shortened(target: Target, data: bytes, tries: int = 2000) -> bytes:
    """A shorter input that is taken as wrongly, where one is found by leaving out pieces."""
    with traced():
        kind = _kind(judge(target, data))
        size = len(data) // 2
        while size and tries:
            at = 0
            while at < len(data) and tries:
                tries -= 1
                shorter = data[:at] + data[at + size :]
                if _kind(judge(target, shorter)) == kind:
                    data = shorter
                else:
                    at += size
            size //= 2
    return data


def _kind(verdict: bool | str) -> str:
    """What went wrong without its numbers and texts; empty: nothing."""
    return re.sub(r"[0-9]+", "N", verdict).partition(":")[0] if isinstance(verdict, str) else ""
