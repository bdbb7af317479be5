"""Clients that read and write a few shared keys, and the search for one order that explains all they saw.

Every value is written once, so a read names the write that it saw. Clients pause between requests: what is searched
afterwards stays small enough to be searched to its end.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from zraft.client.client import Client
from zraft.errors import RequestError, ZraftError
from zraft.sim.history import Get, Operation, Put, Register
from zraft.sim.linearizability import Answer, check_history
from zraft.types import NOT_FOUND, PeerId

KEYS: Final = 8
_PAUSE_S: Final = 0.005
_BUDGET: Final = 200_000


class NotLinearizable(ZraftError):
    """No order of the operations explains what clients saw."""


@dataclass(slots=True)
class Observed:
    """What the clients did and saw."""

    operations: list[Operation] = field(default_factory=list)
    is_over: bool = False
    """Set to end them."""

    @property
    def reads(self) -> int:
        """Those that were answered."""
        return sum(isinstance(operation.input, Get) for operation in self.operations)


async def use_registers(
    client: Client, peers: Sequence[PeerId], observed: Observed, name: str, *, patience_s: float
) -> None:
    """Read and write shared keys in turn, until it is over. A read that fails says nothing; a write may have run."""
    targets = itertools.cycle(peers)
    target = next(targets)
    for number in itertools.count():
        if observed.is_over:
            return
        key, value = f"shared-{(number // 2) % KEYS}", f"{name}-{number}"
        asked = Get() if number % 2 else Put(value)
        call, returned, output, is_refused = time.perf_counter_ns(), None, None, False
        try:
            if isinstance(asked, Put):
                output, target = await client.write(target, (key, value), timeout=patience_s)
            else:
                output, target = await client.query(target, key, timeout=patience_s)
            returned = time.perf_counter_ns()
        except RequestError as error:
            is_refused = error.executed == "no"
            target = next(targets)
        if returned is not None or isinstance(asked, Put):
            observed.operations.append(
                Operation(
                    client=name,
                    key=key,
                    call=call,
                    returned=returned,
                    input=asked,
                    output=output,
                    is_refused=is_refused,
                )
            )
        await asyncio.sleep(_PAUSE_S)


def judge(observed: Observed) -> None:
    """Raises `NotLinearizable` where there is no such order, or where none was found within bounds."""
    verdict = check_history(observed.operations, Register(missing=NOT_FOUND), budget=_BUDGET)
    if verdict.answer is not Answer.OK:
        raise NotLinearizable(verdict.explanation)
