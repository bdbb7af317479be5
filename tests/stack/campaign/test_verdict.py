"""The verdict finds what it is there to find: a judge that never says no is none."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from tests.stack.campaign.verdict import UNCOMPACTED, check_run, final_state_problem, log_of
from tests.stack.campaign.workload import Recorder, clients
from tests.stack.clusters import run
from tests.stack.conftest import MakeCluster
from zraft.client.client import Client
from zraft.sim.checks.ghost import Violation
from zraft.sim.history import Get, Operation, Put, Remove
from zraft.sim.judging import judge

pytestmark = pytest.mark.uncounted


def with_stale_read(history: Sequence[Operation]) -> list[Operation]:
    """A read that returns what the first write of its key stored, long after others were acknowledged."""
    firsts: dict[object, object] = {}
    for one in history:
        if isinstance(one.input, Put) and one.returned is not None:
            firsts.setdefault(one.key, one.input.value)
    stale = max(
        place
        for place, one in enumerate(history)
        if isinstance(one.input, Get) and one.returned is not None and firsts.get(one.key, one.output) != one.output
    )
    tampered = msgspec.structs.replace(history[stale], output=firsts[history[stale].key])
    return [*history[:stale], tampered, *history[stale + 1 :]]


def with_lost_write(history: Sequence[Operation]) -> list[Operation]:
    """A write that was acknowledged, and of which the log knows nothing."""
    end = history[-1]
    lost = msgspec.structs.replace(end, call=end.call + 10, returned=end.call + 11, input=Put("lost"), output="ok")
    return [*history, lost]


def with_refused_write(history: Sequence[Operation]) -> list[Operation]:
    """A write that took effect although its client was told that it had not and never would."""
    place, told = next((at, one) for at, one in enumerate(history) if isinstance(one.input, Put) and one.returned)
    return [*history[:place], msgspec.structs.replace(told, returned=None, is_refused=True), *history[place + 1 :]]


def test_judge_refutes_histories_that_were_tampered_with(make_cluster: MakeCluster) -> None:
    """A stale read, an acknowledged write that is lost, a refused one that took effect, in a history that was sound."""
    cluster = make_cluster(1, environment=UNCOMPACTED)
    recorder = Recorder()

    async def story(client: Client) -> None:
        await client.ensure(cluster.peers, timeout=60)
        async with clients(client, cluster.peers, recorder):
            await recorder.wait_writes(200)
        await check_run(client, cluster.servers, recorder)

    run(story)
    history, (server,) = recorder.operations, cluster.servers.values()
    log = log_of(server.folder, recorder.highest)
    assert judge(history, log) == ""
    for tampered in (with_stale_read(history), with_lost_write(history)):
        with pytest.raises(Violation):
            judge(tampered, log)
    with pytest.raises(Violation, match="refused"):
        judge(with_refused_write(history), log)


def operation(call: int, returned: int | None, asked: Put | Remove, *, is_refused: bool = False) -> Operation:
    """One write of the key "k"."""
    return Operation(client="c", key="k", call=call, returned=returned, input=asked, is_refused=is_refused)


def test_final_state_must_be_explained_by_a_write_that_may_have_been_the_last() -> None:
    """In terms of time alone, without the log."""
    first, second = operation(1, 2, Put("a")), operation(3, 4, Put("b"))
    assert final_state_problem([first, second], {"k": "b"}) == ""
    assert "acknowledged and lost" in final_state_problem([first, second], {"k": "a"})
    assert "acknowledged and lost" in final_state_problem([first], {"k": None})
    assert final_state_problem([first, operation(1, 5, Put("b"))], {"k": "a"}) == ""
    assert final_state_problem([first, operation(3, None, Remove())], {"k": None}) == ""
    assert "refused" in final_state_problem([operation(1, None, Put("a"), is_refused=True)], {"k": "a"})
