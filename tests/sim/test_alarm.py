"""A backend whose apply depends on the replica: the divergence alarm finds it in a simulated cluster (BM-119)."""

from __future__ import annotations

import pytest

from tests.sim.mutants.mutation import Change, Mutant, hunt

_STATES = Change("zraft.sim.node:SimNode._check_states", "machine.is_between_batches", "False")
"""The simulator's own comparison of states with the log: it would be first."""

_ODD = "n1:1"

DIVERGENT = Mutant(
    "BM-119",
    "what is stored depends on the node",
    (
        Change(
            "zraft.machine.dict_backend:DictBackend.apply",
            "self._data[key] = value",
            f"self._data[key] = value if self.peer_id.node != {_ODD!r} else [value]",
        ),
        _STATES,
    ),
)


@pytest.mark.uncounted
def test_bm_119_a_replica_that_applies_in_its_own_way_is_found_by_the_alarm() -> None:
    """It stops by itself, and says after which index its state was another one."""
    report = hunt(DIVERGENT, 1, 5)
    assert report is not None, "nobody noticed"
    assert f"@{_ODD}: its state diverged from that of its group" in report.failure, report.failure
