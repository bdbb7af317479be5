"""The campaign, in short: one round of a fixed seed, bugs that it has to find, and its own tools.

`make chaos MINUTES=20` is the long one; `--bug` of it puts any other bug back.
"""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path

import pytest

from tests.sim.mutants.mutants import ALL_MUTANTS
from tests.sim.mutants.mutation import put_back
from tests.stack.chaos import bugged
from tests.stack.chaos.__main__ import main, reason
from tests.stack.chaos.chains import Step, draw_chain
from tests.stack.chaos.kinds import KINDS
from tests.stack.chaos.report import Totals
from tests.stack.chaos.rounds import Round, draw_round, run_round
from tests.stack.chaos.shim import build
from zraft.sim.history import Get, Operation

pytestmark = pytest.mark.uncounted

SHORT = Round(
    "short",
    size=3,
    backend="table",
    is_whole=True,
    has_small=False,
    chains=(
        (
            Step("cut one direction", lasts=True),
            Step("stop the leader in its tracks", lasts=False),
            Step("a sync fails", lasts=True),
            Step("files that are torn or doubled", lasts=False),
        ),
    ),
    pace=0.2,
    crowd=1,
    pause_s=0.03,
)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """What makes disks fail, built once."""
    return build(tmp_path_factory.mktemp("library"))


@pytest.mark.timeout(150)
def test_short_round_of_faults_violates_nothing(tmp_path: Path, library: Path | None) -> None:
    """One chain: everybody is well before and after it, and what clients saw is linearizable."""
    totals = Totals(0)
    asyncio.run(run_round(SHORT, tmp_path, library, totals))
    assert (totals.rounds, totals.chains, totals.histories, totals.unknown_verdicts) == (1, 1, 1, 0)
    assert totals.faults.total() == 4
    assert totals.ok > 30
    assert "every property held" in (tmp_path / "timeline.txt").read_text()


@pytest.mark.timeout(150)
def test_campaign_finds_a_server_that_takes_a_failed_sync_for_done(tmp_path: Path, library: Path | None) -> None:
    """BM-093, put back in a real server: it goes on after its sync has failed."""
    if library is None:
        pytest.skip("NO CC: NOTHING MAKES A REAL DISK FAIL")
    chain = (Step("a sync fails", lasts=False),)
    one = Round("bug", 1, "table", True, False, (chain,), pace=0.1, crowd=1, pause_s=0.03, end_s=1.0)
    totals = Totals(0)
    with pytest.raises(BaseExceptionGroup) as caught:
        asyncio.run(run_round(one, tmp_path, library, totals, program=(str(Path(bugged.__file__)), "ignored-sync")))
    assert "goes on" in reason(caught.value)


def test_known_bugs_can_still_be_put_back_in_a_server() -> None:
    """No name hides another, and each changes what it says: a hunt for it hunts for something."""
    assert len(bugged.BUGS) == len(ALL_MUTANTS) + len(bugged.OWN)
    for bug in bugged.OWN:
        with put_back(bug):
            pass


def test_rounds_are_drawn_from_their_seed() -> None:
    """The same faults in the same order for the same seed; three to five in a chain; every kind has its turn."""
    drawn = [draw_round(7, number, has_shim=True) for number in range(1, 60)]
    assert drawn == [draw_round(7, number, has_shim=True) for number in range(1, 60)]
    assert drawn != [draw_round(8, number, has_shim=True) for number in range(1, 60)]
    chains = [chain for one in drawn for chain in one.chains]
    assert all(3 <= len(chain) <= 5 for chain in chains)
    assert {step.kind for chain in chains for step in chain} == set(KINDS)


def test_kinds_that_a_round_cannot_have_are_not_drawn() -> None:
    """Without a compiler no disk fails, without compaction no snapshot rots."""
    chance = random.Random(1)
    chains = [draw_chain(chance, has_shim=False, has_snapshots=False) for _ in range(100)]
    assert {KINDS[step.kind].needs for chain in chains for step in chain} == {""}


def test_a_campaign_adds_up_what_its_rounds_did() -> None:
    """For readers: what was done, what clients were told, how long it took to come back, and what failed."""
    totals = Totals(7)
    totals.add_history(
        Operation(client="c", key="k", call=call, returned=end, input=Get(), is_refused=is_refused)
        for call, end, is_refused in ((1, 2, False), (3, None, True), (4, None, False))
    )
    totals.add_recovery("here", 0.5, 2.0)
    totals.add_recovery("there", 1.5, 1.0)
    assert (totals.ok, totals.refused, totals.unknown, totals.chains, totals.slowest) == (1, 1, 1, 2, "here")
    assert list(totals.lines())[-1] == "every property held"
    totals.failures.append("made up")
    assert "FAILED made up" in list(totals.lines())
    assert not totals.is_good


def test_a_campaign_reports_in_json_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without time no round is played, and nothing failed."""
    assert main(["--minutes", "0", "--json", "--seed", "7", "--folder", str(tmp_path / "kept")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["seed"], found["rounds"], found["is_good"]) == (7, 0, True)
    assert not (tmp_path / "kept").exists()
