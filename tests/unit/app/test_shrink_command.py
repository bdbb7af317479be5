"""`zraft sim --shrink`: a failing seed as a short story, and the commands that tell it again."""

from __future__ import annotations

import re
import shlex

import pytest

from tests.sim.mutants.mutation import Change, Mutant, put_back
from zraft.app.simulation import main

COUNTS_ITSELF_EARLY = Mutant(
    "", "", (Change("zraft.core.replication:advance_commit", "saves.durable_index", "log.last_index"),)
)


def test_a_failing_seed_is_shrunk_and_what_is_left_is_replayed(capsys: pytest.CaptureFixture[str]) -> None:
    """The second command that it prints tells the same story at once."""
    with put_back(COUNTS_ITSELF_EARLY):
        assert main(["--seed", "1", "--shrink", "--tries", "20"]) == 1
        out = capsys.readouterr().out
        assert "see it again:          zraft sim --seed 1 --profile default --shrink\n" in out
        assert "FAILED   commit validity: " in out
        found = re.search(r"^without shrinking it:  zraft sim (.*)$", out, re.MULTILINE)
        assert found is not None
        assert main(shlex.split(found[1])) == 1
    story = re.compile(r"^ +\d+ .*$", re.MULTILINE)
    assert story.findall(capsys.readouterr().out)[-5:] == story.findall(out)[-5:]


def test_a_seed_in_which_nothing_breaks_is_not_shrunk(capsys: pytest.CaptureFixture[str]) -> None:
    """Nor is what is no excerpt run."""
    assert main(["--seed", "1", "--profile", "calm", "--shrink"]) == 0
    assert capsys.readouterr().out == "seed 1, profile calm: every property held\n"
    assert main(["--seed", "1", "--excerpt", "x"]) == 2
    assert "not an excerpt" in capsys.readouterr().err
