"""`zraft.recipes` without `async`, for sessions of `zraft.blocking`."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from zraft import recipes
from zraft.blocking.session import Session
from zraft.client.waiting import Timeout
from zraft.machine.table_types import Compare
from zraft.types import Value

__all__ = ["Counter", "Election", "Lock"]


class Lock:
    """As `zraft.recipes.Lock`. A context manager; `with` gives the token."""

    def __init__(self, session: Session, name: str) -> None:
        self._run, self._lock = session.run, recipes.Lock(session.its, name)

    def __enter__(self) -> int:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    @property
    def token(self) -> int | None:
        """As `zraft.recipes.Lock.token`."""
        return self._lock.token

    @property
    def held(self) -> Compare:
        """As `zraft.recipes.Lock.held`."""
        return self._lock.held

    def acquire(self, *, timeout: Timeout = None) -> int:
        """As `zraft.recipes.Lock.acquire`. Ctrl-C gives the turn up."""
        token: int = self._run(self._lock.acquire(timeout=timeout))
        return token

    def release(self) -> None:
        """As `zraft.recipes.Lock.release`."""
        self._run(self._lock.release())


class Election:
    """As `zraft.recipes.Election`."""

    def __init__(self, session: Session, name: str) -> None:
        self._run, self._election = session.run, recipes.Election(session.its, name)

    @property
    def token(self) -> int | None:
        """As `zraft.recipes.Election.token`."""
        return self._election.token

    @property
    def held(self) -> Compare:
        """As `zraft.recipes.Election.held`."""
        return self._election.held

    def campaign(self, value: Value, *, timeout: Timeout = None) -> int:
        """As `zraft.recipes.Election.campaign`."""
        token: int = self._run(self._election.campaign(value, timeout=timeout))
        return token

    def resign(self) -> None:
        """As `zraft.recipes.Election.resign`."""
        self._run(self._election.resign())

    def leader(self, *, timeout: Timeout = 5.0) -> Value:
        """As `zraft.recipes.Election.leader`."""
        return self._run(self._election.leader(timeout=timeout))


class Counter:
    """As `zraft.recipes.Counter`."""

    def __init__(self, session: Session, key: Any) -> None:
        self._run, self._counter = session.run, recipes.Counter(session.its, key)

    def add(self, by: int = 1, *, timeout: Timeout = 5.0) -> int:
        """As `zraft.recipes.Counter.add`."""
        total: int = self._run(self._counter.add(by, timeout=timeout))
        return total

    def value(self, *, timeout: Timeout = 5.0) -> int:
        """As `zraft.recipes.Counter.value`."""
        total: int = self._run(self._counter.value(timeout=timeout))
        return total
