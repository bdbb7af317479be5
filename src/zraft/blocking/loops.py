"""Threads with an event loop, in which other threads have coroutines run.

`LoopThread` is one such thread; `SHARED` is the one of all blocking clients, which lives as long as there are any.
Whatever is left when the interpreter exits is closed then, while threads can still be started: a node needs one to end.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures.thread  # noqa: F401 - see the end of this file
import os
import threading
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from queue import Empty, SimpleQueue
from typing import Any, Final, Generic, Protocol, TypeVar

from zraft.app.loops import loop_factory
from zraft.errors import UsageError

T = TypeVar("T")

_LOOK_S: Final = 0.5
"""A signal that comes in the instant in which a thread falls asleep does not wake it: it looks up now and then."""


class _Call(Generic[T]):
    """One coroutine on its way through the loop's thread.

    The thread that waits does so on a queue, whose `get` is one step for the interpreter: Ctrl-C in the middle of a
    condition's Python code could leave its lock taken, and the loop would stand for ever.
    """

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self._work = work
        self._task: asyncio.Task[T] | None = None
        self._ended: SimpleQueue[asyncio.Task[T]] = SimpleQueue()

    def begin(self) -> None:
        """In the loop: run it. Whatever becomes of it, whoever waits goes on."""
        self._task = asyncio.get_running_loop().create_task(self._work)
        self._task.add_done_callback(self._ended.put)

    def wait(self) -> asyncio.Task[T]:
        """In the other thread: the task, which is done."""
        while True:
            try:
                return self._ended.get(timeout=_LOOK_S)
            except Empty:
                continue

    def abandon(self) -> None:
        """In the loop: nobody waits any more."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            self._task.add_done_callback(lambda task: task.cancelled() or task.exception())


class LoopThread:
    """A thread that runs an event loop from when it is made until `close`."""

    def __init__(self, name: str) -> None:
        started: SimpleQueue[tuple[asyncio.AbstractEventLoop, asyncio.Event] | OSError] = SimpleQueue()
        self._guard = threading.Lock()
        self._is_closed = False
        self._thread = threading.Thread(target=_serve, args=(started,), name=name, daemon=True)
        self._thread.start()
        found = started.get()
        if isinstance(found, OSError):
            raise found
        self._loop, self._end = found

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` returns or raises, run in the loop.

        Raises `UsageError` in the loop's own thread, which would wait for itself, and where the loop is closed, also
        meanwhile. What interrupts the wait (Ctrl-C) cancels the work.
        """
        call = _Call(work)
        task: asyncio.Task[T] | None = None
        try:
            self._submit(call.begin)
            task = call.wait()
        except UsageError:
            work.close()
            raise
        finally:
            if task is None:
                self._abandon(call.abandon)
        if task.cancelled():
            raise UsageError("it was closed while this call waited")
        return task.result()

    def _submit(self, begin: Callable[[], None]) -> None:
        with self._guard:
            if threading.get_ident() == self._thread.ident:
                raise UsageError("a blocking call in the thread of its own event loop: use zraft, which is async")
            if self._is_closed or not self._thread.is_alive():
                raise UsageError("this is closed, or was made before a fork: make a new one")
            self._loop.call_soon_threadsafe(begin)

    def _abandon(self, abandon: Callable[[], None]) -> None:
        with self._guard:
            if not self._is_closed and self._thread.is_alive():
                self._loop.call_soon_threadsafe(abandon)

    def close(self) -> None:
        """The loop and its thread have ended; what was running in it was cancelled. May be called twice."""
        with self._guard:
            if threading.get_ident() == self._thread.ident:
                raise UsageError("a loop's own thread cannot wait for its end")
            if not self._is_closed and self._thread.is_alive():
                self._loop.call_soon_threadsafe(self._end.set)
            self._is_closed = True
        self._thread.join()


def _serve(started: SimpleQueue[tuple[asyncio.AbstractEventLoop, asyncio.Event] | OSError]) -> None:
    async def until_closed() -> None:
        end = asyncio.Event()
        started.put((asyncio.get_running_loop(), end))
        await end.wait()

    try:
        runner = asyncio.Runner(loop_factory=loop_factory())
        runner.get_loop()
    except OSError as error:  # no descriptor is left
        started.put(error)
        return
    with runner:
        runner.run(until_closed())


class SharedLoop:
    """One `LoopThread` for whoever `lease`s it, from the first lease to the last `release`."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._thread: LoopThread | None = None
        self._leases = 0

    def lease(self) -> LoopThread:
        """The thread; to be given back by `release`, once."""
        with self._guard:
            if self._thread is None:
                self._thread = LoopThread("zraft clients")
            self._leases += 1
            return self._thread

    def release(self) -> None:
        """One lease is over; the last one ends the thread."""
        ended: LoopThread | None = None
        with self._guard:
            self._leases -= 1
            if self._leases == 0:
                ended, self._thread = self._thread, None
        if ended is not None:
            ended.close()

    def forget(self) -> None:
        """This process is the child of a fork: there is no thread."""
        self._guard, self._thread, self._leases = threading.Lock(), None, 0


class Closable(Protocol):
    """What is closed when the interpreter exits, if nobody did it before."""

    def close(self) -> None: ...


SHARED: Final = SharedLoop()
_OPEN: Final[dict[Closable, None]] = {}
_AFTER_FORK: Final[list[Callable[[], None]]] = [SHARED.forget, _OPEN.clear]


def close_at_exit(what: Closable) -> None:
    """`what` is open: it is closed when the interpreter exits."""
    _OPEN[what] = None


def is_closed(what: Closable) -> None:
    """`what` needs not be closed any more."""
    _OPEN.pop(what, None)


def after_fork(forget: Callable[[], None]) -> None:
    """In the child of a fork `forget` is called, before anything else."""
    _AFTER_FORK.append(forget)


def _at_exit() -> None:
    """The newest first, for it may need what was made before. What one raises does not spare the others."""
    with ExitStack() as exits:
        for what in _OPEN:
            exits.callback(what.close)


def _in_child() -> None:
    for forget in _AFTER_FORK:
        forget()


# When `atexit` runs no thread can be started any more. The hook that threading itself offers to concurrent.futures has
# no public name; ours runs before theirs, because theirs was imported earlier.
getattr(threading, "_register_atexit", atexit.register)(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
