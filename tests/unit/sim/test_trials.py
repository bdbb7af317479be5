"""State machines of users in the simulator: a good one passes, what is wrong with another one is found and named."""

from __future__ import annotations

from typing import Any

import pytest

import zraft
from tests.unit.sim import banks
from tests.unit.sim.banks import NAMES, Bank, no_money_is_lost, transfer
from zraft.testing import Draw, Exchange, SimulationFailed, simulate


def failure_of(backend: Any, **arguments: Any) -> SimulationFailed:
    given = {"commands": transfer, "queries": NAMES, "invariant": no_money_is_lost, "tries": 0, **arguments}
    with pytest.raises(SimulationFailed) as found:
        simulate(backend, **given)
    return found.value


def test_a_good_backend_passes_and_the_runs_were_no_walk_in_the_park() -> None:
    """It was asked, it was restarted, and it came back from snapshots."""
    seen: list[list[Exchange]] = []
    done = simulate(
        Bank, commands=transfer, queries=NAMES, invariant=no_money_is_lost, history=seen.append, seeds=[5, 14]
    )
    assert (done.runs, len(seen)) == (2, 2)
    assert min(done.faults[kind] for kind in ("kill", "partition", "snapshot installed", "lost frame")) > 0
    assert done.asked >= done.answered > 100
    assert any(exchange.error == "poor" for exchange in seen[0])
    assert {exchange.is_query for exchange in seen[0] if exchange.index} == {True, False}
    assert len({exchange.name for exchange in seen[0]}) == len(seen[0])


@pytest.mark.timeout(300)
def test_a_field_that_a_snapshot_forgets_is_found_and_the_run_is_short() -> None:
    """The story names who crashed, where the snapshot stood, and the field; and it is the same every time."""
    failed = failure_of(banks.Forgetful, tries=100)
    assert failed.seed <= 3
    assert failed.failure.startswith("state: after entry ")
    assert "moves is 0, the log gives 1" in failed.failure
    story = "\n".join(failed.timeline)
    assert len(failed.timeline) < 30
    assert "loses power" in story or "is killed" in story or "1 command," in story
    assert "for its state" in story
    assert failed.timeline[-1].endswith(f"FAILED   {failed.failure}")
    assert f"seeds=[{failed.seed}], excerpt={failed.excerpt!r})" in str(failed)
    assert failure_of(banks.Forgetful, tries=100).timeline == failed.timeline
    again = failure_of(banks.Forgetful, seeds=[failed.seed], excerpt=failed.excerpt)
    assert again.timeline[3:] == failed.timeline[4:], "without what the shrinker says of itself"


def test_an_invariant_is_checked_after_every_entry() -> None:
    """The first entry that breaks it is named."""
    failed = failure_of(banks.Leaky)
    assert failed.failure.startswith("invariant: after entry ")
    assert "instead of 100" in failed.failure
    assert failure_of(Bank, invariant=lambda bank: bank.moves < 5).failure.endswith("moves=5")


def test_an_invariant_that_never_held_is_said_at_once() -> None:
    """Before anything is asked."""
    assert failure_of(Bank, invariant=lambda _: False).failure.startswith("invariant: at the beginning: <lambda> does")


def test_a_query_that_changes_something_is_found() -> None:
    """Only the replica that was asked has changed."""
    assert "has another state: moves is " in failure_of(banks.Curious).failure


def test_a_result_that_depends_on_the_replica_is_found() -> None:
    """The log gives another answer than the client got."""
    failed = failure_of(banks.Partial)
    assert failed.failure.startswith("answers: c")
    assert "by model@nowhere:0'" in failed.failure


def test_the_order_of_a_set_is_found_once_a_snapshot_has_changed_it() -> None:
    """The states are equal: only answers give it away."""
    assert failure_of(banks.Restless).failure.startswith("answers: c")


def test_what_apply_raises_is_found_unless_it_may() -> None:
    """A Reject may always."""
    failed = failure_of(banks.Clumsy)
    assert failed.failure.startswith("backend: apply raised KeyError at entry ")
    failed = failure_of(Bank, queries=["nobody"])
    assert failed.failure.startswith("backend: query raised KeyError: c")
    assert simulate(banks.Clumsy, commands=transfer, may_raise=(KeyError,), seeds=[5]).answered > 0


def test_a_claim_about_the_history_is_checked_at_the_end() -> None:
    """With everything that was asked in the run."""

    def nobody_was_poor(exchanges: list[Exchange]) -> bool:
        return all(exchange.error != "poor" for exchange in exchanges)

    assert failure_of(Bank, history=nobody_was_poor, seeds=[5]).failure == "history: nobody_was_poor does not hold"


def test_what_counts_as_the_state_can_be_said() -> None:
    """Here it is nothing that the fault touches."""
    arguments: dict[str, Any] = {"commands": transfer, "seeds": [8]}
    assert simulate(banks.Forgetful, state=lambda bank: bank.accounts, **arguments).runs == 1


def test_what_depends_on_more_than_the_seed_is_found_out() -> None:
    """A run that is another one the second time says nothing about the first."""
    calls: list[int] = []

    def commands(draw: Draw) -> Any:
        calls.append(1)
        return ("a", "a", len(calls))

    failed = failure_of(banks.Forgetful, commands=commands)
    assert failed.failure.startswith("the same seed ran in another way the second time")


def test_arguments_that_make_no_run_are_refused_at_once() -> None:
    """A class that is no backend, a command that cannot travel, a percentage, a profile, an excerpt."""
    good: dict[str, Any] = {"commands": transfer, "seeds": []}
    assert simulate(Bank, **good).runs == 0
    nothing: Any = lambda _: None  # noqa: E731 - no class, and what it makes is no backend
    for backend, arguments in (
        (nothing, good),
        (Bank, good | {"commands": [object()]}),
        (Bank, good | {"reads": 101}),
        (Bank, good | {"profile": "no such"}),
        (Bank, good | {"excerpt": "no such"}),
    ):
        with pytest.raises(zraft.UsageError):
            simulate(backend, **arguments)
