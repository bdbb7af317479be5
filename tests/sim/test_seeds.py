"""Whole runs: every profile, replay, and what a report says."""

from __future__ import annotations

import pytest

from tests.sim.mutants.mutation import Change, Mutant, put_back
from zraft.errors import UsageError
from zraft.sim.chance import Chance
from zraft.sim.profiles import PROFILES, draw_rates, profile_named
from zraft.sim.run import run_seed

AIMED = {
    "adverse": "adverse core",
    "clocks": "clock rate change",
    "hasty": "hasty change",
    "lapses": "cut off",
    "mixed": "older node",
    "naps": "cut off asleep",
    "shapes": "held",
    "torn": "torn sector",
}
"""Profiles that wait for one thing, and what that is called."""

FOUND = (
    pytest.param(29924540512, "rot", id="a rotten disk beside one that is left down"),
    pytest.param(29924543454, "elections", id="who has the first configuration is left down"),
    pytest.param(29924540798, "recovery", id="a snapshot comes while lost entries are on their way to a slow disk"),
    pytest.param(29924540837, "disk", id="a change after one that failed"),
    pytest.param(29924654120, "lapses", id="a leader that stood still when everything else was well"),
    pytest.param(29924661075, "crashes", id="a leader that stood still, and stepped down when it noticed"),
    pytest.param(29924661113, "sessions", id="an answer about a session that was opened and ended long ago"),
    pytest.param(29924682237, "streams", id="a session that is opened again as its end is due"),
    pytest.param(29924771176, "rot", id="a replica is made, and its disk is lost before the operator hears of it"),
    pytest.param(29924807702, "recovery", id="the only node that knows the configuration loses it"),
    pytest.param(29924807704, "rot", id="a replica that was left out goes, and is asked for again"),
    pytest.param(29924808333, "streams", id="a client that keeps its session pings too seldom"),
    pytest.param(202295, "default", id="a link has held back that somebody else shall lead"),
    pytest.param(29924768396, "stale", id="a leader of the past hears of what was replaced since"),
)
"""Seeds that failed once, mostly because they asked of the group, or of the disk, what nobody promises."""

COUNTED = ("adverse", "membership", "sessions", "shapes")
"""Profiles whose runs use most of the simulator: coverage does not count the others, which use it again."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "profile",
    [pytest.param(name, marks=[] if name in COUNTED else pytest.mark.uncounted) for name in sorted(PROFILES)],
)
def test_every_property_holds(profile: str) -> None:
    """A seed or two of each profile; many more run in the simulation of the whole check, and in `make soak`."""
    for seed in range(1, 2 if profile in AIMED else 3):
        report = run_seed(seed, profile)
        assert not report.failure, f"{report.failure}\nreplay it: {report.command}"
        assert report.counters.answered > 0
        assert any(kind.startswith(AIMED.get(profile, "")) for kind in report.counters.faults)


@pytest.mark.uncounted
@pytest.mark.parametrize(("seed", "profile"), FOUND)
def test_what_was_found_once_stays_mended(seed: int, profile: str) -> None:
    """The run in which it was found."""
    report = run_seed(seed, profile)
    assert not report.failure, f"{report.failure}\nreplay it: {report.command}"


@pytest.mark.uncounted
def test_a_seed_replays_bit_for_bit_with_and_without_its_trace() -> None:
    """Twice in one process; keeping the lines changes nothing."""
    first, second = run_seed(3), run_seed(3, keep_trace=True)
    assert first.digest == second.digest
    assert first.counters == second.counters
    assert (first.trace, second.trace[0][9:]) == ([], "n0:1     starts")
    assert run_seed(4).digest != first.digest


def test_a_failing_run_names_the_property_and_the_command_that_replays_it() -> None:
    """Also where the product raises what nobody expected."""
    wrong = Change("zraft.core.replication:advance_commit", "saves.durable_index", "log.last_index")
    with put_back(Mutant("", "", (wrong,))):
        report = run_seed(1)
    assert report.failure.startswith("commit validity: ")
    assert report.command == "zraft sim --seed 1 --profile default"
    broken = Change("zraft.core.replication:advance_commit", "if replica.membership is None:", "if no_such_name:")
    with put_back(Mutant("", "", (broken,))):
        assert run_seed(1).failure == "NameError: name 'no_such_name' is not defined"


def test_an_unknown_profile_is_refused_with_the_known_ones() -> None:
    """By name."""
    with pytest.raises(UsageError, match="no profile 'x'; there are adverse, calm, clocks"):
        run_seed(1, "x")


def test_a_seed_takes_some_faults_and_never_those_that_its_profile_forbids() -> None:
    """Swarm: about half of them, each at a rate of its range."""
    calm = profile_named("calm")
    drawn = [draw_rates(PROFILES["default"], Chance(seed)) for seed in range(100)]
    assert 20 < sum(rates.crash > 0 for rates in drawn) < 80
    low, high = PROFILES["default"].crash
    assert all(low <= rates.crash <= high for rates in drawn if rates.crash)
    assert all(rates.restart for rates in drawn)
    assert all(draw_rates(calm, Chance(seed)).crash == 0 for seed in range(20))
