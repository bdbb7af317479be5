"""For tests of what is built on zraft: clusters of real nodes, and a simulator for state machines.

    LocalCluster, BlockingCluster    nodes in this process, on free ports, with sockets and disks
    simulate                         a backend in a simulated world, where nodes crash and messages are lost

pytest has the fixtures `zraft_cluster` and `zraft_sim` as soon as zraft is installed: they are those of `plugin`.
Nothing else here needs pytest, and nothing is loaded before it is asked for. (PYTEST_DONT_REWRITE: no assertions here.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zraft.testing.clusters import FAST as FAST
    from zraft.testing.clusters import WAIT_S as WAIT_S
    from zraft.testing.clusters import BlockingCluster as BlockingCluster
    from zraft.testing.clusters import LocalCluster as LocalCluster
    from zraft.testing.simulation import Draw as Draw
    from zraft.testing.simulation import Exchange as Exchange
    from zraft.testing.simulation import Simulated as Simulated
    from zraft.testing.simulation import SimulationFailed as SimulationFailed
    from zraft.testing.simulation import simulate as simulate

__all__ = ["BlockingCluster", "LocalCluster", "Draw", "Exchange", "Simulated", "SimulationFailed", "simulate"]

try:
    import pytest  # noqa: F401 - who has no pytest has no use for its fixtures
except ImportError:
    pass
else:
    from zraft.testing.plugin import Simulator as Simulator
    from zraft.testing.plugin import zraft_cluster as zraft_cluster
    from zraft.testing.plugin import zraft_sim as zraft_sim

    __all__ += ["Simulator", "zraft_cluster", "zraft_sim"]


def __getattr__(name: str) -> Any:
    if name in ("BlockingCluster", "LocalCluster", "FAST", "WAIT_S"):
        from zraft.testing import clusters

        return getattr(clusters, name)
    if name in __all__:
        from zraft.testing import simulation

        return getattr(simulation, name)
    raise AttributeError(f"module 'zraft.testing' has no attribute {name!r}")
