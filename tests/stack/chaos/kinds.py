"""The kinds of fault: each an async context manager that strikes on entering and has healed on leaving.

What is healed on leaving is what a system does by itself or whoever runs it does at once: a process that is started
again, a network that works again, space that is there again. Whatever else is needed, `Scene.heal` does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias

from tests.stack.chaos.scene import Scene

Strike: TypeAlias = Callable[[Scene], AbstractAsyncContextManager[None]]


class NotNow(Exception):
    """There is nobody whom this fault could strike."""


@dataclass(frozen=True)
class Kind:
    """One kind of fault. `weight`: how often it is drawn. `needs`: "shim", "snapshots" or nothing."""

    name: str
    strike: Strike
    weight: int = 2
    needs: str = ""


KINDS: Final[dict[str, Kind]] = {}
"""By name, as the modules beside this one define them."""


def kind(
    name: str, *, weight: int = 2, needs: str = ""
) -> Callable[[Callable[[Scene], AsyncIterator[None]]], Callable[[Scene], AsyncIterator[None]]]:
    """Registers the generator that follows as a kind of fault."""

    def register(strike: Callable[[Scene], AsyncIterator[None]]) -> Callable[[Scene], AsyncIterator[None]]:
        KINDS[name] = Kind(name, asynccontextmanager(strike), weight, needs)
        return strike

    return register
