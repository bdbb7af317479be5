"""What a backend asks the world for while it applies: each call is seen in the moment in which it is made.

The interpreter's profiling hook tells of every call of a built-in function, whatever name it was imported under, with
the line that makes it. So `time.time`, `from time import time` and `datetime.now` are all the same, and nothing of the
world has to be replaced. What a branch does that these commands do not take is not seen.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import date
from types import FrameType, TracebackType
from typing import Any, Final, Self

import msgspec

_CLOCKS: Final = frozenset(
    "time time_ns monotonic monotonic_ns perf_counter perf_counter_ns process_time process_time_ns thread_time "
    "thread_time_ns clock_gettime clock_gettime_ns localtime ctime sleep".split()
)
_MAYBE_CLOCKS: Final = frozenset({"gmtime", "strftime", "asctime"})
"""They are told a time, or take the present one."""
_TODAY: Final = frozenset({"now", "utcnow", "today"})
_SYSTEM: Final = {
    "urandom": "chance",
    "getrandom": "chance",
    "getpid": "the process",
    "getppid": "the process",
    "uname": "the machine",
    "gethostname": "the machine",
    "getcwd": "the process",
    "open": "a file",
    "listdir": "a file",
    "scandir": "a file",
    "generate_time_safe": "a clock",
}
_MODULES: Final = frozenset({"posix", "nt", "_socket", "_uuid", "io", "_io"})
_BYSTANDERS: Final = frozenset(
    {"logging", "warnings", "traceback", "linecache", "_frozen_importlib", "_frozen_importlib_external", "importlib"}
)
"""What these ask for stays with them: it reaches no state."""
_OWN: Final = frozenset({"id()", "hash()"})
"""Counts only where the backend itself calls it: the standard library has good uses for both."""
_OURS: Final = ("zraft.sim.", "zraft.session.")

SURE: Final = "sure"
PERHAPS: Final = "perhaps"


class Call(msgspec.Struct, frozen=True):
    """A call that `apply` has made, directly or through others. `PERHAPS` it does no harm."""

    what: str
    """The name of the function."""
    of: str
    """What it asks for."""
    where: str
    """file:line of the backend's source."""
    function: str
    certainty: str


class Guard:
    """A context manager, entered around what must not depend on anything; any number of times."""

    def __init__(self, package: str) -> None:
        """Of a backend from this top-level module."""
        self.calls: dict[Call, int] = {}
        """Each with how often it was made."""
        self._package = package
        self._before: Any = None

    def __enter__(self) -> Self:
        self._before = sys.getprofile()
        sys.setprofile(self._see)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        sys.setprofile(self._before)

    def _see(self, frame: FrameType, event: str, argument: Any) -> None:
        found: tuple[str, str, str] | None = None
        if event == "c_call":
            found = _asked(argument, frame)
        elif event == "call":
            found = _entered(frame)
        if found is None:
            return
        user, inner = self._user(frame)
        if user is None or (found[0] in _OWN and inner is not None):
            return
        code = user.f_code
        what = found[0]
        if inner is not None and inner is not frame:
            what = f"{inner.f_globals.get('__name__')}.{inner.f_code.co_qualname}(), by way of {what}"
        call = Call(what, found[1], f"{code.co_filename}:{user.f_lineno}", code.co_qualname, found[2])
        self.calls[call] = self.calls.get(call, 0) + 1

    def _user(self, frame: FrameType) -> tuple[FrameType | None, FrameType | None]:
        """The backend's own line, of its package if there is one, and what it called, where that is Python too."""
        first: tuple[FrameType | None, FrameType | None] = (None, None)
        inner: FrameType | None = None
        for each in _outwards(frame):
            name = str(each.f_globals.get("__name__", ""))
            top = name.partition(".")[0]
            if top in _BYSTANDERS or name.startswith(_OURS):
                break
            if top == self._package:
                return each, inner
            if first[0] is None and top not in sys.stdlib_module_names:
                first = each, inner
            inner = each
        return first


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _asked(function: Any, frame: FrameType) -> tuple[str, str, str] | None:
    """Name, what of, certainty; None where the built-in function depends on nothing else than its arguments."""
    name, module = function.__name__, function.__module__
    if module == "time":
        if name in _CLOCKS or name in _MAYBE_CLOCKS:
            return f"time.{name}()", "a clock", SURE if name in _CLOCKS else PERHAPS
    elif module in _MODULES:
        if name in _SYSTEM:
            return f"{'os' if module in ('posix', 'nt') else module.strip('_')}.{name}()", _SYSTEM[name], SURE
    elif module == "builtins":
        if name == "id":
            return "id()", "an object's place in memory", SURE
        if name == "hash" and frame.f_code.co_name != "__hash__":
            return "hash()", "a hash, of texts another one in each process", PERHAPS
    elif module is None:
        return _of_object(name, function.__self__)
    return None


def _of_object(name: str, owner: object) -> tuple[str, str, str] | None:
    """The same for a method of a built-in type."""
    if isinstance(owner, type):
        if name in _TODAY and issubclass(owner, date):
            return f"{owner.__name__}.{name}()", "a clock", SURE
    elif owner is getattr(sys.modules.get("random"), "_inst", NotImplemented):
        return f"random.{name}()", "chance", SURE
    return None


def _entered(frame: FrameType) -> tuple[str, str, str] | None:
    """The same for what is written in Python."""
    name = frame.f_code.co_name
    if name == "seed" and frame.f_globals.get("__name__") == "random" and frame.f_locals.get("a", 0) is None:
        return "random.Random() without a seed", "chance", SURE
    if name == "__getitem__" and frame.f_code.co_qualname == "_Environ.__getitem__":
        return "os.environ", "the process", SURE
    return None
