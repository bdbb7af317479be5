"""Errors on the wire: the same class, text, promise and fields on the other side, and nothing that stays inside."""

from __future__ import annotations

import msgspec
import pytest

from zraft import errors
from zraft.errors import (
    BackendError,
    CorruptData,
    CreateError,
    Lagged,
    LeaderChanged,
    MembershipError,
    NotLeader,
    Overloaded,
    ProtocolError,
    Rejected,
    RequestError,
    RequestTimeout,
    UsageError,
)
from zraft.types import NOT_FOUND, PeerId
from zraft.wire.failures import Failed, FailureCode, error_to_failed, failed_to_error
from zraft.wire.frames import array_of
from zraft.wire.requests import decode_replies, encode_item
from zraft.wire.values import encode_value

PEER = PeerId("a", "127.0.0.1:7101")


def across(error: RequestError | CreateError) -> RequestError | CreateError:
    [reply] = decode_replies(array_of([encode_item(error_to_failed(7, error))]))
    assert isinstance(reply, Failed)
    assert reply.id == 7
    return failed_to_error(reply)


def family(kind: type[RequestError]) -> list[type[RequestError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in family(child))]


PLAIN = [
    kind
    for kind in family(RequestError)
    if kind not in (NotLeader, Overloaded, Rejected, BackendError) and kind.__module__ == "zraft.errors"
]


@pytest.mark.parametrize("kind", PLAIN, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("executed", ["no", "maybe", "yes"])
def test_an_error_arrives_as_its_own_class_with_its_text_and_promise(
    kind: type[RequestError], executed: errors.Executed
) -> None:
    """Every class of the family, so that a new one is not forgotten in the table."""
    arrived = across(kind("what is missing", executed=executed))
    assert type(arrived) is kind
    assert str(arrived) == "what is missing"
    assert isinstance(arrived, RequestError)
    assert arrived.executed == executed


def test_the_fields_of_errors_arrive() -> None:
    """Leader, reason, retry_after, code, detail and type."""
    for leader in (PEER, None):
        not_leader = across(NotLeader(leader=leader))
        assert isinstance(not_leader, NotLeader)
        assert not_leader.leader == leader
        assert str(not_leader) == str(NotLeader(leader=leader))
    overloaded = across(Overloaded(reason="disk_full", retry_after=2.5))
    assert isinstance(overloaded, Overloaded)
    assert (overloaded.reason, overloaded.retry_after, overloaded.executed) == ("disk_full", 2.5, "no")
    assert str(overloaded) == str(Overloaded(reason="disk_full", retry_after=2.5))
    rejected = across(Rejected("insufficient", {"have": 3, "not": NOT_FOUND}))
    assert isinstance(rejected, Rejected)
    assert (rejected.code, rejected.detail) == ("insufficient", {"have": 3, "not": NOT_FOUND})
    backend = across(BackendError("KeyError", "with a text that stays inside"))
    assert isinstance(backend, BackendError)
    assert (backend.type, backend.executed) == ("KeyError", "yes")
    assert "inside" not in str(backend)
    lagged = across(Lagged(index=7))
    assert isinstance(lagged, Lagged)
    assert (lagged.index, lagged.executed, str(lagged)) == (7, "no", str(Lagged(index=7)))


def test_what_stood_in_the_way_of_a_replica_arrives() -> None:
    """Peer by peer."""
    other = PeerId("b", "[::1]:7102")
    arrived = across(CreateError({PEER: "already_present", other: "unknown_backend"}))
    assert isinstance(arrived, CreateError)
    assert arrived.errors == {PEER: "already_present", other: "unknown_backend"}


def test_an_error_outside_the_table_travels_as_the_nearest_inside() -> None:
    """A subclass that only this side knows is still what it is a kind of."""

    class Local(LeaderChanged):
        """Known here alone."""

    arrived = across(Local("moved"))
    assert type(arrived) is LeaderChanged
    assert isinstance(arrived, MembershipError)
    assert arrived.executed == "maybe"


def test_a_timeout_is_a_timeout_on_the_other_side() -> None:
    """Also for callers that catch the builtin one."""
    assert isinstance(across(RequestTimeout("no leader")), TimeoutError)


def test_other_errors_do_not_travel() -> None:
    """They may name files; the caller of a replica learns that it is unavailable, the log learns why (S-17)."""
    with pytest.raises(UsageError, match="does not travel"):
        error_to_failed(1, CorruptData("/some/path", 3, "x"))  # type: ignore[arg-type] # the point of the test
    with pytest.raises(UsageError, match="does not travel"):
        error_to_failed(1, KeyError("x"))  # type: ignore[arg-type] # the point of the test


def test_a_detail_that_is_no_value_does_not_keep_the_refusal_back() -> None:
    """The code arrives, the detail does not."""
    arrived = across(Rejected("no", {1, 2}))
    assert isinstance(arrived, Rejected)
    assert (arrived.code, arrived.detail) == ("no", None)


def test_a_long_text_is_cut() -> None:
    """An error is no way to fill a frame."""
    assert len(str(across(RequestError("x" * 5000)))) == 1000


@pytest.mark.parametrize(
    "fields",
    [
        [2, 1, 0, 0],
        [2, 1, 24, 0],
        [2, 1, 255, 0],
        [2, 1, 1, 3],
        [2, 1, 1, -1],
        [2, 1, 8, 0, "", None, "", -1.0],
        [2, 1],
    ],
)
def test_an_unknown_code_is_a_protocol_error(fields: list[object]) -> None:
    """The table is closed: no class is looked up for what is not in it."""
    with pytest.raises(ProtocolError):
        decode_replies(msgspec.msgpack.encode([fields]))


@pytest.mark.parametrize("detail", [None, 5, ["a"], [["a", "node_down"]], [[str(PEER), "exec"]], [[1, "node_down"]]])
def test_a_malformed_list_of_problems_is_a_protocol_error(detail: object) -> None:
    """Peers and problems are checked as everything else from outside."""
    failed = Failed(1, FailureCode.CREATE_ERROR, 0, detail=msgspec.Raw(encode_value(detail)))
    with pytest.raises(ProtocolError):
        failed_to_error(failed)
    with pytest.raises(ProtocolError):
        failed_to_error(Failed(1, FailureCode.REJECTED, 0, detail=msgspec.Raw(b"\xc1")))


@pytest.mark.parametrize("detail", [None, -1, "5", True, 1 << 63])
def test_a_malformed_index_is_a_protocol_error(detail: object) -> None:
    """Where history begins is a number of the log, or nothing."""
    with pytest.raises(ProtocolError, match="not an index"):
        failed_to_error(Failed(1, FailureCode.LAGGED, 0, detail=msgspec.Raw(encode_value(detail))))
