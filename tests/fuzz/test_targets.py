"""Foreign data, wherever it comes in: taken or refused with one of our errors, for no more memory than it justifies."""

from __future__ import annotations

import pytest

from tests.fuzz.amounts import SUITE, SUITE_SEED
from tests.fuzz.kit import run
from tests.fuzz.targets import TARGETS

pytestmark = pytest.mark.uncounted  # counting takes memory, which is counted here


@pytest.mark.parametrize("name", TARGETS)
def test_whatever_comes_in_is_taken_or_refused(name: str) -> None:
    """Valid inputs and changed ones (S-01, S-02, S-07, S-15, BM-113); `make fuzz` tries many more."""
    target = TARGETS[name]
    tally = run(target, SUITE_SEED, SUITE[target.cost])
    assert not tally.findings, "\n".join(map(str, tally.findings[:5]))
    assert tally.accepted, "not even what is valid was taken"
    assert tally.refused or not target.errors, "nothing that is wrong came in"
