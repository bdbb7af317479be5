"""`zraft.recipes` without `async`, for sessions of `zraft.blocking`.

Ctrl-C ends a wait as a cancellation does: what was waited for is given up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from zraft import recipes
from zraft.blocking.light import Run
from zraft.blocking.session import Session
from zraft.client.waiting import Timeout
from zraft.machine.table_types import Compare, Entry
from zraft.recipes.holding import Holding, Loss
from zraft.types import NOT_FOUND, Value

__all__ = [
    "Barrier",
    "Cache",
    "Counter",
    "DoubleBarrier",
    "Election",
    "Lock",
    "Party",
    "Queue",
    "RWLock",
    "ReadLock",
    "Semaphore",
    "WriteLock",
]


class _Holding:
    """What all have in common that is held: see `zraft.recipes.holding`."""

    def __init__(self, run: Run, its: Holding) -> None:
        self._run, self._held = run, its

    @property
    def token(self) -> int | None:
        """As `zraft.recipes.Lock.token`."""
        return self._held.token

    @property
    def is_acquired(self) -> bool:
        """As `zraft.recipes.Lock.is_acquired`."""
        return self._held.is_acquired

    @property
    def held(self) -> Compare:
        """As `zraft.recipes.Lock.held`."""
        return self._held.held

    def wait_lost(self, *, in_doubt: bool = False, timeout: Timeout = None) -> Loss:
        """As `zraft.recipes.Lock.wait_lost`: for a thread that does nothing else."""
        loss: Loss = self._run(self._held.wait_lost(in_doubt=in_doubt, timeout=timeout))
        return loss


class _Lease(_Holding):
    """A context manager; `with` gives the token."""

    def __init__(self, run: Run, its: recipes.Lock | recipes.Semaphore) -> None:
        super().__init__(run, its)
        self._its = its

    def __enter__(self) -> int:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def acquire(self, *, timeout: Timeout = None) -> int:
        """As `zraft.recipes.Lock.acquire`. Ctrl-C gives the turn up."""
        token: int = self._run(self._its.acquire(timeout=timeout))
        return token

    def release(self) -> None:
        """As `zraft.recipes.Lock.release`."""
        self._run(self._its.release())


class _AnyLock(_Lease):
    """What a lock and the two sides of an `RWLock` have in common."""

    def __init__(self, run: Run, its: recipes.Lock) -> None:
        super().__init__(run, its)
        self._lock = its

    def contenders(self, *, timeout: Timeout = 5.0) -> list[Value]:
        """As `zraft.recipes.Lock.contenders`."""
        found: list[Value] = self._run(self._lock.contenders(timeout=timeout))
        return found


class Lock(_AnyLock):
    """As `zraft.recipes.Lock`. A context manager; `with` gives the token."""

    def __init__(self, session: Session, name: str, identifier: Value = None) -> None:
        super().__init__(session.run, recipes.Lock(session.its, name, identifier))


class ReadLock(_AnyLock):
    """As `zraft.recipes.ReadLock`. A context manager; `with` gives the token."""

    def __init__(self, session: Session, name: str, identifier: Value = None) -> None:
        super().__init__(session.run, recipes.ReadLock(session.its, name, identifier))


class WriteLock(_AnyLock):
    """As `zraft.recipes.WriteLock`. A context manager; `with` gives the token."""

    def __init__(self, session: Session, name: str, identifier: Value = None) -> None:
        super().__init__(session.run, recipes.WriteLock(session.its, name, identifier))


class RWLock:
    """As `zraft.recipes.RWLock`."""

    def __init__(self, session: Session, name: str, identifier: Value = None) -> None:
        self._session, self._name, self._identifier = session, name, identifier
        recipes.RWLock(session.its, name, identifier)  # a wrong name is told here

    def reader(self) -> ReadLock:
        """As `zraft.recipes.RWLock.reader`."""
        return ReadLock(self._session, self._name, self._identifier)

    def writer(self) -> WriteLock:
        """As `zraft.recipes.RWLock.writer`."""
        return WriteLock(self._session, self._name, self._identifier)


class Semaphore(_Lease):
    """As `zraft.recipes.Semaphore`. A context manager; `with` gives the token."""

    def __init__(self, session: Session, name: str, max_leases: int = 1, identifier: Value = None) -> None:
        self._semaphore = recipes.Semaphore(session.its, name, max_leases, identifier)
        super().__init__(session.run, self._semaphore)

    @property
    def max_leases(self) -> int:
        """As `zraft.recipes.Semaphore.max_leases`."""
        return self._semaphore.max_leases

    def lease_holders(self, *, timeout: Timeout = 5.0) -> list[Value]:
        """As `zraft.recipes.Semaphore.lease_holders`."""
        found: list[Value] = self._run(self._semaphore.lease_holders(timeout=timeout))
        return found


class Election(_Holding):
    """As `zraft.recipes.Election`."""

    def __init__(self, session: Session, name: str) -> None:
        self._election = recipes.Election(session.its, name)
        super().__init__(session.run, self._election)

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

    def contenders(self, *, timeout: Timeout = 5.0) -> list[Value]:
        """As `zraft.recipes.Election.contenders`."""
        found: list[Value] = self._run(self._election.contenders(timeout=timeout))
        return found


class Barrier:
    """As `zraft.recipes.Barrier`."""

    def __init__(self, session: Session, name: str) -> None:
        self._run, self._barrier = session.run, recipes.Barrier(session.its, name)

    def create(self, *, timeout: Timeout = 5.0) -> bool:
        """As `zraft.recipes.Barrier.create`."""
        is_new: bool = self._run(self._barrier.create(timeout=timeout))
        return is_new

    def remove(self, *, timeout: Timeout = 5.0) -> bool:
        """As `zraft.recipes.Barrier.remove`."""
        was_there: bool = self._run(self._barrier.remove(timeout=timeout))
        return was_there

    def wait(self, *, timeout: Timeout = None) -> None:
        """As `zraft.recipes.Barrier.wait`."""
        self._run(self._barrier.wait(timeout=timeout))


class DoubleBarrier:
    """As `zraft.recipes.DoubleBarrier`."""

    def __init__(self, session: Session, name: str, num_clients: int, identifier: Value = None) -> None:
        self._run, self._barrier = session.run, recipes.DoubleBarrier(session.its, name, num_clients, identifier)

    @property
    def participating(self) -> bool:
        """As `zraft.recipes.DoubleBarrier.participating`."""
        return self._barrier.participating

    def contenders(self, *, timeout: Timeout = 5.0) -> list[Value]:
        """As `zraft.recipes.DoubleBarrier.contenders`."""
        found: list[Value] = self._run(self._barrier.contenders(timeout=timeout))
        return found

    def enter(self, *, timeout: Timeout = None) -> None:
        """As `zraft.recipes.DoubleBarrier.enter`."""
        self._run(self._barrier.enter(timeout=timeout))

    def leave(self, *, timeout: Timeout = None) -> None:
        """As `zraft.recipes.DoubleBarrier.leave`."""
        self._run(self._barrier.leave(timeout=timeout))


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


class Queue:
    """As `zraft.recipes.Queue`; for any number of threads."""

    def __init__(self, session: Session, name: str) -> None:
        self._run, self._queue = session.run, recipes.Queue(session.its, name)

    def put(self, value: Value, priority: int = 100, *, timeout: Timeout = 5.0) -> None:
        """As `zraft.recipes.Queue.put`."""
        self._run(self._queue.put(value, priority, timeout=timeout))

    def put_all(self, values: Iterable[Value], priority: int = 100, *, timeout: Timeout = 5.0) -> None:
        """As `zraft.recipes.Queue.put_all`."""
        self._run(self._queue.put_all(values, priority, timeout=timeout))

    def get(self, *, timeout: Timeout = None) -> Value:
        """As `zraft.recipes.Queue.get`."""
        return self._run(self._queue.get(timeout=timeout))

    def size(self, *, timeout: Timeout = 5.0) -> int:
        """As `zraft.recipes.Queue.size`."""
        size: int = self._run(self._queue.size(timeout=timeout))
        return size


class Party:
    """As `zraft.recipes.Party`."""

    def __init__(self, session: Session, name: str, identifier: Value = None) -> None:
        self._run, self._party = session.run, recipes.Party(session.its, name, identifier)

    @property
    def participating(self) -> bool:
        """As `zraft.recipes.Party.participating`."""
        return self._party.participating

    def join(self, *, timeout: Timeout = 5.0) -> None:
        """As `zraft.recipes.Party.join`."""
        self._run(self._party.join(timeout=timeout))

    def leave(self, *, timeout: Timeout = 5.0) -> None:
        """As `zraft.recipes.Party.leave`."""
        self._run(self._party.leave(timeout=timeout))

    def members(self, *, timeout: Timeout = 5.0) -> list[Value]:
        """As `zraft.recipes.Party.members`."""
        found: list[Value] = self._run(self._party.members(timeout=timeout))
        return found

    def wait_change(self, known: list[Value], *, timeout: Timeout = None) -> list[Value]:
        """As `zraft.recipes.Party.wait_change`."""
        found: list[Value] = self._run(self._party.wait_change(known, timeout=timeout))
        return found


class Cache:
    """As `zraft.recipes.Cache`. A context manager; for any number of threads."""

    def __init__(self, session: Session, prefix: Any) -> None:
        self._run, self._cache = session.run, recipes.Cache(session.its, prefix)

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open(self, *, timeout: Timeout = None) -> None:
        """As `zraft.recipes.Cache.open`."""
        self._run(self._cache.open(timeout=timeout))

    def close(self) -> None:
        """As `zraft.recipes.Cache.close`."""
        self._run(self._cache.close())

    def __getitem__(self, key: Any) -> Value:
        return self._cache[key]

    def __contains__(self, key: object) -> bool:
        return key in self._cache

    def __iter__(self) -> Iterator[Any]:
        return iter(self._cache)

    def __len__(self) -> int:
        return len(self._cache)

    def get(self, key: Any, default: Value = NOT_FOUND) -> Value:
        """As `zraft.recipes.Cache.get`."""
        return self._cache.get(key, default)

    def entry(self, key: Any) -> Entry | None:
        """As `zraft.recipes.Cache.entry`."""
        return self._cache.entry(key)

    def as_dict(self) -> dict[Any, Value]:
        """As `zraft.recipes.Cache.as_dict`."""
        return self._cache.as_dict()

    @property
    def index(self) -> int:
        """As `zraft.recipes.Cache.index`."""
        return self._cache.index

    @property
    def is_current(self) -> bool:
        """As `zraft.recipes.Cache.is_current`."""
        return self._cache.is_current

    def refresh(self, *, timeout: Timeout = 5.0) -> None:
        """As `zraft.recipes.Cache.refresh`."""
        self._run(self._cache.refresh(timeout=timeout))

    def wait_change(self, since: int, *, timeout: Timeout = None) -> int:
        """As `zraft.recipes.Cache.wait_change`."""
        index: int = self._run(self._cache.wait_change(since, timeout=timeout))
        return index
