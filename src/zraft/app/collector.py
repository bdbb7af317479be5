"""Python's garbage collector in a server: what has outlived one full collection is not looked at again in the next.

A full collection looks at every container in the process, and holds everything up meanwhile: 0.14 s for a million
values that are lists. So whatever survives one is frozen, and the next one sees only what is new. What was frozen and
became garbage in a cycle later is found by a sweep, which looks at everything; it waits for a quiet moment.

Only a process of our own does this: where a node is embedded, the collector belongs to the application.
"""

from __future__ import annotations

import asyncio
import gc
import time
from typing import Final

LOOK_S: Final = 10.0
"""How often it is seen whether a sweep is due, and how long a quiet moment is."""
QUIET_SHARE: Final = 0.02
"""Of a processor, at most, was used in a quiet moment."""
SWEEP_S: Final = 600.0
"""At least, between two sweeps."""
PATIENCE_S: Final = 86_400.0
"""A process that is never quiet is swept after this all the same: a pause once a day, for a bound on what is lost."""


class Collector:
    """Of this process. `install` once everything is loaded, `look` now and then, `remove` in the end."""

    def __init__(self) -> None:
        self._looked_s = self._swept_s = 0.0
        self._used_s = 0.0

    def install(self, now_s: float, used_s: float) -> None:
        """From now on what survives is frozen. `now_s`: a monotonic clock; `used_s`: processor time of the process."""
        self._looked_s = self._swept_s = now_s
        self._used_s = used_s
        gc.collect()
        gc.freeze()
        gc.callbacks.append(self._collected)

    def remove(self) -> None:
        """As before `install`."""
        gc.callbacks.remove(self._collected)
        gc.unfreeze()

    def look(self, now_s: float, used_s: float) -> bool:
        """Sweeps, where that is due and the moment is good; True where it did."""
        took_s, busy_s = now_s - self._looked_s, used_s - self._used_s
        self._looked_s, self._used_s = now_s, used_s
        since_s = now_s - self._swept_s
        is_quiet = busy_s <= QUIET_SHARE * took_s
        if since_s < SWEEP_S or not (is_quiet or since_s >= PATIENCE_S):
            return False
        self._swept_s = now_s
        gc.unfreeze()
        gc.collect()  # which freezes what is left
        return True

    def _collected(self, phase: str, info: dict[str, int]) -> None:
        if phase == "stop" and info["generation"] == 2:
            gc.freeze()


async def tend() -> None:
    """Until it is cancelled."""
    collector = Collector()
    collector.install(time.monotonic(), time.process_time())
    try:
        while True:
            await asyncio.sleep(LOOK_S)
            collector.look(time.monotonic(), time.process_time())
    finally:
        collector.remove()
