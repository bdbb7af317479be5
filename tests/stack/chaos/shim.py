"""The library that makes a server's disk fail (`faults.c`): built with cc, steered through a file that both map."""

from __future__ import annotations

import errno
import mmap
import shutil
import struct
import subprocess
import sys
from enum import IntEnum
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).with_name("faults.c")
ALWAYS: Final = 1 << 30
"""So many calls are struck: until the rule is taken back."""
LOST: Final = -1
"""As `keep` of a rule for writes: they are said to be done, and are not."""

_HEADER: Final = struct.Struct("=ii")
_RULE: Final = struct.Struct("=9i")


class Call(IntEnum):
    """What can fail, in the order of `enum kind`."""

    SYNC = 0
    FILE_SYNC = 1
    WRITE = 2
    TRUNCATE = 3
    RENAME = 4
    OPEN = 5


def build(folder: Path) -> Path | None:
    """The library, made in `folder`; None where there is no compiler, or no way to preload: which is said loudly."""
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        print("chaos: NO CC, OR NOT LINUX: NO DISK IS MADE TO FAIL IN THIS RUN", file=sys.stderr, flush=True)
        return None
    library = folder / "faults.so"
    words = [compiler, "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", str(library), str(SOURCE), "-ldl"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{SOURCE.name} cannot be built: {done.stderr}")
    return library


class Shim:
    """Of one server. The rules hold for whatever process runs on the folder, also for one that is started later."""

    def __init__(self, library: Path, file: Path, below: Path) -> None:
        size = _HEADER.size + len(Call) * _RULE.size
        file.write_bytes(bytes(size))
        with file.open("r+b") as opened:
            self._map = mmap.mmap(opened.fileno(), size)
        self.environment = {
            "LD_PRELOAD": str(library),
            "CHAOS_CONTROL": str(file),
            "CHAOS_BELOW": str(below.resolve()),
        }

    def close(self) -> None:
        """It steers nothing any more."""
        self._map.close()

    def rule(
        self,
        call: Call,
        *,
        skip: int = 0,
        times: int = ALWAYS,
        error: int = errno.EIO,
        delay_ms: int = 0,
        keep: int = 0,
        top: bool = True,
        disarms: tuple[Call, ...] = (),
    ) -> None:
        """What is to happen to the call from `arm` on; see `faults.c`."""
        bits = sum(1 << other for other in disarms)
        _RULE.pack_into(
            self._map, self._place(call), skip, times, error, delay_ms, keep, int(top), bits, self.calls(call), 0
        )

    def arm(self, *calls: Call) -> None:
        """Their rules hold from now on, all at once, and no others."""
        struct.pack_into("=i", self._map, 0, sum(1 << call for call in calls))

    def clear(self) -> None:
        """Everything works, and the clock is right."""
        _HEADER.pack_into(self._map, 0, 0, 0)

    def set_clock(self, offset_s: int) -> None:
        """The wall clock jumps, and stays wrong by so much."""
        struct.pack_into("=i", self._map, 4, offset_s)

    def calls(self, call: Call) -> int:
        """How often it was called below the folder, in all lives; writes count while they have a rule."""
        return int(struct.unpack_from("=i", self._map, self._place(call) + 28)[0])

    def hits(self, call: Call) -> int:
        """How many calls its present rule has struck."""
        return int(struct.unpack_from("=i", self._map, self._place(call) + 32)[0])

    def _place(self, call: Call) -> int:
        return _HEADER.size + call * _RULE.size
