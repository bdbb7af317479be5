"""Which disks of a run may lose something, how they do, and what is remembered of who abstains."""

from __future__ import annotations

import pytest

from tests.unit.sim.scene import A, Scene
from tests.unit.sim.test_disk import World
from zraft.core.entries import HardState, SnapshotMark
from zraft.sim.atlas import in_force, may_spoil, spoiled
from zraft.sim.checks import durability
from zraft.sim.checks.durability import Found
from zraft.sim.checks.ghost import Trail, Violation
from zraft.sim.cluster import Cluster
from zraft.sim.disk import SECTOR
from zraft.sim.profiles import profile_named
from zraft.storage.disk import CreateFile, SyncFile, SyncFolder, WriteAt


@pytest.mark.parametrize(("kind", "expected"), [(2, bytes(SECTOR)), (3, b"b" * SECTOR)])
def test_a_spoiled_sector_stays_so_through_a_power_loss(kind: int, expected: bytes) -> None:
    """Lost, or with the bytes of another one; the others are as they were."""
    world = World()
    data = b"a" * SECTOR + b"b" * SECTOR
    world.run(CreateFile("f", 2 * SECTOR), WriteAt("f", 0, data), SyncFile("f"), SyncFolder())
    world.scheduler.run_until(10)
    assert "sector at 0" in world.disk.spoil("f", 5, SECTOR + 9, kind)
    world.disk.crash(power_loss=True)
    assert world.disk.content("f") == expected + b"b" * SECTOR


def test_a_spoiled_bit_is_one_bit() -> None:
    """Where it was said."""
    world = World()
    world.disk.perform(CreateFile("f", SECTOR), SyncFile("f"), SyncFolder())
    assert world.disk.spoil("f", 7, 3, 0) == "a bit flips in f at 7"
    assert world.disk.content("f")[7] == 8


def test_only_a_minority_is_spoiled_at_a_time() -> None:
    """Nobody before there is a configuration; then one of three, until it has everything again."""
    cluster = Cluster(1, profile_named("recovery"))
    nodes = list(cluster.nodes.values())
    assert not may_spoil(nodes[0], nodes, cluster.groups)
    for node in nodes:
        node.start()
    for operator in cluster.operators.values():
        operator.start()
    cluster.scheduler.run_until(20_000)
    assert in_force(cluster.groups)
    assert may_spoil(nodes[0], nodes, cluster.groups)
    majority = len(nodes) // 2 + 1
    for node in nodes[: len(nodes) - majority]:
        node.is_spoiled = True
    assert spoiled(nodes) == [node.name for node in nodes[: len(nodes) - majority]]
    assert not may_spoil(nodes[-1], nodes, cluster.groups)
    assert may_spoil(nodes[0], nodes, cluster.groups)


def test_who_says_that_it_lost_data_must_be_in_a_new_term() -> None:
    """D4; without that word every durable batch has to be there (D1)."""
    scene = Scene()
    scene.give(A, 2, 2)
    node = scene.node(A)
    node.disk_state = HardState(3)
    found = Found(HardState(3, None, 3), SnapshotMark(), [1], [1])
    with pytest.raises(Violation, match="durability D4"):
        durability.check_recovered(scene.ledger, node, found)
    found = Found(HardState(4, None, 4), SnapshotMark(), [1], [1])
    assert durability.check_recovered(scene.ledger, node, found).end.last == 1
    with pytest.raises(Violation, match="durability D1"):
        durability.check_recovered(scene.ledger, node, Found(HardState(4), SnapshotMark(), [1], [1]))


def test_who_votes_again_has_what_it_would_have() -> None:
    """D5: the same log as if nothing had been lost."""
    scene = Scene()
    scene.give(A, 2, 2)
    node = scene.node(A)
    node.promised = Trail()
    node.promised.become(node.disk, 3)
    durability.check_whole(node)
    node.disk.truncate_from(3)
    with pytest.raises(Violation, match="durability D5"):
        durability.check_whole(node)
    assert node.vouched is node.promised
