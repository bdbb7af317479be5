"""`zraft.blocking`: the calls of many threads, their errors, and ends of every kind."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

import zraft
from tests.stack.client.scripted import SILENCE, ScriptedNode, always
from zraft import blocking
from zraft.blocking.loops import LoopThread
from zraft.errors import DataDirInUse, PeerUnavailable, Rejected, RequestTimeout, StorageError, UsageError
from zraft.testing import BlockingCluster

WAIT_S = 60.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[BlockingCluster]:
    """Shared; each test has keys of its own."""
    with BlockingCluster(3) as cluster:
        yield cluster


def zraft_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("zraft")]


def wait_until(what: str, is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.01)


def test_every_call_does_what_its_coroutine_does(cluster: BlockingCluster) -> None:
    """Reading, writing, asking about peers, moving leadership, changing and removing groups."""
    client, peers = cluster.client, cluster.peers
    assert client.write(peers[0], ("every", 1)).result == "ok"
    found = client.query(peers[1], "every")
    assert found.result == 1
    assert client.query_local(peers[2], "every", min_index=found.index) == 1
    conf = client.get_conf(peers[0])
    assert conf.leader in conf.peers
    to = next(peer for peer in peers if peer != conf.leader)
    assert client.transfer_leadership(peers[0], to, timeout=WAIT_S) == to
    assert client.stat(to).role == "leader"
    assert client.stat(to, timeout=WAIT_S).id == to
    second = cluster.create("second", on=[0, 1])
    assert client.set_new_conf(second[0], second[:1], second, timeout=WAIT_S) == second[:1]
    client.remove(second[1:], timeout=WAIT_S)
    with pytest.raises(PeerUnavailable):
        client.stat(second[1])


def test_light_sessions_do_too(cluster: BlockingCluster) -> None:
    """Given a list or one peer, alone or as a target."""
    with cluster.client.light_session(cluster.peers) as session:
        assert session.write(("light", 1)) == "ok"
        written = session.write_entry(("light", 2))
        assert session.query_entry("light").index >= written.index
        assert session.write_many([("light", 3), ("light", 4)]) == ["ok", "ok"]
        assert session.query("light") == 4
        answer = cluster.client.write(session, ("light", 5))
        assert (answer.result, answer.target) == ("ok", session)
        assert cluster.client.query(session, "light").target is session
    with blocking.light_session(cluster.peers[0], share=True) as session:
        assert sorted(session.peers) == sorted(cluster.peers)
        assert session.leader in cluster.peers
        assert session.query("light") == 5


def test_the_functions_use_one_client_of_the_process(cluster: BlockingCluster) -> None:
    """Or the one that they are given."""
    peers = cluster.peers
    assert blocking.write(peers[0], ("function", 1)).result == "ok"
    assert blocking.query(peers[0], "function", client=cluster.client).result == 1
    assert blocking.query_local(peers[0], "nothing") is zraft.NOT_FOUND
    assert blocking.stat(peers[0]).id == peers[0]
    leader = blocking.get_conf(peers[0]).leader
    assert blocking.transfer_leadership(peers[0], leader) == leader
    assert blocking.create([f"third@{cluster.addresses[0]}"])
    assert blocking.ensure([f"third@{cluster.addresses[0]}"], timeout=WAIT_S) == [
        zraft.PeerId("third", cluster.addresses[0])
    ]
    with pytest.raises(zraft.MembershipError):
        blocking.remove([f"third@{cluster.addresses[0]}"])
    assert blocking.set_new_conf(peers[0], peers, peers, timeout=WAIT_S) == peers


def test_many_threads_share_a_session(cluster: BlockingCluster) -> None:
    """Nothing is lost or mixed up."""
    with cluster.client.light_session(cluster.peers) as session, ThreadPoolExecutor(16) as pool:

        def write_and_read(number: int) -> object:
            session.write((f"thread-{number}", number))
            return session.query(f"thread-{number}")

        assert list(pool.map(write_and_read, range(300))) == list(range(300))


def test_errors_arrive_as_they_were_raised(cluster: BlockingCluster) -> None:
    """With their class, fields and promise."""
    with pytest.raises(RequestTimeout) as caught:
        cluster.client.write(cluster.peers[0], "x", timeout=0)
    assert caught.value.executed in ("no", "maybe")
    with pytest.raises(UsageError):
        cluster.client.write("no peer", "x")
    with pytest.raises(zraft.RequestError):
        cluster.client.write(cluster.peers[0], "not what this backend takes")
    assert issubclass(Rejected, zraft.RequestError)


def test_a_call_in_the_loops_own_thread_is_refused() -> None:
    """It would wait for itself for ever."""
    loop = LoopThread("zraft test")

    async def inner() -> None:
        loop.run(asyncio.sleep(0))

    async def end() -> None:
        loop.close()

    with pytest.raises(UsageError, match="its own event loop"):
        loop.run(inner())
    with pytest.raises(UsageError):
        loop.run(end())
    loop.close()
    loop.close()
    with pytest.raises(UsageError, match="closed"):
        loop.run(inner())


def test_the_thread_ends_with_its_last_client() -> None:
    """And is started anew for the next."""
    blocking.Client().close()
    before = zraft_threads().count("zraft clients")
    first, second = blocking.Client(), blocking.Client()
    assert zraft_threads().count("zraft clients") == 1
    first.close()
    first.close()
    assert zraft_threads().count("zraft clients") == 1
    second.close()
    assert zraft_threads().count("zraft clients") == before
    with pytest.raises(UsageError, match="closed"):
        second.write("t@127.0.0.1:1", "x")


def test_closing_a_client_ends_the_calls_that_wait() -> None:
    """In other threads, as lost: they may have run."""
    loop = LoopThread("zraft scripted")
    node = ScriptedNode(always(SILENCE))
    loop.run(node.__aenter__())
    with ThreadPoolExecutor(1) as pool:
        client = blocking.Client()
        waiting = pool.submit(client.write, node.peer, "x", timeout=None)
        wait_until("the write came", lambda: bool(node.asked))
        client.close()
        with pytest.raises((zraft.OutcomeUnknown, UsageError)):
            waiting.result(WAIT_S)
    loop.run(node.__aexit__(None, None, None))
    loop.close()


def test_a_stalled_application_does_not_depose_a_leader(tmp_path: Path) -> None:
    """Its event loop stands for many election timeouts; the nodes' do not (§3.4)."""
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(
                blocking.Node(
                    zraft.Config(
                        listen="127.0.0.1:0",
                        log_dir=tmp_path / f"n{number}",
                        snapshot_dir=tmp_path / f"n{number}",
                        election_timeout=1,
                    )
                )
            )
            for number in range(3)
        ]
        peers = blocking.create([f"t@{node.address}" for node in nodes], timeout=WAIT_S)
        leader = blocking.get_conf(peers[0], timeout=WAIT_S).leader
        term = blocking.stat(leader).term

        async def application() -> None:
            threading.Event().wait(3.5)

        asyncio.run(application())
        status = blocking.stat(leader)
        assert (status.role, status.term) == ("leader", term)
        assert [node.peers() for node in nodes] == [[peer] for peer in peers]
        assert nodes[0].status("t").id == peers[0]
        stack.pop_all().close()
        assert [node.peers() for node in nodes] == [[], [], []]


