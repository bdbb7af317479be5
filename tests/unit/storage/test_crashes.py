"""Every crash image of every scenario: power is lost at each operation of the disk, also within the recovery after it.

A power loss leaves unsynced sectors lost, kept, or each old, new or zero; a kill leaves the page cache.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.unit.storage.fake_disk import FakeDisk, PowerLoss
from tests.unit.storage.host import SMALL, Host, batch, mark
from tests.unit.storage.scenarios import SCENARIOS
from zraft.storage.disk import DeleteFile, Operation, SyncFile, WriteAt
from zraft.storage.store import StoreSettings

pytestmark = pytest.mark.timeout(300)  # some seconds each, and far more on a busy machine that counts lines

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


def test_cutting_a_torn_tail_leaves_the_sector_of_the_last_promised_record_alone() -> None:
    """What is zeroed begins where the bytes of the torn save begin: a power loss now cannot take more."""
    host = Host(FakeDisk())
    host.create("a")
    host.write("a", batch(1, size=10))
    host.save("a", batch(2, size=700))
    host.hand_out()
    torn = host.disk.jobs[0].operations[0]
    assert isinstance(torn, WriteAt)
    disk = host.disk.copy()
    disk.perform(WriteAt(torn.name, torn.offset + 512, torn.data[512:]))
    Host(disk, known=host)
    zeroed = [item for item in disk.performed if isinstance(item, WriteAt) and item.name == torn.name][1:]
    assert [item.offset for item in zeroed] == [torn.offset + 512]


def test_nothing_is_deleted_before_what_makes_it_superfluous_is_synced() -> None:
    """Without sync a snapshot mark may be in the page cache only: the deletion that relies on it syncs it first."""
    host = Host(FakeDisk(), StoreSettings(segment_bytes=4096, sync=False))
    host.create("a")
    for first in range(1, 8):
        host.write("a", batch(first, size=1900))
    host.compact("a", mark(6), 7)
    host.pump()
    performed = host.disk.performed
    deleted = next(at for at, item in enumerate(performed) if isinstance(item, DeleteFile))
    mark_at = max(at for at, item in enumerate(performed[:deleted]) if _writes(item, "journal"))
    name = next(item.name for item in performed[mark_at:] if isinstance(item, WriteAt))
    assert SyncFile(name) in performed[mark_at:deleted]
    found = Host(host.disk.after_crash("lose"), SMALL).found["a"]
    assert found.recovered.mark.index == 6


def _writes(operation: Operation, what: str) -> bool:
    return isinstance(operation, WriteAt) and operation.name.startswith(what)


@pytest.mark.parametrize("name", SCENARIOS)
def test_recovery_may_itself_be_cut_short_anywhere(name: str) -> None:
    """A crash at any step of recovery recovers to the same or to another allowed state."""
    whole, _, _ = live(SCENARIOS[name], 1 << 30, SMALL)
    total = len(whole.performed)
    for power in range(0, total, max(2, total // 30)):
        disk, hosts, _ = live(SCENARIOS[name], power, SMALL)
        known = hosts[0] if hosts else None
        for mode, seed in (("torn", power), ("torn", power + 1000)):
            assert _interrupt_recovery(disk.after_crash(mode, seed), known, seed) > 5


def _interrupt_recovery(disk: FakeDisk, known: Host | None, seed: int) -> int:
    """How many operations the recovery took, each of which was the last one once."""
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
    return steps


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
        power += 3
    assert power > 20
