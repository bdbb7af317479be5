"""`create` and `ensure`: what stands in the way is named, what was half made is no obstacle, races end well."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import zraft
from tests.stack.contract.conftest import Nodes
from zraft.testing import LocalCluster

WAIT_S = 60.0


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(3 * WAIT_S):
            await story()

    asyncio.run(bounded())


def role_of(nodes: Nodes, peer: zraft.PeerId) -> str:
    """ "" where there is no such peer."""
    try:
        return nodes.client.stat(peer).role
    except zraft.PeerUnavailable:
        return ""


async def problems_of(call: Coroutine[Any, Any, object]) -> set[str]:
    """What was wrong with peers; empty where it went well."""
    try:
        await call
    except zraft.CreateError as error:
        return set(error.errors.values())
    return set()


def test_a_group_is_made_in_the_given_order(nodes: Nodes) -> None:
    """Peers or their texts; when it returns the group takes writes."""
    names = nodes.names()[::-1]
    assert nodes.client.create(list(map(str, names)), timeout=WAIT_S) == names
    assert nodes.client.write(names[2], ("k", 1)).target == names[0]
    assert sorted(nodes.client.get_conf(names[1]).peers) == sorted(names)


def test_peers_of_one_node_may_be_of_different_groups_or_of_one(nodes: Nodes) -> None:
    """Nothing is shared but the node."""
    one, two = nodes.names()[0], nodes.names()[0]
    assert nodes.client.create([one, two], timeout=WAIT_S) == [one, two]
    other = nodes.names()[0]
    nodes.client.create([other])
    nodes.client.write(two, ("k", "of one"))
    assert nodes.client.query(other, "k").result is zraft.NOT_FOUND


def test_every_peer_in_the_way_is_named_with_the_reason(nodes: Nodes, dead: str) -> None:
    """And nothing of the attempt is left on the other nodes: the names are free."""
    taken, *_ = nodes.group()
    fresh = nodes.names()
    down = zraft.PeerId("down", dead)
    with pytest.raises(zraft.CreateError) as refused:
        nodes.client.create([fresh[1], taken, down])
    assert refused.value.errors == {taken: "already_present", down: "node_down"}
    with pytest.raises(zraft.CreateError) as refused:
        nodes.client.create(fresh, "no such backend")
    assert refused.value.errors == dict.fromkeys(fresh, "unknown_backend")
    assert [role_of(nodes, peer) for peer in fresh] == ["", "", ""]
    assert nodes.client.create(fresh, timeout=WAIT_S) == fresh
    assert role_of(nodes, taken) == "leader"


@pytest.mark.parametrize("wrong", [[], ["a@h:1", "a@h:1"], "a@h:1", ["nonsense"], [None]])
def test_what_is_no_list_of_peers_is_the_callers_mistake(nodes: Nodes, wrong: Any) -> None:
    """For each function that takes one."""
    for call in (nodes.client.create, nodes.client.ensure, nodes.client.remove):
        with pytest.raises(zraft.UsageError):
            call(wrong)


def test_a_create_that_was_cut_off_is_made_good_by_the_next(nodes: Nodes) -> None:
    """Wherever its client was stopped: blank peers never count as present, a founder waits for its others."""

    problems: set[str] = set()

    async def cut_off(names: list[zraft.PeerId], seconds: float) -> None:
        async with zraft.Client() as client:
            task = asyncio.create_task(client.create(names))
            await asyncio.sleep(seconds)
            task.cancel()
            await asyncio.wait([task])

    async def again(names: list[zraft.PeerId]) -> None:
        """Its last request may have gone on after the client was gone, and done all that was left."""
        nonlocal problems
        async with zraft.Client() as client:
            while True:
                problems |= await problems_of(client.create(names, timeout=WAIT_S))
                try:
                    conf = await client.get_conf(names[0], timeout=WAIT_S)
                except zraft.PeerUnavailable:
                    continue  # what stood in the way was blank, and is gone again
                if sorted(conf.peers) == sorted(names):
                    return

    async def story() -> None:
        groups = [nodes.names() for _ in range(12)]
        for number, names in enumerate(groups):
            await cut_off(names, number * 0.002)
        async with asyncio.TaskGroup() as tasks:
            for names in groups:
                tasks.create_task(again(names))
        assert problems <= {"already_present"}

    run(story)


def test_of_creates_at_once_at_most_one_makes_the_group(nodes: Nodes) -> None:
    """The others are told that it is present; where they stood in each other's way, nothing is left."""

    async def story() -> None:
        names = nodes.names()

        async with asyncio.TaskGroup() as tasks:
            orders = (names, names[::-1], names[1:] + names[:1])
            running = [tasks.create_task(problems_of(zraft.create(order, timeout=WAIT_S))) for order in orders]
        results = [task.result() for task in running]
        assert set().union(*results) <= {"already_present"}
        made = results.count(set())
        assert made <= 1
        if made:
            assert sorted((await zraft.get_conf(names[0])).peers) == sorted(names)
        else:
            assert await zraft.create(names, timeout=WAIT_S) == names

    run(story)