def test_a_blocking_node_says_what_stopped_it(tmp_path: Path) -> None:
    """Whoever waits is told, whoever asks later too; a node is started once."""

    def config(folder: str) -> zraft.Config:
        return zraft.Config(listen="127.0.0.1:0", log_dir=tmp_path / folder, snapshot_dir=tmp_path / folder)

    node = blocking.Node(config("a"))
    with pytest.raises(UsageError):
        node.wait_closed()
    node.start()
    with pytest.raises(UsageError):
        node.start()
    other = blocking.Node(config("a"))
    with pytest.raises(DataDirInUse):
        other.start()
    with pytest.raises(UsageError):
        other.start()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(node.wait_closed)

        async def fail() -> None:
            node._node._begin_stop(StorageError("the disk is gone"))

        loop = node._loop
        assert loop is not None
        loop.run(fail())
        with pytest.raises(StorageError, match="the disk is gone"):
            waiting.result(WAIT_S)
    for ask in (node.wait_closed, node.stop, node.stop, node.wait_closed):
        with pytest.raises(StorageError, match="the disk is gone"):
            ask()
    assert not [name for name in zraft_threads() if name.startswith("zraft node 127.0.0.1:0")]


def test_a_blocking_node_tells_what_becomes_of_its_peers(tmp_path: Path) -> None:
    """Its events, from the present on to the end; a peer is stopped, started and removed."""
    node = blocking.Node(zraft.Config(listen="127.0.0.1:0", log_dir=tmp_path, snapshot_dir=tmp_path))
    with pytest.raises(UsageError, match="does not run"):
        node.wait_role("t", "leader", timeout=1)
    with node, ThreadPoolExecutor(1) as pool:
        roles = pool.submit(lambda events: [event.role for event in events], node.events())
        blocking.create([f"t@{node.address}"])
        node.wait_role("t", "leader", timeout=WAIT_S)
        node.stop_peer("t")
        node.start_peer("t")
        node.wait_role("t", "leader", timeout=WAIT_S)
        with pytest.raises(zraft.MembershipError):
            node.remove_peer("t")
        node.stop()
        assert "leader" in roles.result(WAIT_S)


