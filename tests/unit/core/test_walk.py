"""Random walks through bad weather: what must hold holds at every step, and everything ends well."""

from __future__ import annotations

import pytest

from tests.raftkit.walk import Walk


@pytest.mark.parametrize("seed", range(1, 41))
def test_group_survives_bad_weather(seed: int) -> None:
    """I1, I4, I5, I9 to I11, linearizable reads, and in peace a leader, commits and one log (L1, L3, L4)."""
    walk = Walk(seed)
    walk.storm(1000)
    walk.calm()
    assert walk.cluster.leaders()
