"""`zraft conform`: what it imports, prints and answers with."""

from __future__ import annotations

import json
from functools import partial

import pytest

from zraft.app import cli, conforming
from zraft.sim import conform

BACKENDS = "tests.unit.sim.backends"


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without other processes."""

    def examine(*arguments: object, timeout: float, **named: object) -> object:
        assert timeout == 60.0
        return partial(conform, processes=False)(*arguments, **named)  # type: ignore[arg-type]  # passed through

    monkeypatch.setattr(conforming, "examine", examine)


def test_a_sound_backend_is_status_0(capsys: pytest.CaptureFixture[str]) -> None:
    """One of a module, and one that is built in."""
    words = ["--commands", f"{BACKENDS}:COMMANDS", "--queries", f"{BACKENDS}:QUERIES"]
    assert cli.main(["conform", f"{BACKENDS}:Sound", *words]) == 0
    assert capsys.readouterr().out.startswith(f"{BACKENDS}.Sound: conforms, 7 commands\n")
    assert cli.main(["conform", "dict", *words]) == 0
    assert "DictBackend: conforms, 7 commands\n" in capsys.readouterr().out


def test_findings_are_status_1_and_json_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    """With rule, text and place."""
    assert cli.main(["conform", f"{BACKENDS}:Clock", "--commands", f"{BACKENDS}:COMMANDS", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["backend"], found["commands"]) == (f"{BACKENDS}.Clock", 7)
    assert found["findings"][0]["rule"] == "determinism"
    assert "Clock.apply asks time.time()" in found["findings"][0]["text"]
    assert "backends.py:" in found["findings"][0]["where"]


@pytest.mark.parametrize(
    ("backend", "commands", "status", "said"),
    [
        (f"{BACKENDS}:Nobody", f"{BACKENDS}:COMMANDS", 2, "has no attribute 'Nobody'"),
        ("nowhere:Nobody", f"{BACKENDS}:COMMANDS", 2, "No module named 'nowhere'"),
        ("nobody", f"{BACKENDS}:COMMANDS", 2, "is not written module:name"),
        (f"{BACKENDS}:COMMANDS", f"{BACKENDS}:COMMANDS", 2, "is not a subclass of zraft.Backend"),
        (f"{BACKENDS}:Sound", f"{BACKENDS}:Sound", 1, "a list of command values is wanted"),
    ],
)
def test_what_cannot_be_examined_is_one_line(
    backend: str, commands: str, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """On stderr."""
    assert cli.main(["conform", backend, "--commands", commands]) == status
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("zraft: ")
    assert said in line
