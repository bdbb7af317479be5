"""What the campaign does to files is what it says, and nothing that a folder could not know to be missing."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.stack.chaos.damage import HARMFUL, HARMLESS, Damage, provable, records, rotten_snapshot
from tests.stack.node.scene import WAIT_S, config, group_of_one
from tests.stack.transport.world import tell
from zraft.client.client import Client
from zraft.node.disk import RealDisk
from zraft.node.node import Node
from zraft.storage.recovery import survey


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a node that ended without a last word: several segments, records that name earlier ones durable."""
    place = tmp_path_factory.mktemp("left") / "n"

    async def life() -> None:
        node = Node(config(place, max_segment_size=1 << 12))
        await node.start()
        async with Client() as client:
            peer = await group_of_one(node, client)
            for number in range(40):
                await client.write(peer, ("k", f"{number} " * 50), timeout=WAIT_S)
        await node.stop()

    tell(life)
    return place


def copy(folder: Path, to: Path) -> Path:
    """Private, as a node wants it."""
    to.mkdir(mode=0o700)
    for path in folder.iterdir():
        if path.is_file():
            (to / path.name).write_bytes(path.read_bytes())
            (to / path.name).chmod(0o600)
    return to


def damages_in(folder: Path) -> tuple[int, int]:
    """How many records the node would find to be lost, and up to which number it would go on."""
    disk = RealDisk(folder, lambda _completion: None)
    try:
        found = survey(disk)
    finally:
        disk.close()
    return len(found.damages), found.scan.expected


@pytest.mark.parametrize("damage", [one for one in HARMFUL[:-1] if one is not rotten_snapshot])
def test_records_that_are_lost_are_known_to_be_lost(folder: Path, tmp_path: Path, damage: Damage) -> None:
    """Whatever is drawn: the node finds it, because something behind it says that it was durable."""
    assert len(provable(records(folder))) > 20
    for seed in range(12):
        spoiled = copy(folder, tmp_path / f"n{seed}")
        assert damage(spoiled, random.Random(seed))
        assert damages_in(spoiled)[0] > 0, seed


@pytest.mark.parametrize("damage", HARMLESS)
def test_remains_of_a_save_lose_nothing_that_was_promised(folder: Path, tmp_path: Path, damage: Damage) -> None:
    """A torn tail, a segment that stands there twice, one state file of two: nothing is lost."""
    whole = damages_in(copy(folder, tmp_path / "whole"))
    assert whole[0] == 0
    for seed in range(12):
        spoiled = copy(folder, tmp_path / f"n{seed}")
        assert damage(spoiled, random.Random(seed))
        assert damages_in(spoiled) == whole, seed
