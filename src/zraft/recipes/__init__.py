"""What programs build on sessions: locks, elections, queues and their like. For groups of the backend "table".

async with zraft.recipes.Lock(session, "nightly job") as token: ...

    access         how recipes reach the table, and how they wait for it
    holding        what is had by one at a time, until it is given back or lost
    turns          queues of temporary entries: first come, first served, and the end of one wakes one
    lock           `Lock`; `RWLock` with `ReadLock` and `WriteLock`
    election       `Election`
    semaphore      `Semaphore`
    barrier        `Barrier`
    double_barrier `DoubleBarrier`
    counter        `Counter`
    queue          `Queue`
    party          `Party`
    cache          `Cache`

Names and behaviour are those that users of kazoo know, but for timeouts: they raise `RequestTimeout`. Each recipe keeps
its entries under ("zraft.<recipe>", name, ...). Those of who waits, holds or takes part are temporary: whoever is lost
leaves with its session. Who gives up waiting, by a timeout or a cancellation, leaves nothing behind.

**A lock is only as good as what it guards.** Whoever was held up may believe that it has a lock which its session has
lost. So each turn has a *token*, an index of the log, higher than those of all earlier turns: what is guarded refuses
lower ones than it has seen. In the same group a transaction checks `Lock.held` and acts in one step. `wait_lost` says
when it is lost, and on demand when that is in doubt.
"""

from __future__ import annotations

from zraft.recipes.barrier import Barrier
from zraft.recipes.cache import Cache
from zraft.recipes.counter import Counter
from zraft.recipes.double_barrier import DoubleBarrier
from zraft.recipes.election import Election
from zraft.recipes.lock import Lock, ReadLock, RWLock, WriteLock
from zraft.recipes.party import Party
from zraft.recipes.queue import Queue
from zraft.recipes.semaphore import Semaphore

__all__ = [
    "Barrier",
    "Cache",
    "Counter",
    "DoubleBarrier",
    "Election",
    "Lock",
    "Party",
    "Queue",
    "RWLock",
    "ReadLock",
    "Semaphore",
    "WriteLock",
]
