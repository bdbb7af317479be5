"""The core without a host: the same checks, and no other code between a fault and the check that sees it."""

from __future__ import annotations

import pytest

from tests.sim.core_world import CoreWorld


@pytest.mark.uncounted
@pytest.mark.parametrize("first", range(1, 31, 5))
def test_the_core_alone_keeps_every_property(first: int) -> None:
    """Chaos, then progress; a violation is raised where it happens."""
    for seed in range(first, first + 5):
        world = CoreWorld(seed)
        world.run(3000)
        assert world.committed > 0
