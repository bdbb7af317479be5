"""Faults of disks: calls that fail, late calls, no space, and files that are not what they were.

After a call that changes something has failed the process has to end, with the reason: what the file then has is
unknown. A sync that fails takes with it what was written before it, as page caches do.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import resource
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from tests.stack.chaos.damage import HARMFUL, HARMLESS, Damage, rotten_snapshot
from tests.stack.chaos.kinds import NotNow, kind
from tests.stack.chaos.nodes import Node
from tests.stack.chaos.scene import WIPED, Scene
from tests.stack.chaos.shim import LOST, Call, Shim
from tests.stack.clusters import WAIT_S
from zraft.sim.checks.ghost import Violation

_ERRORS: Final = (errno.EIO, errno.ENOSPC)
_ENOUGH: Final = 30
"""Writes that are acknowledged while a leader's rule for syncs strikes nothing: then it does not sync."""


async def _victim(scene: Scene) -> tuple[Node, Shim]:
    node = await scene.pick("leader", "any")
    if node is None or node.shim is None or node.damage:
        raise NotNow
    return node, node.shim


async def _ends(scene: Scene, node: Node, shim: Shim, call: Call, why: str) -> AsyncIterator[None]:
    """Once the rule has struck, the process ends; it may be that nothing makes the call in this while."""
    node.may_end = why
    scene.say(f"{node.peer.node}: {why}")
    writes = scene.recorder.acknowledged
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(2 if call not in (Call.FILE_SYNC, Call.WRITE) else WAIT_S):
            while not shim.hits(call) and node.is_up:  # noqa: ASYNC110 - another process decides
                await asyncio.sleep(0.01)
    if shim.hits(call):
        await node.must_end(why)
        scene.say(f"{node.peer.node} has ended: {node.ends[-1] if node.ends else 'killed'}")
    elif call is Call.FILE_SYNC and node.is_up and scene.recorder.acknowledged - writes >= _ENOUGH:
        raise Violation("sync", f"{scene.recorder.acknowledged - writes} writes, and {node.peer.node} synced nothing")
    shim.clear()
    yield
    await scene.revive(node)


@kind("a sync fails", weight=4, needs="shim")
async def sync_fails(scene: Scene) -> AsyncIterator[None]:
    """What was written since the last sync is lost with it."""
    node, shim = await _victim(scene)
    times, error = scene.chance.choice([1, 1 << 30]), scene.chance.choice(_ERRORS)
    if error == errno.ENOSPC:  # once, for the segment to come, it is forgiven
        times = 1 << 30
    shim.rule(Call.FILE_SYNC, error=error, times=times, disarms=(Call.WRITE,))
    shim.rule(Call.WRITE, keep=LOST)
    shim.arm(Call.FILE_SYNC, Call.WRITE)
    async for _ in _ends(scene, node, shim, Call.FILE_SYNC, "its sync fails, and loses what it was to sync"):
        yield


@kind("a write fails", weight=3, needs="shim")
async def write_fails(scene: Scene) -> AsyncIterator[None]:
    """At once, or after a part of it is there."""
    node, shim = await _victim(scene)
    keep, skip = scene.chance.choice([0, 0, 1, 100, 511, 600]), scene.chance.randrange(20)
    shim.rule(Call.WRITE, skip=skip, error=scene.chance.choice(_ERRORS), keep=keep)
    shim.arm(Call.WRITE)
    async for _ in _ends(scene, node, shim, Call.WRITE, f"a write fails after {keep} bytes, and all that follow"):
        yield


@kind("short writes", needs="shim")
async def short_writes(scene: Scene) -> AsyncIterator[None]:
    """The system writes a part, and the rest when it is asked again: nothing is wrong."""
    node, shim = await _victim(scene)
    scene.say(f"{node.peer.node}: short writes")
    for _ in range(5):
        shim.rule(Call.WRITE, error=0, keep=scene.chance.choice([1, 95, 512, 1000]), times=2)
        shim.arm(Call.WRITE)
        await scene.hold(0.1, 0.2)
    shim.clear()
    yield


@kind("opening or renaming fails", needs="shim")
async def name_fails(scene: Scene) -> AsyncIterator[None]:
    """A new segment or a snapshot cannot be made: the process ends, or goes on without a snapshot."""
    node, shim = await _victim(scene)
    node.may_end = "a file cannot be opened or renamed"
    scene.say(f"{node.peer.node}: {node.may_end}")
    for call in (Call.OPEN, Call.RENAME, Call.SYNC, Call.TRUNCATE):
        shim.rule(call, error=scene.chance.choice((*_ERRORS, errno.EMFILE)), times=2, top=False)
    shim.arm(Call.OPEN, Call.RENAME, Call.SYNC, Call.TRUNCATE)
    await scene.hold(0.5, 2)
    shim.clear()
    yield
    await scene.revive(node)


