"""zraft: replicated state machines for Python, durable and linearizable, by the Raft protocol.

Node, Config          one process that holds peers of groups; PeerEvent: what becomes of them
create, write, query  and their like: what programs ask of a group, through one default client or a `Client`
Backend               the state machine that is replicated
table                 commands and queries of the backend "table"
recipes               locks, elections, queues and their like, made of sessions
ZraftError            the root of every error, see `zraft.errors`
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from zraft.client.client import Client
from zraft.client.functions import (
    create,
    ensure,
    get_conf,
    light_session,
    query,
    query_local,
    remove,
    set_new_conf,
    start_session,
    stat,
    transfer_leadership,
    write,
)
from zraft.client.light_session import LightSession, Written
from zraft.client.session import Session
from zraft.client.streaming import Changed, ChangeStream
from zraft.client.triggers import WatchTrigger
from zraft.client.views import Answered, Configuration, PeerStatus, SnapshotProgress
from zraft.config import Config, ConsoleLog, CrashLog, ErrorLog, LogConfig
from zraft.errors import (
    AddressInUse,
    AllPeersFailed,
    BackendError,
    BackendMismatch,
    CatchUpTimeout,
    ChangeInProgress,
    ConfigError,
    ConnectionTimeout,
    CorruptData,
    CreateError,
    DataDirInUse,
    DataDirUnsafe,
    DiskFull,
    HandshakeRefused,
    InvariantViolation,
    Lagged,
    LeaderChanged,
    MembershipError,
    NewerExists,
    NoPeers,
    NotLeader,
    NotStable,
    OutcomeUnknown,
    Overloaded,
    PeersChanged,
    PeerUnavailable,
    ProtocolError,
    Rejected,
    ReplicaFault,
    RequestError,
    RequestTimeout,
    SessionClosed,
    SessionExpired,
    StorageError,
    TooLarge,
    UsageError,
    WatchNotSupported,
    ZraftError,
)
from zraft.machine.backend import (
    Answer,
    Applied,
    Backend,
    Change,
    Context,
    Directory,
    Prefix,
    ReadableFile,
    Reject,
    SyncSnapshot,
    WritableFile,
)
from zraft.types import NOT_FOUND, PeerId

if TYPE_CHECKING:
    from zraft import blocking as blocking
    from zraft import recipes as recipes
    from zraft import table as table
    from zraft import testing as testing
    from zraft.node.events import PeerEvent
    from zraft.node.node import Node

# Where an application set up no logging, nothing is printed on its behalf.
logging.getLogger("zraft").addHandler(logging.NullHandler())

__all__ = [
    "Node",
    "PeerEvent",
    "Config",
    "ConsoleLog",
    "CrashLog",
    "ErrorLog",
    "LogConfig",
    "Client",
    "create",
    "ensure",
    "get_conf",
    "light_session",
    "query",
    "query_local",
    "remove",
    "set_new_conf",
    "start_session",
    "stat",
    "transfer_leadership",
    "write",
    "Answered",
    "ChangeStream",
    "Changed",
    "LightSession",
    "Session",
    "WatchTrigger",
    "Written",
    "Configuration",
    "PeerStatus",
    "SnapshotProgress",
    "NOT_FOUND",
    "PeerId",
    "Answer",
    "Applied",
    "Backend",
    "Change",
    "Context",
    "Directory",
    "Prefix",
    "ReadableFile",
    "Reject",
    "SyncSnapshot",
    "WritableFile",
    "AddressInUse",
    "AllPeersFailed",
    "BackendError",
    "BackendMismatch",
    "CatchUpTimeout",
    "ChangeInProgress",
    "ConfigError",
    "ConnectionTimeout",
    "CorruptData",
    "CreateError",
    "DataDirInUse",
    "DataDirUnsafe",
    "DiskFull",
    "HandshakeRefused",
    "InvariantViolation",
    "Lagged",
    "LeaderChanged",
    "MembershipError",
    "NewerExists",
    "NoPeers",
    "NotLeader",
    "NotStable",
    "OutcomeUnknown",
    "Overloaded",
    "PeerUnavailable",
    "PeersChanged",
    "ProtocolError",
    "Rejected",
    "ReplicaFault",
    "RequestError",
    "RequestTimeout",
    "SessionClosed",
    "SessionExpired",
    "StorageError",
    "TooLarge",
    "UsageError",
    "WatchNotSupported",
    "ZraftError",
]


def __getattr__(name: str) -> Any:
    """What is loaded when it is first asked for: a program that is only a client need not load the server."""
    if name == "Node":
        from zraft.node.node import Node

        return Node
    if name == "PeerEvent":
        from zraft.node.events import PeerEvent

        return PeerEvent
    if name == "blocking":
        import zraft.blocking as blocking

        return blocking
    if name == "recipes":
        import zraft.recipes as recipes

        return recipes
    if name == "sim":
        import zraft.sim as sim

        return sim
    if name == "table":
        import zraft.table as table

        return table
    if name == "testing":
        import zraft.testing as testing

        return testing
    raise AttributeError(f"module 'zraft' has no attribute {name!r}")
