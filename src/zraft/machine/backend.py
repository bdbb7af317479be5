"""The interface of a replicated state machine (§3.5): what a user subclasses, and the small values of its methods.

Every replica makes the same calls in the same order, so `apply`, `advance` and `expire_session` are deterministic: no
clock, no chance, no I/O, nothing that depends on the process they run in. What they may depend on is the state, the
command and the `Context`. All methods are synchronous.

Left out on purpose: a way to undo. A command that raises half way leaves what it has changed: validate, then change.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, ClassVar, Final, Protocol, Self, TypeAlias

import msgspec

from zraft.errors import UsageError
from zraft.types import Index, Millis, PeerId, Term, Value
from zraft.wire.changes import UNSAID
from zraft.wire.changes import Change as Change  # noqa: PLC0414 - part of the interface
from zraft.wire.changes import Prefix as Prefix  # noqa: PLC0414 - the same

_MASK: Final = (1 << 64) - 1
_STEP: Final = 0x9E3779B97F4A7C15  # 2^64 divided by the golden ratio, odd: it visits every 64-bit state


class Reject(Exception):
    """Raised by `apply` and `query` to refuse: every replica and the caller get `code` and `detail` as they are.

    `code` is a short name that a program compares, `detail` any value that a message carries. Refuse before anything
    is changed. Raises `UsageError` where `code` is not a str.
    """

    def __init__(self, code: str, detail: Value = None) -> None:
        if not isinstance(code, str):
            raise UsageError(f"the code of a Reject is a str, not {type(code).__name__}")
        self.code, self.detail = code, detail
        super().__init__(code, detail)


class Applied(msgspec.Struct, frozen=True, gc=False):
    """The result of a command, and the keys that it changed: each a key or a `Change`. Watches on them fire."""

    result: Value
    changed: Iterable[Any] = ()


class Answer(msgspec.Struct, frozen=True, gc=False):
    """The value of a query, and the keys (or `Prefix`es) whose change would change it. Empty: it cannot be watched."""

    value: Value
    watch: Iterable[Any] = ()


class ReadableFile(Protocol):
    """A binary file of a snapshot, open for reading from its beginning."""

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes, fewer only at the end; -1: all that is left."""

    def close(self) -> None:
        """Nothing is read any more. May be called twice."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


class WritableFile(Protocol):
    """A binary file of a snapshot, new and empty. What is written counts once the file is closed."""

    def write(self, data: bytes, /) -> int:
        """Append all of `data`; answers its length."""

    def close(self) -> None:
        """What was written counts; on a real disk it is durable when this returns. May be called twice."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


class Directory(Protocol):
    """Where a snapshot is written to or read from. On a real disk it is an `os.PathLike`, too. Raises OSError."""

    def create(self, name: str) -> WritableFile:
        """A new file; the name must not exist yet."""

    def open(self, name: str) -> ReadableFile:
        """An existing file."""

    def names(self) -> list[str]:
        """The files there, sorted."""


SnapshotWriter: TypeAlias = Callable[[Directory], None]
"""Writes a state that was captured earlier. Runs in a worker thread while commands go on being applied."""


class SyncSnapshot(msgspec.Struct, frozen=True):
    """Returned by `snapshot()` where the state cannot be captured: `writer` runs at once, and apply waits for it."""

    writer: SnapshotWriter