@kind("the disk fails while the node starts", needs="shim")
async def start_fails(scene: Scene) -> AsyncIterator[None]:
    """It does not start, or ends; with a disk that works it starts, and has what it had."""
    node, shim = await _victim(scene)
    call = scene.chance.choice([Call.FILE_SYNC, Call.WRITE, Call.SYNC, Call.OPEN])
    scene.say(f"{node.peer.node} is killed; {call.name} fails while it starts")
    await node.kill()
    node.may_end = "the disk failed while it started"
    shim.rule(
        call, skip=scene.chance.randrange(12), error=scene.chance.choice(_ERRORS), keep=scene.chance.choice([0, 300])
    )
    shim.arm(call)
    await scene.revive(node)
    await scene.hold(0, 0.5)
    shim.clear()
    yield
    await node.kill()
    await scene.revive(node)


@kind("a slow disk", needs="shim")
async def slow_disk(scene: Scene) -> AsyncIterator[None]:
    node, shim = await _victim(scene)
    delay_ms = scene.chance.choice([20, 100, 400])
    scene.say(f"{node.peer.node}: each sync takes {delay_ms} ms")
    shim.rule(Call.FILE_SYNC, error=0, delay_ms=delay_ms)
    shim.arm(Call.FILE_SYNC)
    await scene.hold(0.5, 3)
    yield
    shim.clear()


@kind("a disk that stands still", needs="shim")
async def stalled_disk(scene: Scene) -> AsyncIterator[None]:
    node, shim = await _victim(scene)
    seconds = scene.pace * scene.chance.choice([2, 5])
    scene.say(f"{node.peer.node}: a sync takes {seconds:g} s")
    shim.rule(Call.FILE_SYNC, error=0, delay_ms=int(1000 * seconds), times=1)
    shim.arm(Call.FILE_SYNC)
    await asyncio.sleep(seconds)
    yield
    shim.clear()


@kind("the wall clock jumps", needs="shim")
async def clock_jumps(scene: Scene) -> AsyncIterator[None]:
    node, shim = await _victim(scene)
    offset_s = scene.chance.choice([-3600, -5, 5, 3600])
    scene.say(f"{node.peer.node}: the clock jumps by {offset_s} s")
    shim.set_clock(offset_s)
    await scene.hold(0.5, 2)
    yield
    shim.set_clock(0)


@kind("a full disk", weight=3)
async def full_disk(scene: Scene) -> AsyncIterator[None]:
    """A file system without space, or files that may not grow: the process ends once it needs more."""
    node = next((node for node in scene.up if node.has_small), None) or await scene.pick("leader", "any")
    if node is None or node.damage:
        raise NotNow
    node.may_end = "its disk is full"
    pid, filler = node.server.pid, None
    limit = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    if not node.has_small:
        scene.say(f"{node.peer.node}: no file may be longer than 8 KiB")
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (8192, limit[1]))
    else:
        filler = node.folder.parent / "filler"
        scene.say(f"{node.peer.node}: {await asyncio.to_thread(fill, filler)} bytes fill its file system")
    await scene.hold(1, 3)
    yield
    if filler is not None:
        filler.unlink()
    elif node.server.is_running and node.server.pid == pid:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limit)
    scene.say(f"{node.peer.node}: there is space again; {node.ends[-1:] or 'it had enough'}")
    await scene.revive(node)


def fill(path: Path) -> int:
    """Everything that is left of the file system is in the file now."""
    block = bytes(1 << 16)
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(block) == len(block):
            pass
    return path.stat().st_size


@kind("files that are torn or doubled", weight=3)
async def harmless(scene: Scene) -> AsyncIterator[None]:
    async for _ in _damaged(scene, scene.chance.choice(HARMLESS), loses=False):
        yield


@kind("files that rot", weight=4)
async def harmful(scene: Scene) -> AsyncIterator[None]:
    async for _ in _damaged(
        scene, scene.chance.choice([one for one in HARMFUL if one is not rotten_snapshot]), loses=True
    ):
        yield


@kind("a snapshot that rots", weight=3, needs="snapshots")
async def bad_snapshot(scene: Scene) -> AsyncIterator[None]:
    async for _ in _damaged(scene, rotten_snapshot, loses=True):
        yield


async def _damaged(scene: Scene, damage: Damage, *, loses: bool) -> AsyncIterator[None]:
    node = await scene.pick_to_damage()
    if node is None or node.damage:
        raise NotNow
    await node.kill()
    done = damage(node.folder, scene.chance)
    scene.say(f"{node.peer.node} is killed, its files: {done or 'as they were'}")
    if loses and done:
        node.damage = done
        node.may_end = "its files were damaged"
    await scene.hold(0, 1)
    yield
    await scene.revive(node)


@kind("a disk that was emptied")
async def wiped(scene: Scene) -> AsyncIterator[None]:
    node = await scene.pick_to_damage()
    if node is None or node.damage:
        raise NotNow
    await node.wipe()
    node.damage = WIPED
    scene.say(f"{node.peer.node} is killed and its folder emptied")
    await scene.hold(0, 1)
    yield
    await scene.revive(node)
