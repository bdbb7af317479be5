"""Clients that write down what they saw: the raw material of a verdict.

Every put has a value of its own. A few keys are in use at any moment, so that clients meet on them, and each is given up
after some dozens of operations, so that a search over one key stays short. Moments are numbers that one process hands
out in the order of its events: the clock of all clients.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from tests.stack.clusters import WAIT_S, wait_until
from zraft.client.client import Client
from zraft.client.light_session import LightSession
from zraft.client.views import Answered
from zraft.errors import RequestError
from zraft.sim.history import Get, Input, Operation, Put, Remove
from zraft.types import NOT_FOUND, Index, PeerId, Value

KEYS_AT_ONCE: Final = 3
OPERATIONS_A_KEY: Final = 60
PATIENCE_S: Final = 3.0
PAUSE_S: Final = 0.003
"""Between the requests of one client: the machine is to be busy with faults, not with load."""
_REFUSED_PAUSE_S: Final = 0.02


class Recorder:
    """What every client saw, and whether they may go on."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.is_over = False
        self.acknowledged = 0
        """Writes."""
        self.reads = 0
        """Queries that were answered."""
        self.highest: Index = 0
        """The newest index that any answer named."""
        self.leader: PeerId | None = None
        """Who answered a plain client's write last."""
        self._moments = itertools.count(1)
        self._asked = 0

    @property
    def keys(self) -> list[str]:
        """Every key that was used."""
        return list(dict.fromkeys(operation.key for operation in self.operations))

    def draw_key(self, chance: random.Random) -> str:
        """One of those in use now."""
        self._asked += 1
        oldest = self._asked // OPERATIONS_A_KEY
        return f"k{oldest + chance.randrange(KEYS_AT_ONCE)}"

    async def perform(
        self, client: str, key: str, asked: Input, ask: Callable[[Value], Awaitable[Answered]]
    ) -> RequestError | None:
        """Asks, and keeps what came of it. The error is returned; only a broken promise is raised."""
        match asked:
            case Put(value):
                request: Value = (key, value)
            case Remove():
                request = (key,)
            case _:
                request = key
        call = next(self._moments)
        try:
            answer = await ask(request)
        except RequestError as error:
            if error.executed == "yes":
                raise
            self.operations.append(
                Operation(
                    client=client, key=key, call=call, returned=None, input=asked, is_refused=error.executed == "no"
                )
            )
            return error
        output = None if answer.result is NOT_FOUND else answer.result
        self.operations.append(
            Operation(
                client=client,
                key=key,
                call=call,
                returned=next(self._moments),
                input=asked,
                output=output,
                index=answer.index,
            )
        )
        self.highest = max(self.highest, answer.index)
        if isinstance(asked, Get):
            self.reads += 1
        else:
            self.acknowledged += 1
            if isinstance(answer.target, PeerId):
                self.leader = answer.target
        return None

    async def wait_writes(self, count: int) -> None:
        """Returns after so many further acknowledged writes."""
        goal = self.acknowledged + count
        await wait_until(f"{count} writes", lambda: self.acknowledged >= goal)

    async def wait_led(self, by: Callable[[PeerId | None], bool]) -> None:
        """Returns once the newest write was acknowledged by such a peer."""
        await wait_until("a leader of the wanted kind", lambda: by(self.leader))


async def plain_client(client: Client, peers: Sequence[PeerId], recorder: Recorder, name: str) -> None:
    """Requests of one client, one after the other, each at the peer that answered the last one."""
    targets = itertools.cycle(peers)
    target = next(targets)

    async def write(command: Value) -> Answered:
        return await client.write(target, command, timeout=PATIENCE_S)

    async def query(key: Value) -> Answered:
        return await client.query(target, key, timeout=PATIENCE_S)

    async for error in _requests(recorder, name, write, query):
        if error is not None:
            target = next(targets)
        elif recorder.leader is not None:
            target = recorder.leader


async def light_client(client: Client, peers: Sequence[PeerId], recorder: Recorder, name: str) -> None:
    """The same through a light session of its own."""
    session = client.light_session(peers, fail_timeout=0.2, election_timeout=0.2)

    async def write(command: Value) -> Answered:
        return await client.write(session, command, timeout=PATIENCE_S)

    async def query(key: Value) -> Answered:
        return await client.query(session, key, timeout=PATIENCE_S)

    async with session:
        async for _ in _requests(recorder, name, write, query):
            pass


async def direct_client(client: Client, recorder: Recorder, name: str, peer: Callable[[], PeerId]) -> None:
    """Reads, and now and then a write, at the peer that `peer` says and at no other, whatever it answers."""

    async def write(command: Value) -> Answered:
        return await client.write(peer(), command, timeout=PATIENCE_S, redirect=False)

    async def query(key: Value) -> Answered:
        return await client.query(peer(), key, timeout=PATIENCE_S, redirect=False)

    async for _ in _requests(recorder, name, write, query, shares=(8, 1, 0)):
        pass


class _Requests:
    """Endless until the recorder is over: what became of each request."""


async def session_is_light(session: LightSession) -> PeerId:
    """Who leads, in the eyes of the session."""
    return session.leader