class Context:
    """What a command may know besides the state. The same on every replica. Valid during the call it is given to.

    `index` and `term` are the entry's, `time` is replicated milliseconds since the group's birth and never decreases,
    `wall` the leader's clock in milliseconds since 1970 (informative: it may jump; 0 where the entry has none),
    `session` the id of the writer's session (None: a light session), `temporary` says that the data goes when that
    session ends, `version` is the machine version that every member supports.
    """

    __slots__ = ("_drawn_at", "_state", "index", "session", "temporary", "term", "time", "version", "wall")

    def __init__(
        self,
        *,
        index: Index = 1,
        term: Term = 1,
        time: Millis = 0,
        wall: int = 0,
        session: int | None = None,
        temporary: bool = False,
        version: int = 1,
    ) -> None:
        self.index, self.term, self.time, self.wall = index, term, time, wall
        self.session, self.temporary, self.version = session, temporary, version
        self._drawn_at, self._state = -1, 0

    def random(self) -> float:
        """The entry's next number in [0, 1). The sequence depends on `index` alone: fair, but no secret."""
        return (self._next() >> 11) * 2.0**-53

    def randbytes(self, n: int) -> bytes:
        """The entry's next `n` bytes, from the same sequence as `random()`. Raises `UsageError` where n is negative."""
        if n < 0:
            raise UsageError(f"cannot draw {n} bytes")
        words = (self._next() for _ in range((n + 7) // 8))
        return b"".join(word.to_bytes(8, "little") for word in words)[:n]

    def _next(self) -> int:
        """64 bits by splitmix64, whose state begins anew, well mixed, at each index."""
        if self._drawn_at != self.index:
            self._drawn_at, self._state = self.index, _mixed(self.index)
        self._state = (self._state + _STEP) & _MASK
        return _mixed(self._state)


def _mixed(word: int) -> int:
    """The output function of splitmix64: one changed bit of `word` changes half of the result."""
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _MASK
    return word ^ (word >> 31)


class Backend(ABC):
    """A replicated state machine. Subclass it, and give the class to `Node(backends={name: class})`.

    `apply` and `query` must be written; without `snapshot` and `install_snapshot` the log can never be shortened.
    `MemoryError`, `RecursionError`, `OSError`, `SystemError` and `ReplicaFault` from `apply`, `advance` or
    `expire_session` stop the peer, because other replicas need not meet them; every other Exception is the command's
    result, by class name, on every replica.
    """

    name: ClassVar[str] = ""
    """What stored data says about its backend; the key in `backends=` counts where it differs."""
    version: ClassVar[int] = 1
    """The newest machine version that this class can act as."""
    Command: ClassVar[Any] = Any
    """A type that msgspec decodes commands into. What does not fit it is refused and never reaches `apply`."""
    Query: ClassVar[Any] = Any
    """The same for queries."""

    def __init__(self, peer_id: PeerId) -> None:
        """Fresh, empty state. `peer_id` is for messages and file names: state that depends on it diverges."""
        self.peer_id = peer_id

    @abstractmethod
    def apply(self, command: Any, ctx: Context) -> Any:
        """Changes the state and returns the command's result, or `Applied`; raises `Reject` to refuse."""

    @abstractmethod
    def query(self, query: Any) -> Any:
        """The answer from the present state, or `Answer`; raises `Reject` to refuse. Changes nothing."""

    def change_of(self, command: Any, key: Any) -> Change:
        """What became of `key`, which `apply` has reported for `command` without saying more.

        For whoever streams changes. It is asked later, or never, so it goes by its arguments alone. A backend whose
        commands say what they store is spared a `Change` for every write.
        """
        return Change(key, None, UNSAID)

    def offers_stream(self, key: Any) -> bool | None:
        """Whether the changes of `key`, a key or a `Prefix`, can be streamed; raises `Reject` for what is no key.

        None: by what `apply` does. A backend that reports changes streams them, one that reports none does not.
        """
        return None

    def expire_session(self, session: int, ctx: Context) -> Iterable[Any]:
        """The session has ended: its temporary data is gone when this returns the changed keys."""
        return ()

    def temporary_count(self) -> int:
        """How much temporary data there is, of all sessions together; for the status of a peer."""
        return 0

    def due(self) -> Millis | None:
        """The replicated time at which `advance` has something to do, from the state alone; None: nothing is due."""
        return None

    def advance(self, ctx: Context) -> Iterable[Any]:
        """`ctx.time` has reached `due()`: does what is due and returns the changed keys."""
        return ()

    def snapshot(self) -> SnapshotWriter | SyncSnapshot:
        """Captures the state now, quickly, and returns what writes it later, in pieces, outside the event loop (§5).

        Each capture is followed by one call of `snapshot_done` or `snapshot_failed`, when its writer runs no more.
        """
        raise NotImplementedError(f"{type(self).__name__} has no snapshot()")

    def snapshot_done(self) -> None:
        """The last captured snapshot is durable: what was kept for its writer is needed no longer."""

    def snapshot_failed(self, error: Exception) -> None:
        """The last captured snapshot was given up, or could not be captured: nothing is needed for it any more."""

    def install_snapshot(self, directory: Directory) -> None:
        """Fills this fresh instance from a snapshot, in a worker thread; it is put to use afterwards."""
        raise NotImplementedError(f"{type(self).__name__} has no install_snapshot()")

    def digest(self) -> int | None:
        """A number over the whole state, equal on replicas that applied the same log; None: not offered.

        The divergence alarm asks for it every few thousand entries, in the event loop: keep it up from change to
        change, or write `sample` as well.
        """
        return None

    def sample(self, changed: Sequence[Any], index: int) -> int | None:
        """What the divergence alarm asks for: a number over as much of the state as can be read in a millisecond.

        It is equal on replicas that applied the same log. `changed` are keys as `apply` and the others named them, in
        any order and perhaps repeatedly: those of the last entries; `index` is that of the last entry of all.
        """
        return self.digest()
