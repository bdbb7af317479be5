"""Chains of faults, drawn from a seed: it is the company of faults that finds bugs, rarely a single one."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack
from typing import NamedTuple

from tests.stack.chaos import disks, networks, processes
from tests.stack.chaos.kinds import KINDS, NotNow
from tests.stack.chaos.scene import Scene

MODULES = (disks, networks, processes)
"""They define the kinds."""


class Step(NamedTuple):
    """One fault. `lasts`: it and those before it go on while the next ones strike."""

    kind: str
    lasts: bool


def draw_chain(chance: random.Random, *, has_shim: bool, has_snapshots: bool) -> list[Step]:
    """Three to five faults, of which some overlap."""
    there = {"": True, "shim": has_shim, "snapshots": has_snapshots}
    kinds = [kind for kind in KINDS.values() if there[kind.needs]]
    drawn = chance.choices(kinds, [kind.weight for kind in kinds], k=chance.randint(3, 5))
    return [Step(kind.name, chance.random() < 0.5) for kind in drawn]


async def play(scene: Scene, chain: list[Step]) -> None:
    """The chain from its first fault to the end of its last one."""
    async with AsyncExitStack() as going_on:
        for step in chain:
            try:
                await going_on.enter_async_context(KINDS[step.kind].strike(scene))
            except NotNow:
                scene.faults["(nobody to strike)"] += 1
                continue
            scene.faults[step.kind] += 1
            await scene.hold(0.2, 1.5)
            if not step.lasts:
                await going_on.aclose()
