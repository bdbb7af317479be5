"""How far long work is, for people at a terminal."""

from __future__ import annotations

import os
import sys
import time
from typing import Final

_PROGRESS_S: Final = 1.0
_MIB: Final = 1 << 20


class Progress:
    """How far long work is: a line a second on a terminal, nothing elsewhere."""

    def __init__(self, done: str, size: int) -> None:
        self._done, self._size, self._so_far = done, size, 0
        self._is_shown = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._said_at = time.monotonic()
        self._has_said = False

    def add(self, size: int) -> None:
        """So many more bytes are done."""
        self._so_far += size
        if self._is_shown and time.monotonic() - self._said_at > _PROGRESS_S:
            self._said_at, self._has_said = time.monotonic(), True
            print(f"\r{self._done} {self._so_far // _MIB} of {self._size // _MIB} MiB", end="", file=sys.stderr)

    def end(self) -> None:
        """Everything is."""
        if self._has_said:
            print(file=sys.stderr)