def test_a_node_that_was_stopped_has_ended_well(tmp_path: Path) -> None:
    """Twice if need be."""
    with blocking.Node(zraft.Config(listen="127.0.0.1:0", log_dir=tmp_path, snapshot_dir=tmp_path)) as node:
        assert node.address.startswith("127.0.0.1:")
    node.stop()
    node.wait_closed()
    with pytest.raises(UsageError):
        node.start()


PROGRAM = """
import os, signal, sys, threading, time
import zraft
from zraft import blocking

node = blocking.Node(zraft.Config(listen="127.0.0.1:0", log_dir=sys.argv[1], snapshot_dir=sys.argv[1]))
node.start()
(peer,) = blocking.create([f"t@{node.address}"])
client = blocking.Client()
session = client.light_session([peer])
session.write(("a", 1))
"""
FORK = """
child = os.fork()
if child == 0:
    assert blocking.query(peer, "a").result == 1
    try:
        session.write(("a", 2))
    except zraft.UsageError as error:
        print("refused:", error, flush=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert session.query("a") == 1
"""
CTRL_C = """
async def never():
    print("waiting", flush=True)
    import asyncio
    await asyncio.Event().wait()

try:
    client._loop.run(never())
except KeyboardInterrupt:
    print("interrupted", session.query("a"))
"""


def start(program: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program, str(folder / "data")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_what_is_open_when_the_interpreter_exits_is_closed(tmp_path: Path) -> None:
    """Node, client and session: the process ends at once, with nothing to say."""
    with start(PROGRAM + "print('done')", tmp_path) as program:
        assert program.communicate(timeout=WAIT_S) == ("done\n", "")
    assert program.returncode == 0


def test_a_forked_child_has_clients_of_its_own(tmp_path: Path) -> None:
    """What it inherited has no thread there, and says so instead of waiting for ever."""
    with start(PROGRAM + FORK, tmp_path) as program:
        out, err = program.communicate(timeout=WAIT_S)
    assert (out.split(":")[0], program.returncode) == ("refused", 0), err


def test_ctrl_c_ends_a_wait_and_nothing_else(tmp_path: Path) -> None:
    """The call is abandoned, the client goes on."""
    with start(PROGRAM + CTRL_C, tmp_path) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "waiting\n"
        program.send_signal(signal.SIGINT)
        assert program.communicate(timeout=WAIT_S) == ("interrupted 1\n", "")
    assert program.returncode == 0
