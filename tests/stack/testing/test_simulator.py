"""The pytest plugin: seeds from the command line, and what a failing test prints; the chapter on it is true."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stack.test_documents import ROOT, snippets, user_environment

CHAPTER = "docs/testing.md"
TEST = """
from tests.unit.sim.banks import NAMES, Bank, Forgetful, transfer


def test_forgetful(zraft_sim):
    zraft_sim.run(Forgetful, commands=transfer, queries=NAMES, seeds=[])


def test_seeds(zraft_sim):
    print(zraft_sim.run(Bank, commands=transfer, seeds=[]).runs, "runs")
"""


def run_pytest(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_bank.py").write_text(TEST, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "zraft.testing.plugin", "-p", "no:cacheprovider", *words],
        cwd=folder,
        env={**user_environment(), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=100,
        stdin=subprocess.DEVNULL,
        check=False,
    )


@pytest.mark.timeout(300)
def test_a_failing_test_prints_a_story_and_the_commands_that_tell_it_again(tmp_path: Path) -> None:
    """The first one shrinks the seed again, the second one runs what is left; nobody sees a traceback."""
    done = run_pytest(tmp_path, "test_bank.py::test_forgetful", "--zraft-seeds", "8-9", "-vv")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stdout
    assert "seed 8 FAILED: state: after entry " in done.stdout
    assert "seed 8 fails: state: " in done.stdout, "said at once, to who looks on"
    assert "see it again:          pytest test_bank.py::test_forgetful --zraft-seed 8\n" in done.stdout
    found = re.search(r"^without shrinking it:  pytest (.*)$", done.stdout, re.MULTILINE)
    assert found is not None
    again = run_pytest(tmp_path, *shlex.split(found[1]))
    story = re.compile(r"^ +\d+ .*$", re.MULTILINE)
    assert story.findall(again.stdout) == story.findall(done.stdout)
    assert len(story.findall(done.stdout)) > 8


def test_the_seeds_of_the_command_line_take_the_place_of_those_of_the_test(tmp_path: Path) -> None:
    """One, or a range."""
    done = run_pytest(tmp_path, "-s", "test_bank.py::test_seeds", "--zraft-seeds", "8-9", "--zraft-tries", "1")
    assert "2 runs" in done.stdout, done.stdout + done.stderr


def test_the_story_in_the_chapter_is_the_one_that_its_program_tells(tmp_path: Path) -> None:
    """Word by word: whoever changes what a seed draws prints it anew."""
    (tmp_path / "poll.py").write_text(snippets(CHAPTER)["forgetful_poll.py"], encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "poll.py"], cwd=tmp_path, env=user_environment(), capture_output=True, text=True, check=True
    )
    assert f"```\n{done.stdout}```\n" in (ROOT / CHAPTER).read_text(encoding="utf-8")
