"""The verdict on a round: what clients saw, what the replicas hold, what the disks have, and what the logs say.

1.  Every replica has the same state, for every key, and it is what a linearizable read says.
2.  Every acknowledged write is that state, or was followed by another of its key; a refused one is nowhere.
3.  The history is linearizable, key by key.
4.  Where logs were never compacted: they are equal up to the commit index, and every reply names the index at which the
    log has its command.
5.  Every server ends well when it is told to, has recorded no broken invariant and no exception that nobody expected.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from pathlib import Path
from typing import Final

from tests.stack.campaign.verdict import differences, final_state_problem, log_of
from tests.stack.campaign.workload import Recorder
from tests.stack.chaos.nodes import Node
from tests.stack.clusters import WAIT_S
from zraft.client.caller import each
from zraft.client.client import Client
from zraft.client.views import Answered
from zraft.sim.checks.ghost import Violation
from zraft.sim.history import Get, Input, Register
from zraft.sim.judging import BUDGET, judge
from zraft.sim.linearizability import Answer, check_history
from zraft.types import Index, PeerId, Value

UNEXPECTED: Final = (
    "Traceback",
    "InvariantViolation",
    "invariant is broken",
    "holds another state",
    "Exception ignored",
)
"""What no log may have."""
_AT_ONCE: Final = 64


async def check_round(client: Client, nodes: list[Node], recorder: Recorder, folder: Path, *, is_whole: bool) -> str:
    """Every node serves, the clients have ended. Stops the nodes. Empty, or why the history could not be judged.

    `is_whole`: the logs were never compacted. Raises Violation, or AssertionError, where anything is wrong.
    """
    peers = [node.peer for node in nodes]
    keys = list(dict.fromkeys(operation.key for operation in recorder.operations))

    async def ask(_asked: Input, request: Value) -> Answered:
        return await client.query(peers[0], request, timeout=WAIT_S)

    for key in keys:
        error = await recorder.perform("verdict", key, Get(), ask)
        if error is not None:
            raise Violation("verdict", f"{key} cannot be read at the end: {error}")
    truth = {operation.key: operation.output for operation in recorder.operations if operation.client == "verdict"}
    for peer in peers:
        state = await _local_state(client, peer, keys, recorder)
        if state != truth:
            raise Violation("replicas", f"{peer} holds another state than was read: {differences(state, truth)}")
    problem = final_state_problem(recorder.operations, truth)
    if problem:
        raise Violation("final state", problem)
    committed = min([(await client.stat(peer, timeout=WAIT_S)).commit_index for peer in peers])
    for node in nodes:
        status = await asyncio.to_thread(node.server.stop)
        if status:
            raise Violation("end", f"{node.peer.node} ended with status {status}: {node.server.last_line()}")
    _check_logs(folder, nodes)
    return await asyncio.to_thread(_judge, nodes, recorder, committed, is_whole=is_whole)


def _judge(nodes: list[Node], recorder: Recorder, committed: Index, *, is_whole: bool) -> str:
    if not is_whole:
        verdict = check_history(recorder.operations, Register(), budget=BUDGET)
        if verdict.answer is Answer.BAD:
            raise Violation("linearizability", verdict.explanation)
        return verdict.explanation
    trails = [log_of(node.folder, committed) for node in nodes]
    if any(trail.end != trails[0].end for trail in trails):
        raise Violation("logs", f"the logs on the disks differ: {[str(trail.end) for trail in trails]}")
    return judge(recorder.operations, trails[0], recorder.backend)


def _check_logs(folder: Path, nodes: list[Node]) -> None:
    for path in sorted(folder.glob("*.log")):
        text = path.read_text(errors="replace")
        for word in UNEXPECTED:
            if word in text:
                line = next(line for line in text.splitlines() if word in line)
                raise Violation("logs", f"{path.name}: {line}")
    for node in nodes:
        recordings = sorted(node.folder.glob("*.recording"))
        if recordings:
            raise Violation("recordings", f"{node.peer.node} has left {recordings[0].name}")


async def _local_state(client: Client, peer: PeerId, keys: list[Hashable], recorder: Recorder) -> dict[Hashable, Value]:
    """What the peer itself holds, once it has applied everything that any answer named."""

    async def one(key: Hashable) -> Value:
        query = recorder.speech.request(str(key), Get())
        value = await client.query_local(peer, query, min_index=recorder.highest, timeout=WAIT_S)
        return recorder.speech.output(Get(), value)

    state: dict[Hashable, Value] = {}
    for at in range(0, len(keys), _AT_ONCE):
        part = keys[at : at + _AT_ONCE]
        state.update(zip(part, await each(one(key) for key in part), strict=True))
    return state
