"""Fencing tokens grow through every fault: some profile brings each of them to clients that contend for a lock (F1)."""

from __future__ import annotations

import pytest

from zraft.sim.profiles import PROFILES, Rates
from zraft.sim.run import run_seed

LOCKING = [profile for profile in PROFILES.values() if profile.sessions]


@pytest.mark.parametrize("fault", Rates.__struct_fields__)
def test_every_fault_meets_clients_that_lock(fault: str) -> None:
    """What no such profile draws would not be known to leave tokens alone."""
    assert [profile.name for profile in LOCKING if fault not in profile.never and getattr(profile, fault)[1]]


def test_shapes_groups_and_rates_of_clocks_meet_them_too() -> None:
    """These are no rates; where clocks run at any rate, that sessions end in time is not asked."""
    for choose in ("shapes", "mixed"):
        assert [profile.name for profile in LOCKING if getattr(profile, choose)], choose
    assert [profile.name for profile in LOCKING if profile.groups > 1 and profile.skewed]


@pytest.mark.parametrize("seed", range(1, 4))
def test_tokens_grow_where_clocks_do_not_keep_time(seed: int) -> None:
    """And links stay cut, and two groups share the nodes."""
    report = run_seed(seed, "fences")
    assert (report.failure, report.counters.answered > 0) == ("", True)
