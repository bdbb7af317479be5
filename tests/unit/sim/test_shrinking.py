"""Excerpts of runs: as text and back, what a run with one leaves out, and how the shortest one is found."""

from __future__ import annotations

import pytest

from tests.sim.mutants.mutation import Change, Mutant, put_back
from zraft.errors import UsageError
from zraft.sim.acts import Crash, Cut, told
from zraft.sim.excerpt import WEATHER, WHOLE, Excerpt, parse_excerpt
from zraft.sim.run import Attempt, attempt
from zraft.sim.shrinking import shrink, story_of


def test_an_excerpt_is_read_as_it_was_written() -> None:
    """In one word, so that a command line can take it."""
    some = Excerpt(faults=(3, 9), commands=("c0.4",), calm=("loss",), nodes=3, log_count=1, until_ms=2310)
    assert str(some) == "faults=3,9;commands=c0.4;calm=loss;nodes=3;log=1;until=2310"
    for excerpt in (some, WHOLE, Excerpt(faults=(), commands=()), Excerpt(calm=WEATHER)):
        assert parse_excerpt(str(excerpt)) == excerpt
    assert str(WHOLE) == ""


@pytest.mark.parametrize("text", ["x", "faults=a", "nodes", "nodes=1;nodes=2", "calm=rain", "until=soon"])
def test_what_is_no_excerpt_is_refused(text: str) -> None:
    """Instead of running something else."""
    with pytest.raises(UsageError):
        parse_excerpt(text)


@pytest.mark.parametrize("profile", ["machines", "clocks", "naps"])
def test_a_run_that_follows_its_own_script_is_the_same_run(profile: str) -> None:
    """Bit for bit: nothing is drawn beside the script, so that what is left out later changes nothing else."""
    whole = attempt(1, profile)
    again = attempt(1, profile, script=whole.faults)
    assert (again.report.digest, again.faults) == (whole.report.digest, whole.faults)
    assert again.report.counters == whole.report.counters
    assert len(whole.faults) > 10


def test_what_an_excerpt_leaves_out_does_not_happen() -> None:
    """Faults, commands, nodes, weather, and what comes too late."""
    whole = attempt(5, "machines")
    crash = next(fault for fault in whole.faults if isinstance(fault.act, Crash))
    excerpt = Excerpt(
        faults=(crash.number,), commands=tuple(whole.commands[:2]), calm=WEATHER, nodes=1, log_count=1, until_ms=3000
    )
    part = attempt(5, "machines", excerpt=excerpt, script=whole.faults, keep_trace=True)
    assert part.faults == [crash]
    assert part.commands == whole.commands[:2]
    assert part.report.counters.nodes == 1
    assert not part.report.failure
    assert part.at_ms <= 3000
    assert part.rates.loss == part.rates.jitter_ms == 0
    assert any("took a snapshot at 1" in line for line in part.story)
    assert set(part.story) <= set(part.report.trace)


def test_a_failing_seed_of_the_project_is_shrunk_and_told() -> None:
    """A bug put back: the same seed gives the same short story, and no other property breaks in it."""
    forgets = Change("zraft.core.replication:advance_commit", "saves.durable_index", "log.last_index")
    with put_back(Mutant("", "", (forgets,))):

        def tried(part: Excerpt, whole: Attempt | None, keep: bool) -> Attempt:
            script = whole.faults if whole is not None else None
            return attempt(1, keep_trace=keep, excerpt=part, script=script)

        said: list[str] = []
        first = shrink(tried, WHOLE, tries=60, progress=said.append)
        second = shrink(tried, WHOLE, tries=60)
        assert first is not None
        assert second is not None
        replayed = shrink(tried, first.excerpt)
    assert replayed is not None
    assert first.whole.property == first.shortest.property == "commit validity"
    assert len(first.shortest.commands) < len(first.whole.commands)
    assert story_of(first) == story_of(second)
    assert replayed.shortest.story == first.shortest.story
    assert story_of(first)[0].startswith(f"shrunk in {first.tries} tries from ")
    assert said[-1].startswith("try ")
    assert shrink(tried, WHOLE, tries=1) is None, "nothing breaks without the bug"


def test_every_act_that_no_node_tells_of_is_told() -> None:
    """A cut link has nobody else who would."""
    assert told(Cut((("n0:1", "n1:1"),), "one alone")) == "links are cut (one alone): n0:1 to n1:1"
    assert told(Crash("n0:1", power_loss=True)) == ""
