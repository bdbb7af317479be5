"""The verdict on a run: what the clients saw, what the peers hold, and what the disks have must agree.

1.  Every peer has the same local state, for every key, and it is what a linearizable read says.
2.  An acknowledged write is that state, or was followed by another write of the key. A refused one is nowhere.
3.  The logs on the disks are equal up to the commit index.
4.  The history is linearizable, key by key, and every reply names the index at which the log has its command.

The logs of these nodes are never compacted (`UNCOMPACTED`), so the last two see everything that ever was committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import Final

from tests.stack.campaign.workload import Recorder
from tests.stack.clusters import WAIT_S
from zraft.app.processes import ServerProcess
from zraft.client.caller import each
from zraft.client.client import Client
from zraft.client.views import Answered
from zraft.node.disk import RealDisk
from zraft.sim.checks.ghost import START, Trail, mark_after
from zraft.sim.history import Get, Input, Operation, Put, Swap
from zraft.sim.judging import judge
from zraft.storage.reading import read_batches, wanted_at
from zraft.storage.recovery import survey
from zraft.types import NOT_FOUND, Index, PeerId, Value

UNCOMPACTED: Final = {"ZRAFT_MAX_LOG_COUNT": "1000000000", "ZRAFT_MAX_LOG_BYTES": "1000GiB"}
"""Settings of nodes that are judged: their logs stay whole."""

_AT_ONCE: Final = 64


async def check_run(client: Client, servers: dict[PeerId, ServerProcess], recorder: Recorder) -> None:
    """Every node serves, the clients have ended: judge the run. Stops the nodes. Fails where anything is wrong."""
    peers = list(servers)
    keys = list(dict.fromkeys(operation.key for operation in recorder.operations))
    barrier = await client.write(peers[0], ("barrier", "the end"), timeout=WAIT_S)

    async def ask(_asked: Input, key: Value) -> Answered:
        return await client.query(peers[0], key, timeout=WAIT_S)

    for key in keys:
        assert await recorder.perform("verdict", key, Get(), ask) is None
    truth = {operation.key: operation.output for operation in recorder.operations if operation.client == "verdict"}
    for peer in peers:
        state = await local_state(client, peer, keys, min_index=max(barrier.index, recorder.highest))
        assert state == truth, f"{peer} holds another state than was read: {differences(state, truth)}"
    assert final_state_problem(recorder.operations, truth) == ""
    committed = min([(await client.stat(peer, timeout=WAIT_S)).commit_index for peer in peers])
    assert committed >= barrier.index
    for server in servers.values():
        assert await asyncio.to_thread(server.stop) == 0
    trails = [log_of(server.folder, committed) for server in servers.values()]
    assert all(trail.end == trails[0].end for trail in trails), "the logs on the disks differ"
    assert judge(recorder.operations, trails[0]) == ""


async def local_state(
    client: Client, peer: PeerId, keys: Sequence[Hashable], *, min_index: Index
) -> dict[Hashable, Value]:
    """What the peer itself holds, once it has applied `min_index`; None for a key that does not exist."""
    state: dict[Hashable, Value] = {}
    for at in range(0, len(keys), _AT_ONCE):
        part = keys[at : at + _AT_ONCE]
        values = await each(client.query_local(peer, key, min_index=min_index, timeout=WAIT_S) for key in part)
        state.update(zip(part, (None if value is NOT_FOUND else value for value in values), strict=True))
    return state


def differences(one: dict[Hashable, Value], other: dict[Hashable, Value]) -> dict[Hashable, tuple[Value, Value]]:
    """The keys with different values, and both."""
    return {key: (one[key], other[key]) for key in one if one[key] != other[key]}


def final_state_problem(operations: Iterable[Operation], truth: dict[Hashable, Value]) -> str:
    """Empty, or which acknowledged write is lost, or which refused one took effect, in plain terms of time.

    A write is lost where the key holds neither its value nor that of a write which might have come after it: one that
    was not over when it began.
    """
    writes: dict[Hashable, list[Operation]] = {}
    for operation in operations:
        if not isinstance(operation.input, Get):
            writes.setdefault(operation.key, []).append(operation)
    for key, ours in writes.items():
        value = truth[key]
        for write in ours:
            if write.is_refused and isinstance(write.input, Put | Swap) and write.input.value == value:
                return f"refused, and there at the end: {write}"
        last = [write for write in ours if not write.is_refused and _explains(write, value)]
        for write in ours:
            if write.returned is None or _did_nothing(write):
                continue
            if not any(other.returned is None or other.returned >= write.call for other in last):
                return f"acknowledged and lost, {key} is {value!r}: {write}"
    return ""


def _explains(write: Operation, value: Value) -> bool:
    """After this write, with nothing behind it, the key would be as it is."""
    return not _did_nothing(write) and bool(
        value == (write.input.value if isinstance(write.input, Put | Swap) else None)
    )


def _did_nothing(write: Operation) -> bool:
    """A swap that found another value."""
    return isinstance(write.input, Swap) and write.returned is not None and not write.output


def log_of(folder: Path, upto: Index) -> Trail:
    """The log of the only peer in the folder of a node that does not run, up to an index."""
    disk = RealDisk(folder, _nobody)
    try:
        found = survey(disk)
        (trace,) = found.traces.values()
        assert trace.fault is None
        assert trace.mark.index == 0, "the log was compacted"
        index = trace.index
        wanted = [wanted_at(index, place) for place in range(len(index)) if index.lasts[place] <= upto]
        trail, mark = Trail(), START
        for batch in read_batches(disk, trace.row.meta.incarnation, wanted):
            mark = mark_after(mark, batch)
            trail.append(mark)
    finally:
        disk.close()
    assert trail.end.last == upto, f"{folder} has the log up to {trail.end.last}, and {upto} was committed"
    return trail


def _nobody(_completion: object) -> None:
    """Reports of a disk that is only read."""
