"""The net catches: every bug that is put back is found, and the product is whole again afterwards."""

from __future__ import annotations

import pytest

from tests.sim.mutants.mutants import MUTANTS, SEEDS
from tests.sim.mutants.mutation import Change, Mutant, hunt, put_back
from zraft.core import following


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_bm_mutant_is_found_within_its_seeds(mutant: Mutant) -> None:
    """A net that catches nothing proves nothing; no more seeds are run than it takes."""
    report = hunt(mutant, mutant.near, mutant.near + SEEDS - 1)
    assert report is not None, f"{mutant.name} ({mutant.what}) was not found within {SEEDS} seeds"


def test_a_mutant_ends_with_its_block() -> None:
    """The function is the old one again."""
    before = following.truncate_from.__code__
    mutant = next(mutant for mutant in MUTANTS if mutant.name == "BM-034")
    with put_back(mutant):
        assert following.truncate_from.__code__ is not before
    assert following.truncate_from.__code__ is before


def test_a_mutant_that_changes_nothing_is_an_error() -> None:
    """The product moved on: the mutant has to follow."""
    stale = Mutant("x", "none", (Change("zraft.core.following:truncate_from", "no such text", ""),))
    with pytest.raises(ValueError, match="has 0 times"), put_back(stale):
        pass
