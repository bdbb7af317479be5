"""What a fault needs to know: the nodes, the weather between them, who leads, and where it says what it does."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.stack.campaign.doors import Weather
from tests.stack.campaign.workload import Recorder
from tests.stack.chaos.nodes import Node
from zraft.app.processes import ServerFailed
from zraft.client.client import Client
from zraft.client.views import Answered
from zraft.errors import RequestError, ZraftError
from zraft.sim.checks.ghost import Violation
from zraft.sim.history import Input, Put
from zraft.types import PeerId, Value

WELL_S: Final = 60.0
"""Within which everything is well again after the last fault of a chain, on a machine that is busy."""
LOOK_S: Final = 0.05
WIPED: Final = "its folder was emptied"


@dataclass
class Timeline:
    """What was done when, for who reads the evidence: seconds, the clients' moment, and the fact."""

    file: Path
    recorder: Recorder
    began: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        """One line."""
        with self.file.open("a") as file:
            file.write(f"{time.monotonic() - self.began:8.3f} s  moment {self.recorder.next_moment():6}  {text}\n")


@dataclass
class Scene:
    """Of one round. `pace` scales how long faults last."""

    nodes: list[Node]
    weather: Weather
    client: Client
    recorder: Recorder
    timeline: Timeline
    chance: random.Random
    pace: float = 1.0
    faults: Counter[str] = field(default_factory=Counter)
    probes: int = 0
    leader: PeerId | None = None
    """Who led when somebody asked last."""

    @property
    def peers(self) -> list[PeerId]:
        """One on each node."""
        return [node.peer for node in self.nodes]

    @property
    def minority(self) -> int:
        """So many nodes may be gone for good."""
        return (len(self.nodes) - 1) // 2

    @property
    def up(self) -> list[Node]:
        """The nodes that run."""
        return [node for node in self.nodes if node.is_up]

    def asked(self) -> PeerId:
        """Whom the stubborn clients ask."""
        return self.leader or self.peers[0]

    async def find_leader(self) -> Node | None:
        """Who leads, as far as anybody says so within a second."""
        for node in self.up:
            try:
                status = await self.client.stat(node.peer, timeout=0.5)
            except RequestError:
                continue
            if status.role == "leader":
                self.leader = node.peer
        return next((node for node in self.up if node.peer == self.leader), None)

    async def pick(self, *who: str) -> Node | None:
        """One that is up: "leader", "follower" or "any", whichever of these is drawn."""
        wanted = self.chance.choice(who)
        leader = await self.find_leader()
        if wanted == "leader" and leader is not None:
            return leader
        others = [node for node in self.up if wanted == "any" or node is not leader]
        return self.chance.choice(others) if others else None

    async def pick_to_damage(self) -> Node | None:
        """One whose disk may lose what it has: only as many as the others can do without."""
        if sum(bool(node.damage) for node in self.nodes) >= self.minority:
            return None
        return await self.pick("leader", "any", "any")

    async def hold(self, shortest_s: float, longest_s: float) -> None:
        """Let it last."""
        await asyncio.sleep(self.pace * self.chance.uniform(shortest_s, longest_s))

    def say(self, text: str) -> None:
        """For the evidence."""
        self.timeline.say(text)

    async def revive(self, *nodes: Node) -> None:
        """They are started, if what is wrong with their disks lets them; else `heal` does it."""
        for node in nodes:
            try:
                await node.revive()
            except ServerFailed as error:
                self.say(f"{node.peer.node} does not start now: {error}")
        self.say(f"started {names(nodes)}")

    async def heal(self) -> None:
        """Every fault is over: what does not run is started, and an operator does what only an operator can."""
        self.weather.clear(lose=self.chance.random() < 0.5)
        for node in self.nodes:
            if node.shim is not None:
                node.shim.clear()
            node.resume()
        for node in self.nodes:
            try:
                await node.revive()
            except ServerFailed as error:
                if not node.damage:
                    raise Violation("start", f"{node.peer.node} does not start: {error}") from error
                self.say(f"{node.peer.node} refuses to start after {node.damage}: {error}")

    async def wait_well(self) -> float:
        """Everybody follows or leads, and has what was written now: after how many seconds. Raises Violation."""
        began = time.monotonic()
        problem = "nobody was asked"
        while time.monotonic() - began < WELL_S:
            problem = await self._problem()
            if not problem:
                for node in self.nodes:
                    node.may_end = node.damage = ""
                return time.monotonic() - began
            await self._readmit_lost()
            await asyncio.sleep(LOOK_S)
        raise Violation("health", f"not well {WELL_S:g} s after the last fault: {problem}")

    async def _problem(self) -> str:
        """Empty where the group is well."""
        self.probes += 1
        recorder, key = self.recorder, f"health{self.probes}"
        try:
            async with self.client.light_session(self.peers) as session:

                async def ask(_asked: Input, request: Value) -> Answered:
                    return await self.client.write(session, request, timeout=WELL_S / 6)

                error = await recorder.perform("health", key, Put(key), ask)
            if error is not None:
                return str(error)
            written = recorder.highest
            for peer in self.peers:
                status = await self.client.stat(peer, timeout=2.0)
                if status.role not in ("leader", "follower") or status.fault:
                    return f"{peer} is {status.role}: {status.fault}"
                if status.last_applied < written:
                    return f"{peer} has applied {status.last_applied} of {written}"
        except RequestError as error:
            return str(error)
        for node in self.nodes:
            node.note_end()
        return ""

    async def _readmit_lost(self) -> None:
        """What `docs/operate/disasters.md` tells the operator to do, for each node whose disk is damaged."""
        for node in self.nodes:
            if not node.damage:
                continue
            if not node.server.is_running:
                node.note_end()
                try:
                    await node.revive()
                    continue
                except ServerFailed:
                    await self._readmit(node, "it does not start")
            try:
                role = (await self.client.stat(node.peer, timeout=2.0)).role
            except RequestError as error:
                role = str(error)
            if role == "failed" or role.startswith("no peer"):
                await self._readmit(node, role)

    async def _readmit(self, node: Node, why: str) -> None:
        self.say(f"operator: {node.peer} is taken in anew ({why}, after {node.damage})")
        if node.damage != WIPED:
            await node.wipe()
            await node.revive()
            node.damage = WIPED
        others = [other.peer for other in self.up if other is not node]
        try:
            await self.client.set_new_conf(others[0], self.peers, self.peers, timeout=10)
        except ZraftError as error:
            self.say(f"operator: not yet: {error}")


def names(nodes: Sequence[Node]) -> str:
    """For the timeline."""
    return ", ".join(node.peer.node for node in nodes)
