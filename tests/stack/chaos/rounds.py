"""One round: nodes that are new, clients at work, chains of faults with everybody well before and after, a verdict."""

from __future__ import annotations

import asyncio
import random
import shutil
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.stack.campaign.doors import Weather
from tests.stack.campaign.verdict import UNCOMPACTED
from tests.stack.campaign.workload import (
    HASTE_S,
    PATIENCE_S,
    Recorder,
    direct_client,
    light_client,
    plain_client,
)
from tests.stack.chaos.chains import Step, draw_chain, play
from tests.stack.chaos.nodes import END_S, Plan, served
from tests.stack.chaos.report import Totals
from tests.stack.chaos.scene import WELL_S, Scene, Timeline
from tests.stack.chaos.verdict import check_round
from zraft.client.client import Client
from zraft.sim.checks.ghost import Violation

WHOLE: Final = {**UNCOMPACTED, "ZRAFT_MAX_SEGMENT_SIZE": "64KiB"}
COMPACTING: Final = {
    "ZRAFT_MAX_LOG_COUNT": "300",
    "ZRAFT_TRAILING_LOG_COUNT": "30",
    "ZRAFT_MAX_SEGMENT_SIZE": "16KiB",
}


@dataclass(frozen=True)
class Round:
    """What a seed and a number make of it. `chains`: each a list of steps."""

    name: str
    size: int
    backend: str
    is_whole: bool
    has_small: bool
    chains: tuple[tuple[Step, ...], ...]
    pace: float = 1.0
    crowd: int = 2
    """Clients of each sort."""
    pause_s: float = 0.01
    """Between the requests of one client."""
    end_s: float = END_S
    """How long a process may go on that has to end."""

    @property
    def settings(self) -> dict[str, str]:
        """Of every node."""
        return WHOLE if self.is_whole else COMPACTING


def draw_round(seed: int, number: int, *, has_shim: bool) -> Round:
    """The same for the same seed and number."""
    chance = random.Random(f"{seed}/{number}")
    size, is_whole = chance.choice([3, 3, 3, 5]), chance.random() < 0.5
    backend, has_small = chance.choice(["table", "table", "dict"]), chance.random() < 0.5
    chains = [draw_chain(chance, has_shim=has_shim, has_snapshots=not is_whole) for _ in range(chance.randint(2, 4))]
    return Round(f"{seed}/{number}", size, backend, is_whole, has_small, tuple(map(tuple, chains)))


async def run_round(
    one: Round, folder: Path, library: Path | None, totals: Totals, *, program: Sequence[str] = ("-m", "zraft")
) -> None:
    """Plays the round in the folder and adds it to the totals. Raises where a property does not hold."""
    weather, recorder = Weather(), Recorder(one.backend, pause_s=one.pause_s)
    plan = Plan(one.size, one.settings, library, one.has_small, program, one.end_s)
    timeline = Timeline(folder / "timeline.txt", recorder)
    timeline.say(f"round {one}")
    totals.rounds += 1
    try:
        async with Client() as client, served(folder, plan, weather) as nodes:
            chance = random.Random(one.name)
            scene = Scene(nodes, weather, client, recorder, timeline, chance, one.pace, totals.faults)
            try:
                await client.create(scene.peers, one.backend, timeout=WELL_S)
                async with _crowd(scene, one.crowd):
                    for number, chain in enumerate(one.chains, 1):
                        await scene.wait_well()
                        timeline.say(f"chain {number}: {', '.join(step.kind for step in chain)}")
                        await play(scene, list(chain))
                        await _recovered(scene, totals, f"round {one.name}, chain {number}")
                undecided = await check_round(client, nodes, recorder, folder, is_whole=one.is_whole)
            except BaseException:
                _keep_small(scene, folder)
                raise
            totals.histories += 1
            totals.unknown_verdicts += bool(undecided)
            timeline.say(undecided or "every property held")
    finally:
        totals.add_history(recorder.operations)
        (folder / "history.txt").write_text("".join(f"{operation}\n" for operation in recorder.operations))


async def _recovered(scene: Scene, totals: Totals, where: str) -> None:
    """The faults are over; everybody is well again."""
    scene.say("the faults are over")
    await scene.heal()
    began, acknowledged = time.monotonic(), scene.recorder.acknowledged
    async with asyncio.TaskGroup() as tasks:
        well = tasks.create_task(scene.wait_well())
        while scene.recorder.acknowledged == acknowledged:
            if time.monotonic() - began > WELL_S:
                raise Violation("health", f"nobody has written for {WELL_S:g} s after the last fault")
            await asyncio.sleep(0.005)
        unavailable_s = time.monotonic() - began
    totals.add_recovery(where, unavailable_s, well.result())
    scene.say(f"a write after {unavailable_s:.2f} s, everybody well after {well.result():.2f} s")


@asynccontextmanager
async def _crowd(scene: Scene, count: int) -> AsyncIterator[None]:
    """Clients at work until the end of the block: some ask in turn, some look for the leader, some are stubborn."""
    client, peers, recorder = scene.client, scene.peers, scene.recorder
    async with asyncio.TaskGroup() as tasks:
        for number in range(count):
            tasks.create_task(plain_client(client, peers, recorder, f"plain{number}"))
            tasks.create_task(light_client(client, peers, recorder, f"light{number}"))
            # Whoever waits long has asked long ago: what it is told may be old.
            writes, patience_s = (0.0, HASTE_S) if number else (0.2, PATIENCE_S)
            name = f"stubborn{number}"
            tasks.create_task(direct_client(client, scene.asked, recorder, name, writes=writes, patience_s=patience_s))
        try:
            yield
        finally:
            recorder.is_over = True


def _keep_small(scene: Scene, folder: Path) -> None:
    """What is on a file system that goes with its holder."""
    for node in scene.nodes:
        if node.has_small:
            shutil.copytree(node.folder, folder / f"{node.folder.name}.kept", ignore_dangling_symlinks=True)