def test_ensure_may_be_said_by_anybody_at_any_time(nodes: Nodes) -> None:
    """Three callers at once in different orders, then again: one group, each gets its own order."""

    async def story() -> None:
        names = nodes.names()
        orders = [names, names[::-1], names[1:] + names[:1]]
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(zraft.ensure(list(map(str, order)))) for order in orders]
        assert [task.result() for task in running] == orders
        conf = await zraft.get_conf(names[0])
        assert sorted(conf.peers) == sorted(names)
        await zraft.write(names[0], ("k", "v"))
        assert await zraft.ensure(names) == names
        assert (await zraft.query(names[1], "k")).result == "v"
        assert (await zraft.get_conf(names[0])).index == conf.index

    run(story)


def test_ensure_leaves_a_group_alone_that_exists(nodes: Nodes) -> None:
    """Also one that has other members by now; another backend, or two groups, are told at once."""
    client, names = nodes.client, nodes.names()
    client.create(names[:2])
    client.set_new_conf(names[0], names[:1], names[:2], timeout=WAIT_S)
    index = client.get_conf(names[0]).index
    assert client.ensure(names[:2]) == names[:2]
    assert client.get_conf(names[0]).index == index
    with pytest.raises(zraft.BackendMismatch):
        client.ensure(names[:1], "counter")
    other, *_ = nodes.group()
    with pytest.raises(zraft.CreateError) as refused:
        client.ensure([names[0], other])
    assert refused.value.errors == dict.fromkeys([names[0], other], "already_present")
    with pytest.raises(zraft.CreateError) as refused:
        client.ensure([names[2]], "no such backend")
    assert refused.value.errors == {names[2]: "unknown_backend"}


def test_ensure_says_whom_it_waits_for(nodes: Nodes, dead: str) -> None:
    """Until the time is up, and nothing was begun. Who is there is not called missing."""
    names = nodes.names()
    with pytest.raises(zraft.RequestTimeout) as late:
        nodes.client.ensure([*names[:2], f"p@{dead}"], timeout=2)
    assert str(late.value).endswith(f": missing p@{dead}")
    assert late.value.executed == "no"
    assert [role_of(nodes, peer) for peer in names] == ["", "", ""]


def test_ensure_waits_for_nodes_to_come_up() -> None:
    """They are said to exist before any of them runs."""

    async def story() -> None:
        async with LocalCluster(3, group=None) as cluster:
            names = [zraft.PeerId("late", address) for address in cluster.addresses]
            for number in range(3):
                await cluster.stop(number)
            waiting = [asyncio.create_task(zraft.ensure(order, timeout=WAIT_S)) for order in (names, names[::-1])]
            for number in range(3):
                await asyncio.sleep(0)
                assert not any(task.done() for task in waiting)
                await cluster.start(number)
            assert [await task for task in waiting] == [names, names[::-1]]
            assert (await zraft.write(names[1], ("k", 1), timeout=WAIT_S)).result == "ok"

    run(story)


def test_a_group_is_made_without_waiting_for_any_timeout() -> None:
    """Nodes that never met: an election, learners that catch up, and no message that has to be sent again."""

    async def story() -> None:
        async with LocalCluster(3, group=None, election_timeout=60) as cluster:
            names = [zraft.PeerId("first", address) for address in cluster.addresses]
            async with asyncio.timeout(11):  # less than one heartbeat
                assert await zraft.create(names, timeout=None) == names
                assert (await zraft.write(names[0], ("k", 1))).result == "ok"

    run(story)
