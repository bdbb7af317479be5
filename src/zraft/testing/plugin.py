"""The pytest plugin, which is there once zraft is installed: the fixtures `zraft_cluster` and `zraft_sim`, and options.

Loaded at every start of pytest, so it loads nothing itself. (PYTEST_DONT_REWRITE: no assertions here.)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from zraft.testing.clusters import BlockingCluster
    from zraft.testing.simulation import Simulated


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which seeds a simulation runs."""
    group = parser.getgroup("zraft", "simulated state machines (the fixture zraft_sim)")
    group.addoption("--zraft-seeds", metavar="A-B", type=_range, help="run these seeds instead of those of the test")
    group.addoption("--zraft-seed", metavar="N", type=int, help="run this seed, and shrink it if it fails")
    group.addoption(
        "--zraft-excerpt", metavar="TEXT", default="", help="of that seed only what is left after shrinking"
    )
    group.addoption("--zraft-tries", metavar="N", type=int, help="runs that shrinking may take")


def _range(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


class Simulator:
    """What `zraft_sim` is."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._request = request

    def run(self, backend: Any, **arguments: Any) -> Simulated:
        """As `simulate`, with the seeds that the command line wants. A run that fails fails the test."""
        __tracebackhide__ = True
        from zraft.testing.simulation import SimulationFailed, in_pytest, simulate

        option = self._request.config.getoption
        seed, seeds, tries = option("--zraft-seed", None), option("--zraft-seeds", None), option("--zraft-tries", None)
        if seed is not None or seeds is not None:
            arguments["seeds"] = [seed] if seed is not None else seeds
        if tries is not None:
            arguments["tries"] = tries
        if excerpt := option("--zraft-excerpt", ""):
            arguments["excerpt"] = excerpt
        arguments = {"replay": in_pytest(self._request.node.nodeid), "progress": self._say, **arguments}
        try:
            return simulate(backend, **arguments)
        except SimulationFailed as failed:
            text = str(failed)
        pytest.fail(text, pytrace=False)

    def _say(self, text: str) -> None:
        """To who looks on; a worker of pytest-xdist has nobody."""
        plugins = self._request.config.pluginmanager
        terminal, capture = plugins.get_plugin("terminalreporter"), plugins.get_plugin("capturemanager")
        if terminal is not None and capture is not None and (terminal.isatty or terminal.verbosity > 0):
            with capture.global_and_fixture_disabled():
                terminal.write_line(text)


@pytest.fixture
def zraft_sim(request: pytest.FixtureRequest) -> Simulator:
    """The simulator for state machines: `zraft_sim.run(Bank, commands=..., invariant=...)`."""
    return Simulator(request)


@pytest.fixture
def zraft_cluster() -> Iterator[BlockingCluster]:
    """Three nodes with the group "test" of the backend "dict", for one test."""
    from zraft.testing.clusters import BlockingCluster

    with BlockingCluster(3) as cluster:
        yield cluster
