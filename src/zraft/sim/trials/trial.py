"""What is tried: a state machine of a user, what is asked of it, and what has to hold.

A trial is frozen and has no state of its own, so that any number of runs may share it. Everything that a user gives is
a function of its arguments alone; a run is the same twice only if that is so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from zraft.errors import UsageError
from zraft.machine.backend import Backend
from zraft.machine.registry import Backends
from zraft.sim.chance import Chance
from zraft.types import Index, Millis, PeerId, Value

PROBE: Final = PeerId("probe", "nowhere:0")
"""For an instance that is only asked what kind of machine it is."""


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """One command or query of one simulated client, and what the client was told."""

    name: str
    """Client and number, such as "c0.4"."""
    request: Any
    """The command or query, as it was drawn."""
    is_query: bool
    called_ms: Millis
    returned_ms: Millis | None
    """When the client had its answer; None: it never had one, and a command may have run or not."""
    result: Any = None
    """What the backend answered."""
    error: str = ""
    """The code of a `Reject`, or the class of what the backend raised; "" where there is a result."""
    index: Index | None = None
    """The entry of a command, or the one after which a query was answered; None where no answer says so."""
    is_refused: bool = False
    """It has not run and never will: nobody was there to take it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A backend, called `name` in the group, and its workload."""

    name: str
    make: Callable[[PeerId], Backend]
    command: Callable[[Chance, str, int], Value]
    """The command of a client, by its number."""
    query: Callable[[Chance, str, int], Value] | None = None
    reads: int = 30
    """Percent of what is asked; nothing where there is no `query`."""
    invariant: Callable[[Any], object] | None = None
    """Raises, or answers False, where a state is not as it must be."""
    state: Callable[[Any], object] | None = None
    """What counts as the state; None: every field."""
    history: Callable[[list[Exchange]], object] | None = None
    """The same as `invariant` for everything that was asked in a run."""
    may_raise: tuple[str, ...] = ()
    """Classes of exceptions, besides Reject, that are a result like any other."""


class TrialBackends(Backends):
    """The built-in backends, and the one that is tried: made by whatever makes it, which need not be a class."""

    def __init__(self, trial: Trial) -> None:
        """Raises UsageError where what it makes is no `Backend`."""
        super().__init__()
        self._trial = trial
        probe = trial.make(PROBE)
        if not isinstance(probe, Backend):
            raise UsageError(f"not a zraft.Backend: {probe!r}")
        self._version = probe.version

    def __contains__(self, name: str) -> bool:
        return name == self._trial.name or super().__contains__(name)

    def names(self) -> list[str]:
        return sorted([*super().names(), self._trial.name])

    def version(self, name: str) -> int:
        return self._version if name == self._trial.name else super().version(name)

    def make(self, name: str, peer_id: PeerId) -> Backend:
        return self._trial.make(peer_id) if name == self._trial.name else super().make(name, peer_id)
