"""What an exam found, for a reader and for a program."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

_SHOWN: Final = 120


class Finding(msgspec.Struct, frozen=True):
    """A rule that is broken. `where` is file:line of the backend's source, empty where that is not known."""

    rule: str
    text: str
    where: str = ""

    def __str__(self) -> str:
        return f"{self.rule}: {self.text}" + (f" ({self.where})" if self.where else "")


class Report(msgspec.Struct, frozen=True):
    """What an exam found. It is false, and has length 0, where that is nothing.

    `hints` are no faults, but worth a look; `unexamined` says what could not be tried, and why.
    """

    backend: str
    commands: int
    findings: list[Finding]
    hints: list[str]
    unexamined: list[str]

    def __len__(self) -> int:
        return len(self.findings)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __str__(self) -> str:
        lines = [f"{self.backend}: {self.verdict}"]
        lines += [f"  {finding}" for finding in self.findings]
        lines += [f"  hint: {hint}" for hint in self.hints]
        lines += [f"  not examined: {text}" for text in self.unexamined]
        return "\n".join(lines)

    @property
    def verdict(self) -> str:
        """In a few words."""
        count = len(self.findings)
        found = f"{count} finding{'s' * (count > 1)}" if count else "conforms"
        return f"{found}, {self.commands} command{'s' * (self.commands != 1)}"

    def check(self) -> None:
        """Raises AssertionError with the whole text where there are findings: for tests."""
        if self.findings:
            raise AssertionError(str(self))


class Notes:
    """A report in the making. The same text is said once, and at most `MOST` of each rule."""

    MOST: Final = 3

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.hints: list[str] = []
        self.unexamined: list[str] = []

    def find(self, rule: str, text: str, where: str = "") -> None:
        """The rule is broken."""
        finding = Finding(rule, text, where)
        if finding not in self.findings and sum(each.rule == rule for each in self.findings) < self.MOST:
            self.findings.append(finding)

    def hint(self, text: str) -> None:
        """Worth a look."""
        if text not in self.hints:
            self.hints.append(text)

    def leave_out(self, text: str) -> None:
        """This was not tried."""
        if text not in self.unexamined:
            self.unexamined.append(text)


def shown(value: Any) -> str:
    """A value for a reader, not too long."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
