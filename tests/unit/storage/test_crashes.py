"""Every crash image of every scenario: power is lost at each operation of the disk, also within the recovery after it.

A power loss leaves unsynced sectors lost, kept, or each old, new or zero; a kill leaves the page cache.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.unit.storage.fake_disk import FakeDisk, PowerLoss
from tests.unit.storage.host import SMALL, Host, batch
from tests.unit.storage.scenarios import SCENARIOS
from zraft.storage.store import StoreSettings

MODES = (("killed", 0), ("lose", 0), ("keep", 0), ("torn", 1), ("torn", 2), ("torn", 3))


def live(scenario: Callable[[Host], None], power: int, settings: StoreSettings) -> tuple[FakeDisk, list[Host], bool]:
    """One life, up to the given number of operations: the disk, the host if it started, and whether it ended."""
    disk, hosts = FakeDisk(), list[Host]()
    disk.power = power
    try:
        hosts.append(Host(disk, settings))
        scenario(hosts[0])
    except PowerLoss:
        return disk, hosts, False
    return disk, hosts, True


def go_on(host: Host) -> None:
    """Life after a recovery: a batch for everybody."""
    for name, expected in host.replicas.items():
        at, log = expected.logs[-1]
        first = max(at.index, log[-1].last if log else 0) + 1
        host.save(name, batch(first, 2, term=9, size=700))
    host.pump()


def recover(disk: FakeDisk, settings: StoreSettings, known: Host | None) -> None:
    """Recovers, goes on, and recovers from a loss of everything unsynced: nothing cut off ever comes back."""
    host = Host(disk, settings, known)
    go_on(host)
    again = Host(disk.after_crash("lose"), settings, host)
    assert again.notes == []


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_crash_image_recovers_to_a_state_between_acknowledged_and_issued(name: str) -> None:
    """Whatever a crash leaves, what was acknowledged is there, in order, without a hole (D1, D2)."""
    power, ended = 0, False
    while not ended:
        disk, hosts, ended = live(SCENARIOS[name], power, SMALL)
        for mode, seed in MODES:
            recover(disk.after_crash(mode, seed + power), SMALL, hosts[0] if hosts else None)
        power += 1
    assert power > 20


@pytest.mark.parametrize("name", SCENARIOS)
def test_recovery_may_itself_be_cut_short_anywhere(name: str) -> None:
    """A crash at any step of recovery recovers to the same or to another allowed state."""
    power, ended = 0, False
    while not ended:
        disk, hosts, ended = live(SCENARIOS[name], power, SMALL)
        known = hosts[0] if hosts else None
        for mode, seed in (("torn", power), ("torn", power + 1000)):
            _interrupt_recovery(disk.after_crash(mode, seed), known, seed)
        power += 3


def _interrupt_recovery(disk: FakeDisk, known: Host | None, seed: int) -> None:
    steps, opened = 0, False
    while not opened:
        second = disk.after_crash("killed")
        second.power = steps
        try:
            Host(second, SMALL, known)
            opened = True
        except PowerLoss:
            pass
        for mode in ("lose", "torn"):
            recover(second.after_crash(mode, seed), SMALL, known)
        steps += 1


@pytest.mark.parametrize("name", SCENARIOS)
def test_unsynced_saves_leave_a_prefix_that_is_consistent(name: str) -> None:
    """Without sync acknowledged batches may go, but what is left is a state the log once had, and no term is lost."""
    settings = StoreSettings(segment_bytes=4096, sync=False)
    power, ended = 0, False
    while not ended:
        disk, hosts, ended = live(SCENARIOS[name], power, settings)
        for host in hosts:
            for expected in (*host.replicas.values(), *host.removed.values()):
                expected.acked = expected.acked[0], 0
        for mode, seed in MODES:
            recover(disk.after_crash(mode, seed + power), SMALL, hosts[0] if hosts else None)
        power += 2
