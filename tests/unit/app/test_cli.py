"""The command line without any node: what is loaded, listed, and refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from zraft.app import cli, simulation
from zraft.app.bench import Progress
from zraft.app.commands import COMMANDS, root
from zraft.app.folders import FolderReader
from zraft.errors import UsageError
from zraft.sim.run import Counters, Report
from zraft.storage.disk import Job, SyncFolder

NAMES = [name for section in COMMANDS.values() for name in section]


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Without loading any."""
    assert cli.main(["--help"]) == 0
    listed = [
        line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("  ") and line.split()
    ]
    assert set(NAMES) <= set(listed)


@pytest.mark.parametrize("name", NAMES)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A stranger learns what it does and which options it takes."""
    assert cli.main([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"zraft {name}" in out
    assert len(out.splitlines()) > 5


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """The one that is installed."""
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("zraft ")


def test_without_click_the_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The base installation has the library only; the simulator works there, too."""
    monkeypatch.setitem(sys.modules, "click", None)
    assert cli.main(["status"]) == 2
    assert capsys.readouterr().err == "zraft: the command line needs click: pip install 'zraft[server]'\n"
    assert cli.main(["sim", "--help"]) == 0


def test_an_interrupt_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C: exit status 130."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(root, "main", interrupted)
    assert cli.main(["status"]) == 130


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["status", "--peers", ","], "names no peer"),
        (["status", "--peers", "a@127.0.0.1:1", "--timeout", "0"], "no number of seconds above 0"),
        (["status", "--peers", "a@127.0.0.1:1", "--timeout", "soon"], "no number of seconds above 0"),
        ([], "zraft: Missing command; see zraft --help"),
        (["log"], "zraft: Missing command; see zraft log --help"),
        (["create", "x"], "not a peer: 'x'"),
        (["log", "verify"], "Missing argument 'DIR'; see zraft log verify --help"),
        (["sim", "--seeds", "5-1"], "no range of seeds"),
        (["sim", "--seed", "-1"], "see zraft sim --help"),
        (["sim", "--seed", "1", "--profile", "nope"], "no profile 'nope'"),
    ],
)
def test_a_wrong_word_is_exit_status_2(words: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With one line on stderr."""
    assert cli.main(words) == 2
    captured = capsys.readouterr()
    assert line in captured.err
    assert len(captured.err.splitlines()) == 1
    assert captured.out == ""


def report(seed: int, profile: str = "default", *, keep_trace: bool = False) -> Report:
    """What a run of the simulator found: an even seed fails, seed 3 cannot be judged."""
    return Report(
        seed=seed,
        profile=profile,
        failure="" if seed % 2 else "two leaders",
        unknown="the history is too long" if seed == 3 else "",
        digest="d",
        counters=Counters(operations=10, faults={"crash": 2}),
        trace=["1 n1 starts"] if keep_trace else [],
    )


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The simulator is replaced by `report`."""
    monkeypatch.setattr(simulation, "run_seed", report)
    return simulation


def test_a_seed_is_replayed_with_its_trace(simulated: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """A seed whose properties hold is exit status 0."""
    assert simulated.main(["--seed", "1"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "1 n1 starts"
    assert "2 × crash" in out[1]
    assert out[2] == "seed 1, profile default: every property held; digest d"


def test_a_failing_seed_says_how_to_replay_it(simulated: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """The one command that shows it again."""
    assert simulated.main(["--seeds", "1-4", "--jobs", "1"]) == 1
    out = capsys.readouterr().out
    assert "seed 2 FAILED: two leaders\n  replay it: zraft sim --seed 2 --profile default" in out
    assert "4 seeds, profile default: 2 FAILED, 1 histories too long to judge; 40 operations" in out


def test_runs_are_objects_for_programs(simulated: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """One line each; the trace only of a single one."""
    assert simulated.main(["--seeds", "1-2", "--jobs", "1", "--json"]) == 1
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["seed"], row["failure"], "trace" in row) for row in rows] == [
        (1, "", False),
        (2, "two leaders", False),
    ]
    assert simulated.main(["--seed", "2", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["trace"] == ["1 n1 starts"]


def test_real_seeds_run_in_several_processes(capsys: pytest.CaptureFixture[str]) -> None:
    """In order, and with the same result as alone."""
    assert simulation.main(["--seeds", "6-7", "--jobs", "2", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["seed"] for row in rows] == [6, 7]


def test_a_folder_without_data_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is made in it; a folder that is not there is not made either."""
    assert cli.main(["log", "verify", str(tmp_path)]) == 1
    assert "holds no data of a node" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert cli.main(["log", "inspect", str(tmp_path / "gone")]) == 1
    assert "cannot be read" in capsys.readouterr().err


def test_a_folder_that_is_only_read_takes_no_jobs(tmp_path: Path) -> None:
    """The commands that look into data cannot change it."""
    reader = FolderReader(tmp_path)
    with pytest.raises(UsageError):
        reader.submit(Job(1, ()))
    with pytest.raises(UsageError):
        reader.perform(SyncFolder())


def test_progress_is_one_line_that_goes(capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr, written over and over."""
    progress = Progress(2000)
    progress.tell(500, 2.0)
    progress.clear()
    assert capsys.readouterr() == ("", "\r\x1b[K500 of 2,000 (25 %), 250/s\r\x1b[K")
