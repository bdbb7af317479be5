"""The record of a run: every event in one running digest, and, on request, the lines that a human reads.

Two runs are the same run when their digests are equal. Lines carry virtual time in milliseconds and the node.
"""

from __future__ import annotations

import hashlib

from zraft.sim.scheduler import Scheduler

_DIGEST_BYTES = 16


class Trace:
    """Of one run. `keep` keeps the lines, which costs memory and time."""

    __slots__ = ("_hash", "_scheduler", "keep", "lines", "story")

    def __init__(self, scheduler: Scheduler, *, keep: bool = False) -> None:
        self._scheduler, self.keep = scheduler, keep
        self._hash = hashlib.blake2b(digest_size=_DIGEST_BYTES)
        self.lines: list[str] = []
        self.story: list[str] = []
        """Those of the lines that tell what happened, without the messages."""

    def frame(self, source: str, destination: str, frame: bytes) -> None:
        """A frame reached its destination."""
        self._hash.update(b"%d" % self._scheduler.now_ms)
        self._hash.update(frame)

    def note(self, who: str, text: str) -> None:
        """Something happened at `who`."""
        line = f"{self._scheduler.now_ms:8d} {who:<8} {text}"
        self._hash.update(line.encode())
        if self.keep:
            self.lines.append(line)
            self.story.append(line)

    def tell(self, who: str, text: str) -> None:
        """As `line`, and part of the story."""
        self.line(who, text)
        self.story.append(self.lines[-1])

    def line(self, who: str, text: str) -> None:
        """For readers only: what it says is in the digest by other means. To be called where `keep` is set."""
        self.lines.append(f"{self._scheduler.now_ms:8d} {who:<8} {text}")

    def digest(self) -> str:
        """Of everything so far, in hexadecimal."""
        return self._hash.hexdigest()
