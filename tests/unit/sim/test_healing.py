"""Which nodes a run may leave down and still ask for progress."""

from __future__ import annotations

from tests.unit.sim.scene import ABC, A, B, C, D
from zraft.core.entries import Membership
from zraft.sim.atlas import can_decide


def test_a_majority_has_to_be_up() -> None:
    """One of three may be down, two may not."""
    assert can_decide(ABC, [])
    assert can_decide(ABC, ["b:1"])
    assert not can_decide(ABC, ["b:1", "c:1"])


def test_every_voter_set_needs_its_majority_also_the_one_to_come() -> None:
    """Joint configurations, and the target of learners that catch up."""
    assert not can_decide(Membership((A, B, C), outgoing=(A, D)), ["d:1"])
    assert not can_decide(Membership((A, B, C), learners=(D,), target=(D,)), ["d:1"])
    assert can_decide(Membership((A, B, C), learners=(D,), target=(A, B, D)), ["d:1"])


def test_a_replica_that_lost_its_data_is_as_good_as_down() -> None:
    """Though its node is up."""
    assert not can_decide(ABC, ["b:1"], [C])
