"""The tree of errors: names, classes above them, attributes, and what `executed` promises."""

from __future__ import annotations

import copy
import pickle

import pytest

import zraft

TREE = """
ZraftError
    UsageError
    ConfigError
    RequestError
        RequestTimeout
        OutcomeUnknown
        PeerUnavailable
        AllPeersFailed
        NoPeers
        NotLeader
        Overloaded
        TooLarge
        SessionExpired
        SessionClosed
        ConnectionTimeout
        WatchNotSupported
        Lagged
        Rejected
        BackendError
        MembershipError
            LeaderChanged
            NotStable
            NewerExists
            ChangeInProgress
            PeersChanged
            CatchUpTimeout
    CreateError
    StorageError
        DiskFull
        CorruptData
        BackendMismatch
        DataDirInUse
        DataDirUnsafe
    AddressInUse
    ProtocolError
    ReplicaFault
"""
PEER = zraft.PeerId("a", "h:1")
ERRORS: list[zraft.ZraftError] = [
    zraft.UsageError("u"),
    zraft.ConfigError(["listen: wrong", "cluster: wrong"]),
    zraft.RequestTimeout("t", executed="no"),
    zraft.NotLeader("n", leader=PEER),
    zraft.Overloaded("o", reason="disk_full", retry_after=2.5),
    zraft.Lagged("l", index=5),
    zraft.Rejected("code", {"a": [1]}),
    zraft.BackendError("ValueError"),
    zraft.CreateError({PEER: "node_down"}),
    zraft.CorruptData("journal-1", 4096, "torn"),
    zraft.CatchUpTimeout("c", executed="maybe"),
]


def test_the_tree_is_as_it_is_drawn() -> None:
    """Each class stands directly below the one above it, and all can be had from `zraft`."""
    above: list[type[BaseException]] = [Exception]
    for line in TREE.strip().splitlines():
        depth = (len(line) - len(line.lstrip())) // 4 + 1
        kind: type[zraft.ZraftError] = getattr(zraft, line.strip())
        assert kind.__name__ in zraft.__all__
        assert issubclass(kind, zraft.ZraftError)
        assert kind.__mro__[1] is above[depth - 1], kind
        above[depth:] = [kind]


def test_what_else_an_error_is() -> None:
    """So that a program may catch them without zraft."""
    assert issubclass(zraft.RequestTimeout, TimeoutError)
    assert issubclass(zraft.UsageError, ValueError)


@pytest.mark.parametrize(
    ("error", "executed"),
    [
        (zraft.RequestTimeout(), "maybe"),
        (zraft.OutcomeUnknown(), "maybe"),
        (zraft.PeerUnavailable(), "no"),
        (zraft.AllPeersFailed(), "no"),
        (zraft.NoPeers(), "no"),
        (zraft.NotLeader(), "no"),
        (zraft.Overloaded(), "no"),
        (zraft.TooLarge(), "no"),
        (zraft.Rejected("code"), "no"),
        (zraft.BackendError("ValueError"), "yes"),
        (zraft.PeersChanged(), "no"),
        (zraft.ChangeInProgress(), "no"),
        (zraft.NotStable(), "no"),
        (zraft.LeaderChanged(), "maybe"),
    ],
)
def test_executed_is_a_promise_that_every_request_error_makes(error: zraft.RequestError, executed: str) -> None:
    """ "no": it did not run and never will."""
    assert error.executed == executed


def test_errors_have_their_attributes() -> None:
    """As the contract names them."""
    config = zraft.ConfigError(["listen: wrong", "cluster: wrong"])
    assert list(config.problems) == ["listen: wrong", "cluster: wrong"]
    assert "listen: wrong" in str(config)
    assert "cluster: wrong" in str(config)
    assert zraft.NotLeader(leader=PEER).leader == PEER
    assert zraft.NotLeader().leader is None
    overloaded = zraft.Overloaded(reason="disk_full", retry_after=1.5)
    assert (overloaded.reason, overloaded.retry_after) == ("disk_full", 1.5)
    assert (zraft.Rejected("code", [1]).code, zraft.Rejected("code", [1]).detail) == ("code", [1])
    assert zraft.BackendError("KeyError").type == "KeyError"
    assert zraft.CreateError({PEER: "already_present"}).errors == {PEER: "already_present"}
    corrupt = zraft.CorruptData("journal-1", 4096)
    assert (corrupt.path, corrupt.offset) == ("journal-1", 4096)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_copy_of_an_error_says_the_same(error: zraft.ZraftError) -> None:
    """Pools of processes pickle what a worker raised."""
    for again in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert vars(again) == vars(error)


def test_what_a_client_needs_is_imported_without_the_server() -> None:
    """`Node` and its events are loaded when they are first asked for."""
    assert zraft.PeerEvent.__module__ == "zraft.node.events"
    assert {"Node", "PeerEvent"} <= set(zraft.__all__)
    for name in zraft.__all__:
        assert getattr(zraft, name) is not None
