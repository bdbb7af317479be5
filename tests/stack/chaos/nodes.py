"""The nodes of a round: real servers behind doors, with disks that can be made to fail, as a campaign holds them.

client, other node ──> door ──> server ──> faults.so ──> its folder        (node 0: on a small file system, where
                                                                            the kernel lets us mount one)
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.stack.campaign.doors import Door, Weather, cancelled_at_end
from tests.stack.chaos import inside
from tests.stack.chaos.shim import Shim
from tests.stack.clusters import ELECTION
from zraft.app.processes import PortLease, ServerProcess
from zraft.sim.checks.ghost import Violation
from zraft.types import PeerId

ROOT: Final = Path(__file__).resolve().parents[3]
GROUP: Final = "t"
SMALL_BYTES: Final = 24 << 20
"""Of the small file system."""
END_S: Final = 30.0
"""Within which a process ends that has to."""


@dataclass
class Node:
    """One server and what was done to it."""

    server: ServerProcess
    folder: Path
    """Its data, as we reach it."""
    peer: PeerId
    bulk_port: int
    shim: Shim | None
    end_s: float = END_S
    has_small: bool = False
    """Its folder is on a small file system of its own."""
    is_paused: bool = False
    may_end: str = ""
    """Why its process may end by itself; empty: it must not."""
    damage: str = ""
    """What its disk has lost; empty: nothing."""
    ends: list[str] = field(default_factory=list)
    """How each process ended that was not told to."""

    @property
    def is_up(self) -> bool:
        """It runs, and is not stopped in its tracks."""
        return self.server.is_running and not self.is_paused

    def pause(self) -> None:
        """Its process gets no time."""
        os.kill(self.server.pid, signal.SIGSTOP)
        self.is_paused = True

    def resume(self) -> None:
        """It goes on where it was."""
        self.is_paused = False
        if self.server.is_running:
            os.kill(self.server.pid, signal.SIGCONT)

    async def kill(self) -> None:
        """SIGKILL."""
        self.note_end()
        self.is_paused = False
        await asyncio.to_thread(self.server.kill)

    async def revive(self) -> None:
        """It serves, if it did not. Raises ServerFailed."""
        self.note_end()
        if not self.server.is_running:
            await asyncio.to_thread(self.server.start)

    async def restart(self) -> None:
        """It is killed if need be, and serves with what it has. Raises ServerFailed."""
        await self.kill()
        await self.revive()

    def note_end(self) -> None:
        """Where the process has ended by itself: how. Raises Violation where it must not."""
        if not self.server.has_ended:
            return
        status, why = self.server.wait_ended(), self.server.last_line()
        self.ends.append(why)
        if status <= 0 or not self.may_end:
            raise Violation("end", f"{self.peer.node} ended by itself, with status {status}: {why}")

    async def must_end(self, why: str) -> None:
        """Returns when the process has ended by itself, with a reason. Raises Violation where it goes on."""
        for _ in range(int(self.end_s / 0.02)):
            if not self.server.is_running:
                break
            await asyncio.sleep(0.02)
        else:
            raise Violation("goes on", f"{self.peer.node} still runs {self.end_s:g} s after {why}")
        self.note_end()

    async def wipe(self) -> None:
        """It is killed, and everything in its folder is gone."""
        await self.kill()
        for path in self.folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@dataclass(frozen=True)
class Plan:
    """What the nodes of a round are like."""

    size: int
    settings: Mapping[str, str]
    library: Path | None
    has_small: bool = False
    program: Sequence[str] = ("-m", "zraft")
    end_s: float = END_S


@asynccontextmanager
async def served(folder: Path, plan: Plan, weather: Weather) -> AsyncIterator[list[Node]]:
    """Nodes that serve behind doors. All of them are gone at the end of the block."""
    async with AsyncExitStack() as stack:
        tasks = await stack.enter_async_context(cancelled_at_end())
        held = stack.enter_context(ExitStack())
        nodes = []
        for number in range(plan.size):
            outer = leased(held).address
            node = spawned(held, folder, number, plan, advertise=outer)
            door = Door(address=outer, behind=node.server.address, weather=weather, tasks=tasks)
            await door.open()
            held.callback(door.close)
            nodes.append(node)
        for node in nodes:
            await asyncio.to_thread(node.server.wait_ready)
        yield nodes
        for node in nodes:
            node.resume()


def leased(stack: ExitStack) -> PortLease:
    """A port, until the end of the stack."""
    lease = PortLease()
    stack.callback(lease.release)
    return lease


def spawned(stack: ExitStack, folder: Path, number: int, plan: Plan, *, advertise: str = "") -> Node:
    """A node that starts; it is gone at the end of the stack."""
    inner, bulk = leased(stack), leased(stack)
    place, program, holder = folder / f"n{number}", plan.program, None
    if plan.has_small and number == 0:
        place = folder / "small" / f"n{number}"
        holder = stack.enter_context(small_file_system(place.parent))
        program = program if holder is None else (str(Path(inside.__file__)), str(holder), *program)
    shim = None
    if plan.library is not None:
        shim = Shim(plan.library, folder / f"n{number}.faults", place)
        stack.callback(shim.close)
    environment = {
        **ELECTION,
        **plan.settings,
        **({} if shim is None else shim.environment),
        "ZRAFT_SNAPSHOT_LISTENER_PORT": str(bulk.port),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])),
        **{f"ZRAFT_LOG_{kind}_FILE": f"{folder}/n{number}.{kind.lower()}.log" for kind in ("CONSOLE", "ERROR")},
    }
    options = ["--advertise", advertise or inner.address]
    server = ServerProcess(place, inner.address, options=options, environment=environment, program=program)
    server.log = folder / f"n{number}.log"
    stack.callback(server.kill)
    server.spawn()
    seen = place if holder is None else Path(f"/proc/{holder}/root{place}")
    peer = PeerId(GROUP, advertise or inner.address)
    return Node(server, seen, peer, bulk.port, shim, plan.end_s, has_small=holder is not None)


@contextlib.contextmanager
def small_file_system(folder: Path) -> Iterator[int | None]:
    """A file system of `SMALL_BYTES`, for the process whose number this is; None where none can be had.

    It is mounted in a name space of that process, so that no right is needed, and goes with it.
    """
    folder.mkdir()
    mount = f'mount -t tmpfs -o size={SMALL_BYTES},mode=700 tmpfs "$0" && echo mounted && exec cat'
    words = ["unshare", "-rm", "sh", "-c", mount, str(folder)]
    try:
        holder = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
    except OSError:
        yield None
        return
    assert holder.stdin is not None
    assert holder.stdout is not None
    with holder.stdin, holder.stdout:
        is_there = holder.stdout.readline() == "mounted\n"
        yield holder.pid if is_there else None
    holder.wait()
