"""Snapshots: each is of its point, whatever happens while it is written, and what is made of it goes on as before.

early   captured and written at once               late   captured then, and written while commands go on: before
                                                          each piece that is written, one more is applied
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from zraft.machine.backend import Backend, Directory, ReadableFile, WritableFile
from zraft.session.snapshots import RESERVED
from zraft.sim.conformance.report import Notes
from zraft.sim.conformance.rules import difference, state_difference
from zraft.sim.conformance.script import Script
from zraft.sim.conformance.trial import Noted, Record, Trial, attempt, points
from zraft.sim.conformance.view import View, changed_fields, view_of

MakeFolder = Callable[[], Directory]


class Shots:
    """Of one backend and one script, whose run without snapshots is known."""

    def __init__(
        self,
        notes: Notes,
        kind: type[Backend],
        script: Script,
        queries: Sequence[bytes],
        ran: Record,
        make_folder: MakeFolder,
    ) -> None:
        self._notes, self._kind, self._script, self._queries = notes, kind, script, queries
        self._ran, self._make_folder = ran, make_folder

    def check(self) -> None:
        """At some points of the script: the first that shows something wrong is told, and ends it."""
        for index in points(len(self._script.steps)):
            known = len(self._notes.findings)
            self._check_at(index)
            if len(self._notes.findings) > known:
                return

    def _check_at(self, index: int) -> None:
        when = f"after {self._script.steps[index - 1].what}" if index else "of the empty state"
        trial = Trial(self._kind, self._script)
        trial.go_to(index)
        early = self._make_folder()
        _, error = attempt(lambda: trial.machine.capture().write(early))
        if error:
            self._notes.find("snapshots", f"one {when} cannot be taken: {error}")
            return
        if not self._check_restored(index, early, f"one {when}"):
            return
        late = self._late(trial, when)
        if late is not None and files_of(late) != files_of(early):
            text = (
                f"one {when}, written while later commands were applied, is not of that point, values change under it:"
            )
            self._check_restored(index, late, f"{text} it")

    def _late(self, trial: Trial, when: str) -> Directory | None:
        """Written while the rest of the script is applied. None: it cannot be, which is told, or is not wanted."""
        captured, error = attempt(trial.machine.capture)
        if captured is None:
            self._notes.find("snapshots", f"a second one {when} cannot be taken: {error}")
            return None
        at = trial.done
        folder = None if captured.is_sync else self._make_folder()
        rest = len(self._script.steps) - at
        said = trial.go_to(at + rest // 2)
        if folder is not None:
            shared = _While(folder, lambda: None if trial.is_through else said.append(trial.step()))
            _, error = attempt(lambda: captured.write(shared))
            if error:
                text = f"one {when} cannot be written while later commands are applied"
                self._notes.find("snapshots", f"{text}: {error}")
                return None
        said += trial.go_to(len(self._script.steps))
        self._check_same(at, said, view_of(trial.backend), f"taking one {when}")
        return folder

    def _check_restored(self, index: int, folder: Directory, what: str) -> bool:
        """A machine that is made of it is like the one that it was taken of, and goes on like that."""
        trial = Trial(self._kind, self._script)
        _, error = attempt(lambda: trial.machine.install_snapshot(folder, index))
        if error:
            self._notes.find("snapshots", f"{what} cannot be installed: {error}")
            return False
        made, there = view_of(trial.backend), self._ran.views.get(index)
        if there is not None:
            if made.digest != there.digest:
                text = f"{what} has another state: {state_difference(there, made)}"
                self._notes.find("snapshots", text)
                return False
            names = changed_fields(there, made)
            if names and made.digest is None:
                text = (
                    "these fields are not the same in a machine made of a snapshot, and no digest() says whether that"
                )
                self._notes.hint(f"{text} matters: {', '.join(names)}")
        return self._check_same(index, trial.go_to(len(self._script.steps)), view_of(trial.backend), what, trial)

    def _check_same(self, index: int, said: list[Noted], end: View, what: str, trial: Trial | None = None) -> bool:
        """From `index` on it was as in the run without snapshots. What is there for speed only is left out."""
        ran = self._ran
        last = len(ran.steps)
        answers = [trial.ask(query) for query in self._queries] if trial is not None else []
        without = Record([*ran.steps[:index], *said], {last: View(end.digest, None)}, answers)
        wanted = Record(ran.steps, {last: View(ran.views[last].digest, None)}, ran.answers if answers else [])
        apart = difference(self._script, wanted, without)
        if apart:
            rest = "changes what follows" if trial is None else "goes on in another way"
            self._notes.find("snapshots", f"{what} {rest}: {apart}")
        return not apart


def files_of(folder: Directory) -> dict[str, bytes]:
    """The backend's own ones."""
    found = {}
    for name in folder.names():
        if not name.startswith(RESERVED):
            with folder.open(name) as file:
                found[name] = file.read()
    return found


class _While:
    """A directory in which something happens before each file and each piece."""

    def __init__(self, folder: Directory, happen: Callable[[], Any]) -> None:
        self._folder, self._happen = folder, happen

    def __fspath__(self) -> str:
        path: Any = self._folder
        return str(path.__fspath__())

    def create(self, name: str) -> _Piecewise:
        if not name.startswith(RESERVED):
            self._happen()
        return _Piecewise(self._folder.create(name), self._happen)

    def open(self, name: str) -> ReadableFile:
        return self._folder.open(name)

    def names(self) -> list[str]:
        return self._folder.names()


class _Piecewise:
    """A file of it."""

    def __init__(self, file: WritableFile, happen: Callable[[], Any]) -> None:
        self._file, self._happen = file, happen

    def write(self, data: bytes, /) -> int:
        self._happen()
        return self._file.write(data)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()
