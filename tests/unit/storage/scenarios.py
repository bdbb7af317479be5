"""Lives of a store, to be cut short at every single operation of its disk."""

from __future__ import annotations

from collections.abc import Callable

from tests.unit.storage.host import Host, batch, configuration, mark, member
from zraft.core.entries import HardState


def appends(host: Host) -> None:
    """Two replicas append, across segments, with saves under way while the next ones are collected."""
    host.create("a")
    host.create("b", HardState(3))
    host.pump()
    host.save("a", configuration(1, "a"), hard_state=HardState(1))
    host.hand_out()
    host.save("b", batch(1, 2, 3))
    for first in range(2, 12):
        host.save("a", batch(first, size=500))
        host.hand_out()
        if first % 2 == 0:
            host.complete()
    host.pump()
    host.save("a", batch(12, size=5000))  # larger than a segment
    host.save("b", batch(3, 1, 3), batch(4, 4, 4), hard_state=HardState(4, member("b")))
    host.pump()
    host.store.watermark()
    host.pump()


def truncation(host: Host) -> None:
    """A suffix that spans three segments is truncated and written anew (BM-027)."""
    host.create("a")
    for first in range(1, 16):
        host.save("a", batch(first, size=600))
        if first % 4 == 0:
            host.pump()
    host.pump()
    host.save("a", batch(5, 2, term=2, size=700), hard_state=HardState(2), truncate_from=5)
    host.hand_out()
    host.save("a", batch(5, term=3), batch(6, term=3), hard_state=HardState(3), truncate_from=5)
    host.save("a", batch(7, term=3))
    host.pump()
    host.save("a", truncate_from=7)
    host.pump()


def hard_states(host: Host) -> None:
    """Terms and votes, with entries in the same save and without."""
    host.create("a")
    host.pump()
    for term in range(1, 5):
        host.save("a", hard_state=HardState(term))
        if term % 2:
            host.hand_out()
        host.save("a", batch(term, 1, term), hard_state=HardState(term, member("a", term)))
        host.pump()


def compaction(host: Host) -> None:
    """A busy replica compacts, a quiet one pins old segments and is copied forward, one is removed (BM-060)."""
    for name in ("quiet", "busy", "short"):
        host.create(name)
    host.save("quiet", configuration(1, "a", "b"), batch(2, size=100), batch(3, 2))
    host.save("short", batch(1, size=300))
    for first in range(1, 40):
        host.save("busy", batch(first, size=900))
        if first == 5:
            host.compact("quiet", mark(2), 2)
            host.remove("short")
        if first % 3 == 0:
            host.pump()
        if first % 10 == 0:
            host.compact("busy", mark(first - 3), first - 5)
    host.pump()
    host.save("quiet", batch(5, size=50))
    host.pump()


def resets(host: Host) -> None:
    """A snapshot from elsewhere replaces the log, twice, and batches follow it (BM-053)."""
    host.create("a")
    for first in range(1, 9):
        host.save("a", batch(first, size=800))
    host.pump()
    host.save("a", reset_to=mark(100, 2), hard_state=HardState(2))
    host.hand_out()
    host.save("a", batch(101, 3, 2), batch(104, 1, 2, size=900))
    host.pump()
    host.compact("a", mark(103, 2), 101)
    host.save("a", batch(105, 1, 2, size=900))
    host.pump()
    host.save("a", batch(301, 1, 4, size=3000), hard_state=HardState(4), reset_to=mark(300, 3))
    host.pump()
    host.save("a", batch(302, 1, 4, size=3000))
    host.pump()


def pipelined(host: Host) -> None:
    """A save is always under way while the next one, compactions, copies and deletions are collected."""
    host.create("quiet")
    host.create("busy")
    host.save("quiet", *(batch(first, size=120) for first in range(1, 9)))
    for first in range(1, 33):
        host.save("busy", batch(first, size=1300))
        while host.hand_out():
            pass
        if first % 4 == 0:
            host.compact("busy", mark(first), first + 1)
        if first == 20:
            host.save("quiet", batch(9, size=40), truncate_from=9)
        while host.hand_out():
            pass
        while len(host.disk.jobs) > 1:
            host.complete()
    host.pump()


def copies(host: Host) -> None:
    """A log that was copied forward, out of order in the journal, is truncated, continued, compacted and replaced."""
    host.create("quiet")
    host.create("busy")
    host.save("quiet", *(batch(first, size=100) for first in range(1, 13)))
    busy = 0
    for change in ("truncate", "continue", "compact", "reset", "continue"):
        for _ in range(16):
            busy += 1
            host.save("busy", batch(busy, size=1900))
            if busy % 2 == 0:
                host.compact("busy", mark(busy), busy + 1)
                host.pump()
        _, log = host.replicas["quiet"].logs[-1]
        match change:
            case "truncate":
                host.save("quiet", truncate_from=9)
            case "continue":
                host.save("quiet", batch(log[-1].last + 1, 2, 2, size=60), configuration(log[-1].last + 3, "a", term=2))
            case "compact":
                host.compact("quiet", mark(3), 2)
            case "reset":
                host.save("quiet", batch(6, 3, 3, size=30), reset_to=mark(5, 3))
        host.pump()


SCENARIOS: dict[str, Callable[[Host], None]] = {
    scenario.__name__: scenario
    for scenario in (appends, truncation, hard_states, compaction, resets, pipelined, copies)
}
