"""The world, as far as the exam needs it: other processes, real folders, and a clock for how long something takes.

The rest of the room stays pure; here and nowhere else in `sim` are its exceptions. A process is told by a file what to
do and answers in another one, so that a backend may print. It imports the backend's module by the name under which it
is known here; nothing but that name and bytes of commands get there.
"""

from __future__ import annotations

import faulthandler
import locale
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from zraft.errors import UsageError
from zraft.machine.backend import Backend
from zraft.sim.conformance.script import Script
from zraft.sim.conformance.trial import ONE, OTHER, Record, attempt, record

WORLDS: Final[Mapping[str, Mapping[str, str]]] = {
    "one": {"PYTHONHASHSEED": "1", "TZ": "UTC0", "LC_ALL": "C", "LANG": "C"},
    "other": {"PYTHONHASHSEED": "4242", "TZ": "XYZ-5:45", "LC_ALL": "C.UTF-8", "LANG": "C.UTF-8"},
    "one with another hash seed": {"PYTHONHASHSEED": "4242", "TZ": "UTC0", "LC_ALL": "C", "LANG": "C"},
}
_CODE: Final = """
import sys
sys.path[:] = {path!r}
from {module} import {root}
from zraft.sim.conformance.processes import answer
answer({name}, {folder!r})
"""
_TASK: Final = "task"
_RECORDS: Final = "records"


class Task(msgspec.Struct, frozen=True):
    """What a process is told. It ends itself after so many seconds, and says where it was."""

    scripts: list[Script]
    queries: list[bytes]
    seconds: float
    is_other: bool


class NotRun(Exception):
    """A process could not do it, for this reason."""


class TooLong(Exception):
    """It did not come to an end; this is where it was."""


def run_in(
    world: str, kind: type[Backend], scripts: list[Script], queries: list[bytes], seconds: float
) -> list[Record]:
    """The records of another process. Raises NotRun, TooLong."""
    module, name = _name_of(kind)
    with tempfile.TemporaryDirectory(prefix="zraft-conform-") as folder:
        task = Task(scripts, queries, seconds, world == "other")
        Path(folder, _TASK).write_bytes(msgspec.msgpack.encode(task))
        path = [entry or os.getcwd() for entry in sys.path]
        code = _CODE.format(path=path, module=module, root=name.partition(".")[0], name=name, folder=folder)
        environment = {**os.environ, **WORLDS[world]}
        try:
            done = subprocess.run(  # noqa: S603 - this interpreter
                [sys.executable, "-c", code],
                env=environment,
                capture_output=True,
                stdin=subprocess.DEVNULL,
                timeout=seconds + 30,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise TooLong("") from error
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        if any(line.startswith("Timeout (") for line in said):
            raise TooLong(_where(said))
        answer = Path(folder, _RECORDS)
        if not answer.exists():
            raise NotRun(said[-1] if said else f"it ended with status {done.returncode}")
        return msgspec.msgpack.decode(answer.read_bytes(), type=list[Record])


def _name_of(kind: type[Backend]) -> tuple[str, str]:
    module = kind.__module__
    if module == "__main__":
        main = sys.modules["__main__"]
        spec = getattr(main, "__spec__", None)
        module = spec.name if spec is not None else Path(getattr(main, "__file__", "-")).stem
    name = kind.__qualname__
    if "<locals>" in name:
        raise NotRun(f"{name} is defined inside a function: no other process can import it")
    if not all(part.isidentifier() for part in f"{module}.{name}".split(".")):
        raise NotRun(f"{module}:{name} is no name that can be imported")
    return module, name


def _where(said: Sequence[str]) -> str:
    """The innermost line of the traceback that faulthandler has printed."""
    for line in said:
        parts = line.strip().split('"')
        if len(parts) == 3 and parts[0].startswith("File"):
            number = parts[2].removeprefix(", line ").split(" ")[0]
            return f"{parts[1]}:{number}"
    return ""


def answer(kind: type[Backend], folder: str) -> None:
    """The other end of `run_in`, in its process."""
    task = msgspec.msgpack.decode(Path(folder, _TASK).read_bytes(), type=Task)
    with suppress(locale.Error):
        locale.setlocale(locale.LC_ALL, "")
    faulthandler.dump_traceback_later(task.seconds, exit=True)
    peer = OTHER if task.is_other else ONE
    records = [_recorded(kind, script, task.queries, peer) for script in task.scripts]
    faulthandler.cancel_dump_traceback_later()
    Path(folder, _RECORDS).write_bytes(msgspec.msgpack.encode(records))


def _recorded(kind: type[Backend], script: Script, queries: list[bytes], peer: object) -> Record:
    found, error = attempt(lambda: record(kind, script, queries, OTHER if peer is OTHER else ONE))
    return found if found is not None else Record([], {}, [], error)


def processor_ns() -> int:
    """Processor time of this thread."""
    return time.thread_time_ns()


class RealFolder:
    """A directory of a snapshot on the disk: files, and a path. What is in it counts at once."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __fspath__(self) -> str:
        return self._path

    def create(self, name: str) -> BinaryIO:
        """A new file. Raises UsageError where the name is none that a snapshot may have."""
        return open(self._named(name), "xb")

    def open(self, name: str) -> BinaryIO:
        return open(self._named(name), "rb")

    def names(self) -> list[str]:
        return sorted(os.listdir(self._path))

    def _named(self, name: str) -> str:
        if not name or name != os.path.basename(name) or name in (".", ".."):
            raise UsageError(f"not a name for a file of a snapshot: {name!r}")
        return os.path.join(self._path, name)


class Folders:
    """As many folders as are wanted, which go at the end. A context manager."""

    def __enter__(self) -> Folders:
        self._root = tempfile.TemporaryDirectory(prefix="zraft-conform-")
        self._count = 0
        return self

    def __exit__(self, *error: object) -> None:
        self._root.cleanup()

    def make(self) -> RealFolder:
        """A further one, empty."""
        self._count += 1
        path = os.path.join(self._root.name, str(self._count))
        os.mkdir(path)
        return RealFolder(path)
