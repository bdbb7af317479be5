"""Writers that remember what was acknowledged to them, and the search for it afterwards.

Every key is written once, so what has to be there in the end is simple to say: all that was acknowledged; what was
refused is not there; what nobody told the outcome of may be there or not.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from zraft.client.caller import each
from zraft.client.client import Client
from zraft.errors import RequestError, ZraftError
from zraft.types import NOT_FOUND, Index, PeerId

_CHECKS_AT_ONCE: Final = 256
_PAUSE_S: Final = 0.02
"""Before a refused write is tried elsewhere."""


class WriteLost(ZraftError):
    """A peer does not hold what was acknowledged, or holds what was refused."""


@dataclass(slots=True)
class Ledger:
    """What became of every write, by key."""

    acknowledged: dict[str, int] = field(default_factory=dict)
    unknown: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    """Attempts that promised to have had no effect, and were not repeated."""
    latencies: list[float] = field(default_factory=list)
    """Of the acknowledged ones, in seconds."""
    reads: int = 0
    highest: Index = 0
    """The index of the newest acknowledged write."""
    leader: PeerId | None = None
    """Who acknowledged last."""
    leader_at: float = 0.0
    """When, by `time.perf_counter`."""
    is_over: bool = False
    """Set to end the writers."""


async def write_keys(
    client: Client, peers: Sequence[PeerId], ledger: Ledger, writer: str, *, patience_s: float = 5.0
) -> None:
    """One write after the other, each of a key of its own, until the ledger is over.

    A write that promises not to have run is repeated once at another peer, under the same key.
    """
    targets = itertools.cycle(peers)
    target = next(targets)
    for number in itertools.count():
        key = f"{writer}-{number}"
        for _ in range(2 * len(peers)):
            began = time.perf_counter()
            try:
                answer = await client.write(target, (key, number), timeout=patience_s)
            except RequestError as error:
                target = next(targets)
                if error.executed != "no":
                    ledger.unknown[key] = number
                    break
                if ledger.is_over:
                    break
                await asyncio.sleep(_PAUSE_S)
                continue
            now = time.perf_counter()
            target = answer.target
            ledger.acknowledged[key] = number
            ledger.latencies.append(now - began)
            ledger.highest = max(ledger.highest, answer.index)
            ledger.leader, ledger.leader_at = target, now
            break
        if key not in ledger.acknowledged and key not in ledger.unknown:
            ledger.refused[key] = number
        if ledger.is_over:
            return


async def check_peer(client: Client, peer: PeerId, ledger: Ledger, *, patience_s: float = 60.0) -> int:
    """How many writes of unknown outcome the peer holds, once it has applied all that was acknowledged.

    Raises `WriteLost` where it lacks an acknowledged write or holds a refused one.
    """
    keys = [*ledger.acknowledged, *ledger.unknown, *ledger.refused]
    found = 0
    for at in range(0, len(keys), _CHECKS_AT_ONCE):
        part = keys[at : at + _CHECKS_AT_ONCE]
        values = await each(client.query_local(peer, key, min_index=ledger.highest, timeout=patience_s) for key in part)
        for key, value in zip(part, values, strict=True):
            if key in ledger.acknowledged and value != ledger.acknowledged[key]:
                raise WriteLost(f"{peer} has lost an acknowledged write: {key} is {value!r}")
            if key in ledger.refused and value is not NOT_FOUND:
                raise WriteLost(f"{peer} holds a write that was said not to have run: {key} is {value!r}")
            found += key in ledger.unknown and value is not NOT_FOUND
    return found
