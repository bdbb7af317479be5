"""`zraft.blocking.Session`: the same without `async`, from many threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import zraft
from zraft import blocking
from zraft.errors import ConnectionTimeout, SessionClosed, SessionExpired
from zraft.testing import BlockingCluster
from zraft.types import NOT_FOUND

LONG = 20.0
WAIT_S = 60.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[BlockingCluster]:
    """Shared; each test has keys of its own."""
    with BlockingCluster(3) as cluster:
        yield cluster


def test_every_call_does_what_its_coroutine_does(cluster: BlockingCluster) -> None:
    """From the start to the end, and after it."""
    with cluster.client.start_session(cluster.peers, LONG) as session:
        assert session.state == "connected"
        assert (session.id > 0, len(session.token), session.expires_at > 0) == (True, 16, True)
        assert session.write(("every", 1), temporary=True) == "ok"
        written = session.write_entry(("lasting", 1))
        assert session.query_entry("every").index >= written.index
        assert session.query("every", watch="w") == 1
        session.write(("every", 2), temporary=True)
        assert session.wait_trigger("w", timeout=WAIT_S) == zraft.WatchTrigger("w", "change")
        assert session.query("every", watch="again") == 2
        session.write(("every", 3), temporary=True)
        assert next(session.triggers()) == zraft.WatchTrigger("again", "change")
    assert session.state == "closed"
    assert cluster.client.query(cluster.peers[0], "every").result is NOT_FOUND
    assert cluster.client.query(cluster.peers[0], "lasting").result == 1
    with pytest.raises(SessionClosed):
        session.write(("every", 4))
    session.stop()
    assert list(session.triggers()) == []


def test_many_threads_share_a_session(cluster: BlockingCluster) -> None:
    """Each write runs once; those of one thread in its order."""
    with blocking.start_session(cluster.peers, LONG) as session, ThreadPoolExecutor(8) as pool:

        def write_ten(thread: int) -> list[object]:
            return [session.write((("many", thread), number)) for number in range(10)]

        assert list(pool.map(write_ten, range(8))) == [["ok"] * 10] * 8
        assert [session.query(("many", thread)) for thread in range(8)] == [9] * 8


def test_a_thread_that_waits_for_triggers_goes_on_when_the_session_is_stopped(cluster: BlockingCluster) -> None:
    """By another thread."""
    session = cluster.client.start_session(cluster.peers, LONG)
    found: list[zraft.WatchTrigger] = []
    waiting = threading.Thread(target=lambda: found.extend(session.triggers()))
    waiting.start()
    session.query("stopped", watch="w")
    session.write(("stopped", 1))
    session.stop()
    waiting.join(WAIT_S)
    assert not waiting.is_alive()
    assert found in ([], [zraft.WatchTrigger("w", "change")])


def test_a_session_is_resumed_and_ends_as_others_do(cluster: BlockingCluster) -> None:
    """By a client that comes after the first."""
    with blocking.Client() as earlier:
        before = earlier.start_session(cluster.peers, LONG)
        before.write(("resumed", 1), temporary=True)
    assert before.state == "closed"
    with cluster.client.start_session(cluster.peers, LONG, resume=(before.id, before.token)) as session:
        assert session.query("resumed") == 1
    with pytest.raises(SessionExpired):
        cluster.client.start_session(cluster.peers, LONG, resume=before.token)
    with pytest.raises(ConnectionTimeout):
        cluster.client.start_session(["nobody@127.0.0.1:1"], 0.3)
