"""What stands in the reference beside the docstrings: which name is on which page, and how each page begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Topic:
    """A page of the reference. `names` are written as a user writes them, in the order of the page."""

    file: str
    title: str
    names: tuple[str, ...]
    head: str
    """Words, and one program that a test runs as every other of the documents."""


def _names(module: str, names: str) -> tuple[str, ...]:
    return tuple(f"{module}.{name}" for name in names.split())


_ERRORS: Final = """
    ZraftError UsageError ConfigError RequestError RequestTimeout OutcomeUnknown PeerUnavailable AllPeersFailed NoPeers
    NotLeader Overloaded TooLarge SessionExpired SessionClosed ConnectionTimeout WatchNotSupported Lagged Rejected
    BackendError MembershipError LeaderChanged NotStable NewerExists ChangeInProgress PeersChanged CatchUpTimeout
    CreateError StorageError DiskFull CorruptData BackendMismatch DataDirInUse DataDirUnsafe AddressInUse ProtocolError
    HandshakeRefused ReplicaFault InvariantViolation
"""
_FUNCTIONS: Final = "write query query_local stat get_conf create ensure set_new_conf remove transfer_leadership"
_RECIPES: Final = """
    Lock RWLock ReadLock WriteLock Semaphore Election Barrier DoubleBarrier Party Counter Queue Cache
"""
_BACKEND: Final = """
    Backend Context Applied Change Prefix Answer Reject SyncSnapshot Directory ReadableFile WritableFile
"""
_TABLE: Final = """
    Put Delete CompareAndSet Increment DeleteRange Txn Compare Get Range Prefix Count Entry Command Query Action
"""

TOPICS: Final = (
    Topic(
        "node.md",
        "Nodes and settings",
        _names("zraft", "Node PeerEvent Config LogConfig ConsoleLog ErrorLog CrashLog"),
        """\
A node is a process, or an object in one. Every setting, its default and its limits: [Settings](../operate/config.md).

```python
# one_node.py
import asyncio

import zraft


async def main() -> None:
    async with zraft.Node(zraft.Config(listen="127.0.0.1:0", log_dir="data/n1", snapshot_dir="data/n1")) as node:
        await zraft.create([f"app@{node.address}"])
        await node.wait_role("app", "leader", timeout=10)
        print(node.status("app").role, *node.peers())


asyncio.run(main())
```
""",
    ),
    Topic(
        "clients.md",
        "Clients",
        _names("zraft", f"Client {_FUNCTIONS}"),
        """\
What programs ask of a group. The functions use one client for each event loop; [Clients](../clients.md) tells the rest.

```python
# a_client.py
import asyncio

import zraft
from zraft.testing import LocalCluster


async def main() -> None:
    async with LocalCluster(1) as cluster, zraft.Client() as client:
        written = await client.write(cluster.peers[0], ("colour", "red"), timeout=10)
        print(await client.query_local(cluster.peers[0], "colour", min_index=written.index))


asyncio.run(main())
```
""",
    ),
    Topic(
        "light_sessions.md",
        "Light sessions",
        _names("zraft", "light_session LightSession Written"),
        """\
