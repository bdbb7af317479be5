"""Clients that write down what they saw: the raw material of a verdict.

Every put has a value of its own. A few keys are in use at any moment, so that clients meet on them, and each is given
up after some dozens of operations, so that a search over one key stays short. Moments are numbers that one process
hands out in the order of its events: the clock of all clients.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

from tests.stack.clusters import wait_until
from zraft.client.client import Client
from zraft.client.light_session import LightSession
from zraft.client.views import Answered
from zraft.errors import RequestError
from zraft.sim.history import Get, Input, Operation, Put, Remove, Swap
from zraft.sim.speech import SPEECHES
from zraft.types import Index, PeerId, Value

KEYS_AT_ONCE: Final = 3
OPERATIONS_A_KEY: Final = 60
PATIENCE_S: Final = 3.0
HASTE_S: Final = 0.2
PAUSE_S: Final = 0.004
"""Between the requests of one client: the machine is to be busy with faults, not with load."""
REFUSED_PAUSE_S: Final = 0.02
"""After a request that was not answered."""

Ask: TypeAlias = Callable[[Input, Value], Awaitable[Answered]]
"""Makes one request of the client library; raises what it raises."""


class Recorder:
    """What every client saw, and whether they may go on."""

    def __init__(self, backend: str = "dict", *, pause_s: float = PAUSE_S) -> None:
        self.backend, self.speech = backend, SPEECHES[backend]
        self.pause_s = pause_s
        self.operations: list[Operation] = []
        self.is_over = False
        self.acknowledged = 0
        """Writes."""
        self.direct_reads = 0
        """Reads that were answered by the peer that was asked, without the client looking elsewhere."""
        self.highest: Index = 0
        """The newest index that any answer named."""
        self.leader: PeerId | None = None
        """Who acknowledged the last write whose client knows it."""
        self.written: Hashable = None
        """The key of the last acknowledged write."""
        self.seen: dict[Hashable, Hashable] = {}
        """The value that each key had when a client last saw it."""
        self._moments = itertools.count(1)
        self._drawn = 0

    def draw_key(self, chance: random.Random) -> str:
        """One of those in use now."""
        self._drawn += 1
        return f"k{self._drawn // OPERATIONS_A_KEY + chance.randrange(KEYS_AT_ONCE)}"

    async def perform(self, client: str, key: Hashable, asked: Input, ask: Ask) -> RequestError | None:
        """Asks, and keeps what came of it. The error is returned, unless it says what cannot be."""
        call = self.next_moment()
        try:
            answer = await ask(asked, self.speech.request(str(key), asked))
        except RequestError as error:
            if error.executed == "yes":
                raise
            is_refused = error.executed == "no"
            self.operations.append(
                Operation(client=client, key=key, call=call, returned=None, input=asked, is_refused=is_refused)
            )
            return error
        output = self.speech.output(asked, answer.result)
        self.operations.append(
            Operation(
                client=client,
                key=key,
                call=call,
                returned=self.next_moment(),
                input=asked,
                output=output,
                index=answer.index,
            )
        )
        self.highest = max(self.highest, answer.index)
        if isinstance(asked, Get):
            self.seen[key] = output
        elif isinstance(asked, Put) or (isinstance(asked, Swap) and output):
            self.seen[key] = asked.value
        if not isinstance(asked, Get):
            self.acknowledged += 1
            self.written = key
            self.leader = answer.target.leader if isinstance(answer.target, LightSession) else answer.target
        return None

    def next_moment(self) -> int:
        """The number of what happens now."""
        return next(self._moments)

    async def wait_writes(self, count: int) -> None:
        """Returns after so many further acknowledged writes."""
        goal = self.acknowledged + count
        await wait_until(f"{count} writes", lambda: self.acknowledged >= goal)

    async def wait_other_leader(self, lost: PeerId) -> PeerId:
        """Another peer acknowledges writes; that peer."""
        await wait_until(f"another than {lost} leads", lambda: self.leader is not None and self.leader != lost)
        assert self.leader is not None
        return self.leader


async def _requests(recorder: Recorder, name: str, ask: Ask, *, writes: float = 0.6, follows: float = 0.0) -> None:
    """One request after the other until the recorder is over; one write in six removes, or some swap.

    `follows` is how many of the reads are of the key that was written last, by anybody.
    """
    chance = random.Random(name)
    for number in itertools.count():
        if recorder.is_over:
            return
        key: Hashable = recorder.draw_key(chance)
        asked: Input = Get()
        if chance.random() < writes:
            asked = Remove() if chance.randrange(6) == 0 else Put(f"{name}-{number}")
            if recorder.speech.swaps and chance.randrange(100) < recorder.speech.swaps:
                asked = Swap(recorder.seen.get(key), f"{name}-{number}")
        elif chance.random() < follows:
            key = key if recorder.written is None else recorder.written
        error = await recorder.perform(name, key, asked, ask)
        await asyncio.sleep(recorder.pause_s if error is None else max(recorder.pause_s, REFUSED_PAUSE_S))


async def plain_client(
    client: Client,
    peers: Sequence[PeerId],
    recorder: Recorder,
    name: str,
    *,
    avoid: Callable[[], PeerId | None] = lambda: None,
    patience_s: float = PATIENCE_S,
) -> None:
    """Each request goes to a peer that is asked in turn, which may name the leader; not to whom `avoid` says."""
    targets = itertools.cycle(peers)

    async def ask(asked: Input, request: Value) -> Answered:
        call = client.query if isinstance(asked, Get) else client.write
        target = next(targets)
        if target == avoid():
            target = next(targets)
        return await call(target, request, timeout=patience_s)

    await _requests(recorder, name, ask)


async def light_client(client: Client, peers: Sequence[PeerId], recorder: Recorder, name: str) -> None:
    """All through one light session, which looks for the leader itself."""
    async with client.light_session(peers, fail_timeout=0.2, election_timeout=0.2) as session:

        async def ask(asked: Input, request: Value) -> Answered:
            call = client.query if isinstance(asked, Get) else client.write
            return await call(session, request, timeout=PATIENCE_S)

        await _requests(recorder, name, ask)


async def direct_client(
    client: Client,
    whom: Callable[[], PeerId],
    recorder: Recorder,
    name: str,
    *,
    writes: float,
    patience_s: float = PATIENCE_S,
) -> None:
    """Asks the peer that `whom` names, and no other, whatever it answers; reads mostly what was written last."""

    async def ask(asked: Input, request: Value) -> Answered:
        call = client.query if isinstance(asked, Get) else client.write
        answer = await call(whom(), request, timeout=patience_s, redirect=False)
        recorder.direct_reads += isinstance(asked, Get)
        return answer

    await _requests(recorder, name, ask, writes=writes, follows=0.7)


@asynccontextmanager
async def clients(
    client: Client, peers: Sequence[PeerId], recorder: Recorder, *, whom: Callable[[], PeerId] | None = None
) -> AsyncIterator[None]:
    """Clients of every kind at work, until the end of the block.

    With `whom` also some that ask only that peer, and some that ask the others and lose patience soon.
    """
    async with asyncio.TaskGroup() as tasks:
        for number in range(3):
            tasks.create_task(plain_client(client, peers, recorder, f"plain{number}"))
            tasks.create_task(light_client(client, peers, recorder, f"light{number}"))
            if whom is not None:
                writes = 0.0 if number else 0.1  # a write at a leader that nobody hears takes all of the client's time
                tasks.create_task(direct_client(client, whom, recorder, f"direct{number}", writes=writes))
                name = f"hasty{number}"
                tasks.create_task(plain_client(client, peers, recorder, name, avoid=whom, patience_s=HASTE_S))
        try:
            yield
        finally:
            recorder.is_over = True
