"""The exam of a backend in other processes: what only another hash seed shows, and what never ends."""

from __future__ import annotations

import pytest

from tests.unit.sim.backends import COMMANDS, Endless, HashOrder, SetOrder, Sound, line_of
from zraft.sim import conform

pytestmark = pytest.mark.uncounted  # it is other processes that do the work


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", [SetOrder, HashOrder])
def test_bm_119_what_goes_by_the_order_of_a_set_or_a_hash_is_found_with_its_line(kind: type[Sound]) -> None:
    """BM-119: two processes with other hash seeds do not do the same, and a third one shows that this is why."""
    report = conform(kind, COMMANDS, timeout=100)
    (finding,) = [finding for finding in report if "another hash seed does not do the same" in finding.text]
    assert (finding.rule, finding.where) == ("determinism", line_of(kind)), str(report)
    assert "command 1, ['a', 1] is answered with " in finding.text


@pytest.mark.timeout(300)
def test_what_never_ends_is_ended_and_named_with_its_line() -> None:
    """In its own process, before this one would try it."""
    (finding,) = conform(Endless, COMMANDS, timeout=0.5)
    path, _, number = finding.where.rpartition(":")
    wanted, _, last = line_of(Endless).rpartition(":")
    assert (finding.rule, path) == ("time", wanted), str(finding)
    assert int(number) in (int(last), int(last) + 1)
