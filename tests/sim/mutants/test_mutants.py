"""The net catches: every bug that is put back is found, and the product is whole again afterwards."""

from __future__ import annotations

import pytest

from tests.sim.mutants.campaign import Catch, catches, summary
from tests.sim.mutants.mutants import ALL_MUTANTS, SEEDS, SIMULATED
from tests.sim.mutants.mutation import Change, Mutant, hunt, play, put_back
from tests.sim.mutants.played import PLAYED
from zraft.core import following

QUICK = (
    "BM-001 BM-002 BM-004 BM-014 BM-018 BM-020 BM-031 BM-033 BM-035 BM-050 BM-063 BM-064 BM-067 BM-068 BM-076 BM-082 "
    "BM-083s BM-090 BM-093 BM-094 BM-096 BM-108 BM-109 quiet-read"
).split()
"""A few of every kind. `make mutants` and `make soak` hunt all of them."""
REPRESENTATIVE = [mutant for mutant in SIMULATED if mutant.name in QUICK]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mutant", REPRESENTATIVE, ids=lambda mutant: mutant.name)
def test_bm_mutant_is_found_within_its_seeds(mutant: Mutant) -> None:
    """A net that catches nothing proves nothing; no more seeds are run than it takes."""
    report = hunt(mutant, mutant.near, mutant.near + SEEDS - 1)
    assert report is not None, f"{mutant.name} ({mutant.what}) was not found within {SEEDS} seeds"


@pytest.mark.parametrize("mutant", PLAYED, ids=lambda mutant: mutant.name)
def test_bm_mutant_is_noticed_by_the_test_that_plays_it(mutant: Mutant) -> None:
    """The test passes without the bug and not with it."""
    assert play(mutant)


def test_every_mutant_can_be_put_back() -> None:
    """The product moves on, and its mutants with it; no name is used twice."""
    for mutant in ALL_MUTANTS:
        with put_back(mutant):
            pass
    assert len({mutant.name for mutant in ALL_MUTANTS}) == len(ALL_MUTANTS)
    assert set(QUICK) == {mutant.name for mutant in REPRESENTATIVE}


def test_a_campaign_tells_what_it_caught_and_what_not() -> None:
    """Names, seeds, and a verdict over all."""
    [caught] = catches(["BM-091"], jobs=1)
    assert caught.is_caught
    assert caught.needed == [1]
    assert caught.failure in str(caught)
    missed = Catch("BM-000", "calm", [0], "", 1.0)
    assert "NOT FOUND" in str(missed)
    assert summary([caught, missed]) == "mutants: 1 of 2 caught, median 1 seeds, at most 1; NOT: BM-000"


def test_a_mutant_ends_with_its_block() -> None:
    """The function is the old one again."""
    before = following.truncate_from.__code__
    mutant = next(mutant for mutant in ALL_MUTANTS if mutant.name == "BM-034")
    with put_back(mutant):
        assert following.truncate_from.__code__ is not before
    assert following.truncate_from.__code__ is before


def test_a_mutant_that_changes_nothing_is_an_error() -> None:
    """The product moved on: the mutant has to follow."""
    stale = Mutant("x", "none", (Change("zraft.core.following:truncate_from", "no such text", ""),))
    with pytest.raises(ValueError, match="has 0 times"), put_back(stale):
        pass