The fast way to many reads and writes: [Light sessions](../clients.md#light-sessions).

```python
# many.py
import asyncio

import zraft
from zraft.testing import LocalCluster


async def main() -> None:
    async with LocalCluster(1) as cluster, zraft.light_session(cluster.peers) as session:
        await session.write_many([("a", 1), ("b", 2)])
        print(await asyncio.gather(session.query("a"), session.query("b")))


asyncio.run(main())
```
""",
    ),
    Topic(
        "sessions.md",
        "Sessions and streams",
        _names("zraft", "start_session Session WatchTrigger ChangeStream Changed"),
        """\
Writes that run exactly once, temporary data, watches, streams of changes: [Sessions](../sessions.md).

```python
# a_session.py
import asyncio

import zraft
from zraft.testing import LocalCluster


async def main() -> None:
    async with LocalCluster(1) as cluster, zraft.start_session(cluster.peers, session_timeout=10) as session:
        async with session.watch("colour") as stream:
            await session.write(("colour", "red"), temporary=True)
            print(await anext(stream))


asyncio.run(main())
```
""",
    ),
    Topic(
        "recipes.md",
        "Recipes",
        _names("zraft.recipes", _RECIPES),
        """\
What programs build on sessions most often, for groups of the backend "table": [Recipes](../recipes.md).
What takes a `timeout` raises `RequestTimeout` and what a `zraft.Session` raises, where nothing else is said.

```python
# a_lock.py
import asyncio

import zraft
from zraft import recipes
from zraft.testing import LocalCluster


async def main() -> None:
    async with LocalCluster(1, backend="table") as cluster, zraft.start_session(cluster.peers, 10) as session:
        async with recipes.Lock(session, "nightly job") as token:
            print(token, await recipes.Counter(session, "runs").add())


asyncio.run(main())
```
""",
    ),
    Topic(
        "backends.md",
        "Backends and the table",
        _names("zraft", _BACKEND) + _names("zraft.table", _TABLE),
        """\
The state machine that is replicated, and the built-in one: [The table](../table.md), whose keys are bytes, str, int, or
tuples of these. A backend is tried without a cluster:

```python
# a_backend.py
import zraft


class Log(zraft.Backend):
    name = "log"
    lines: tuple[str, ...] = ()

    def apply(self, command: str, ctx: zraft.Context) -> int:
        self.lines += (command,)
        return ctx.index

    def query(self, query: int) -> str:
        return self.lines[query]


log = Log(zraft.PeerId.parse("app@127.0.0.1:7101"))
print(log.apply("hello", zraft.Context(index=7)), log.query(0))
```
""",
    ),
    Topic(
        "errors.md",
        "Errors",
        _names("zraft", _ERRORS),
        """\
`executed` of a `RequestError` is a promise: "no" means that the request never had and never will have an effect,
"maybe" that nobody can tell, "yes" that it ran. The tree says what it is where nothing else is known: ask the error.
What to do about which: [Clients](../clients.md#what-an-error-means).

```python
# an_error.py
import asyncio

import zraft


async def main() -> None:
    try:
        await zraft.write("app@127.0.0.1:1", ("colour", "red"), timeout=0.2)  # nobody listens there
    except zraft.RequestError as error:
        print(error.executed, error)


asyncio.run(main())
```
""",
    ),
    Topic(
        "blocking.md",
        "Without async",
        _names("zraft.blocking", f"Client {_FUNCTIONS} light_session LightSession start_session Session Node")
        + _names("zraft.blocking.recipes", _RECIPES),
        """\
The same names for threads, scripts and the REPL. What they do is told where they come from: [clients](clients.md),
[light sessions](light_sessions.md), [sessions](sessions.md), [recipes](recipes.md), [nodes](node.md).

```python
# without_async.py
from zraft.blocking import recipes
from zraft.testing import BlockingCluster

with BlockingCluster(1, backend="table") as cluster:
    with cluster.client.start_session(cluster.peers, 10) as session:
        queue = recipes.Queue(session, "jobs")
        queue.put("sweep")
        print(queue.get(timeout=10))
```
""",
    ),
    Topic(
        "testing.md",
        "Clusters in tests, state machines in the simulator",
        _names("zraft.testing", "LocalCluster BlockingCluster zraft_cluster")
        + _names("zraft.testing", "simulate zraft_sim Simulator Simulated SimulationFailed Draw Exchange"),
        """\
Real clusters inside a test, and a simulator for state machines: [Testing](../testing.md).

```python
# a_cluster.py
from zraft.testing import BlockingCluster

with BlockingCluster(3, election_timeout=2) as cluster:
    cluster.client.write(cluster.peers[0], ("colour", "red"))
    cluster.stop(cluster.leader())  # two are left, and one of them leads
    survivor = cluster.peers[cluster.leader()]
    print(cluster.client.query(survivor, "colour").result)
```
""",
    ),
    Topic(
        "sim.md",
        "The exam of a backend",
        _names("zraft.sim", "conform Report Finding"),
        """\
What would make replicas differ is found before there are any: [Examining a backend](../conform.md).

```python
# an_exam.py
import os

import zraft
import zraft.sim


class Chaotic(zraft.Backend):
    def apply(self, command, ctx):
        return os.urandom(command)

    def query(self, query):
        return None


print(zraft.sim.conform(Chaotic, [1, 2], processes=False))
```
""",
    ),
    Topic(
        "values.md",
        "Values and names",
        _names("zraft", "PeerId NOT_FOUND Answered Configuration PeerStatus SnapshotProgress")
        + _names("zraft.types", "Timeout Value Index Term Millis"),
        """\
What requests take and answer, and the names that signatures use.

```python
# names.py
import zraft

peer = zraft.PeerId.parse("app@127.0.0.1:7101")
print(peer.name, peer.node, peer == zraft.PeerId("app", "127.0.0.1:7101"))
print(bool(zraft.NOT_FOUND), repr(zraft.NOT_FOUND))
try:
    zraft.PeerId.parse("app")
except zraft.UsageError as error:
    print(error)
```
""",
    ),
)

SETTINGS: Final = frozenset(_names("zraft", "Config LogConfig ConsoleLog ErrorLog CrashLog"))
"""Their arguments are keys, which the page on settings describes."""

MADE_FOR_YOU: Final = frozenset(
    _names("zraft", "LightSession Session ChangeStream") + _names("zraft.blocking", "LightSession Session")
)
"""Classes that users get and never make: their constructors are nobody's business."""

WITHIN: Final = frozenset(
    {
        "Config.election_timeout_ms",
        "Config.frame_bytes",
        "Config.raft_settings",
        "ChangeStream.lost",
        "ChangeStream.marked",
        "ChangeStream.pushed",
        "ChangeStream.request",
    }
)
"""Methods without an underscore that rooms of the library call, and nobody else."""
