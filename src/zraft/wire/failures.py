"""The errors that travel: the family of `RequestError`, and what stands in the way of making a replica.

The table of codes is closed: no class is ever looked up by a name from the wire, and what is not in the table does not
travel. An error carries its text, what it promises about having run, and its own fields; never a traceback, and the
text of a backend's exception stays where it was raised.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Annotated, Any, Final, cast, get_args

import msgspec

from zraft.errors import (
    AllPeersFailed,
    BackendError,
    CatchUpTimeout,
    ChangeInProgress,
    ConnectionTimeout,
    CreateError,
    CreateProblem,
    Executed,
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
    RequestError,
    RequestTimeout,
    SessionClosed,
    SessionExpired,
    TooLarge,
    UsageError,
    WatchNotSupported,
)
from zraft.limits import MAX_TERM
from zraft.types import PeerId, Value
from zraft.wire.values import decode_value, encode_value

_TEXT_LENGTH: Final = 1000
_NOTHING: Final = msgspec.Raw(b"\xc0")
_EXECUTED: Final[tuple[Executed, ...]] = get_args(Executed)
_PROBLEMS: Final[tuple[CreateProblem, ...]] = get_args(CreateProblem)


class FailureCode(IntEnum):
    """Numbers of errors on the wire. They never change their meaning."""

    REQUEST_ERROR = 1
    REQUEST_TIMEOUT = 2
    OUTCOME_UNKNOWN = 3
    PEER_UNAVAILABLE = 4
    ALL_PEERS_FAILED = 5
    NO_PEERS = 6
    NOT_LEADER = 7
    OVERLOADED = 8
    TOO_LARGE = 9
    SESSION_EXPIRED = 10
    SESSION_CLOSED = 11
    CONNECTION_TIMEOUT = 12
    WATCH_NOT_SUPPORTED = 13
    REJECTED = 14
    BACKEND_ERROR = 15
    MEMBERSHIP_ERROR = 16
    LEADER_CHANGED = 17
    NOT_STABLE = 18
    NEWER_EXISTS = 19
    CHANGE_IN_PROGRESS = 20
    PEERS_CHANGED = 21
    CATCH_UP_TIMEOUT = 22
    LAGGED = 23
    CREATE_ERROR = 32


class Failed(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """Request `id` failed. Fields that the code has no use for are at their default."""

    id: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    code: FailureCode
    executed: Annotated[int, msgspec.Meta(ge=0, le=2)]
    """0 no, 1 maybe, 2 yes."""
    text: str = ""
    leader: PeerId | None = None
    """Of NOT_LEADER: who leads."""
    reason: str = ""
    """Of OVERLOADED its reason, of REJECTED the backend's code, of BACKEND_ERROR the class of the exception."""
    retry_after: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    """Of OVERLOADED: seconds."""
    detail: msgspec.Raw = _NOTHING
    """Of REJECTED a value; of CREATE_ERROR an array of [peer, problem]; of PEERS_CHANGED an array of peers; of
    LAGGED an index."""


_PLAIN: Final[dict[FailureCode, type[RequestError]]] = {
    FailureCode.REQUEST_ERROR: RequestError,
    FailureCode.REQUEST_TIMEOUT: RequestTimeout,
    FailureCode.OUTCOME_UNKNOWN: OutcomeUnknown,
    FailureCode.PEER_UNAVAILABLE: PeerUnavailable,
    FailureCode.ALL_PEERS_FAILED: AllPeersFailed,
    FailureCode.NO_PEERS: NoPeers,
    FailureCode.TOO_LARGE: TooLarge,
    FailureCode.SESSION_EXPIRED: SessionExpired,
    FailureCode.SESSION_CLOSED: SessionClosed,
    FailureCode.CONNECTION_TIMEOUT: ConnectionTimeout,
    FailureCode.WATCH_NOT_SUPPORTED: WatchNotSupported,
    FailureCode.MEMBERSHIP_ERROR: MembershipError,
    FailureCode.LEADER_CHANGED: LeaderChanged,
    FailureCode.NOT_STABLE: NotStable,
    FailureCode.NEWER_EXISTS: NewerExists,
    FailureCode.CHANGE_IN_PROGRESS: ChangeInProgress,
    FailureCode.CATCH_UP_TIMEOUT: CatchUpTimeout,
}

_CODES: Final[dict[type[Exception], FailureCode]] = {
    **{error: code for code, error in _PLAIN.items()},
    NotLeader: FailureCode.NOT_LEADER,
    Overloaded: FailureCode.OVERLOADED,
    Rejected: FailureCode.REJECTED,
    PeersChanged: FailureCode.PEERS_CHANGED,
    BackendError: FailureCode.BACKEND_ERROR,
    CreateError: FailureCode.CREATE_ERROR,
    Lagged: FailureCode.LAGGED,
}

_WITH_FIELDS: Final[dict[FailureCode, Callable[[Failed], RequestError]]] = {
    FailureCode.NOT_LEADER: lambda failed: NotLeader(failed.text, leader=failed.leader),
    FailureCode.OVERLOADED: lambda failed: Overloaded(
        failed.text, reason=failed.reason, retry_after=failed.retry_after
    ),
    FailureCode.REJECTED: lambda failed: Rejected(failed.reason, decode_value(failed.detail)),
    FailureCode.BACKEND_ERROR: lambda failed: BackendError(failed.reason),
    FailureCode.PEERS_CHANGED: lambda failed: PeersChanged(failed.text, peers=_peers(decode_value(failed.detail))),
    FailureCode.LAGGED: lambda failed: Lagged(failed.text, index=_index(decode_value(failed.detail))),
}


def error_to_failed(id: int, error: RequestError | CreateError) -> Failed:
    """The reply that carries `error`. A class outside the table travels as the nearest one above it that is in it.

    A detail of `Rejected` that is not a value does not travel: the refusal must. Raises `UsageError` for other errors.
    """
    code = next((_CODES[kind] for kind in type(error).__mro__ if kind in _CODES), None)
    if code is None:
        raise UsageError(f"a {type(error).__name__} does not travel")
    if isinstance(error, CreateError):
        problems = [[str(peer), problem] for peer, problem in error.errors.items()]
        return Failed(id, code, 0, detail=msgspec.Raw(encode_value(problems)))
    executed = _EXECUTED.index(error.executed)
    if isinstance(error, Rejected):
        return Failed(id, code, executed, reason=error.code, detail=_detail(error.detail))
    if isinstance(error, BackendError):
        return Failed(id, code, executed, reason=error.type)
    text = str(error)[:_TEXT_LENGTH]
    if isinstance(error, NotLeader):
        return Failed(id, code, executed, text, leader=error.leader)
    if isinstance(error, PeersChanged):
        return Failed(id, code, executed, text, detail=msgspec.Raw(encode_value([str(peer) for peer in error.peers])))
    if isinstance(error, Lagged):
        return Failed(id, code, executed, text, detail=msgspec.Raw(encode_value(error.index)))
    if isinstance(error, Overloaded):
        return Failed(id, code, executed, text, reason=error.reason, retry_after=error.retry_after)
    return Failed(id, code, executed, text)


def _detail(detail: Value) -> msgspec.Raw:
    try:
        return msgspec.Raw(encode_value(detail))
    except (UsageError, TooLarge):
        return _NOTHING


def failed_to_error(failed: Failed) -> RequestError | CreateError:
    """The error that `error_to_failed` was given. Raises `ProtocolError` where the reply's detail is malformed."""
    if failed.code is FailureCode.CREATE_ERROR:
        return CreateError(_problems(decode_value(failed.detail)))
    plain = _PLAIN.get(failed.code)
    error = plain(failed.text) if plain is not None else _WITH_FIELDS[failed.code](failed)
    error.executed = _EXECUTED[failed.executed]
    return error


def _peers(detail: Any) -> list[PeerId]:
    try:
        return [PeerId.parse(peer) for peer in detail]
    except (TypeError, ValueError, AttributeError) as error:
        raise ProtocolError("not a list of peers") from error


def _index(detail: Any) -> int:
    if type(detail) is not int or not 0 <= detail <= MAX_TERM:
        raise ProtocolError("not an index")
    return detail


def _problems(detail: Any) -> dict[PeerId, CreateProblem]:
    try:
        named = {PeerId.parse(peer): problem for peer, problem in detail}
    except (TypeError, ValueError, AttributeError) as error:
        raise ProtocolError("not a list of peers and what is wrong with them") from error
    if not all(problem in _PROBLEMS for problem in named.values()):
        raise ProtocolError("a peer with an unknown problem")
    return cast("dict[PeerId, CreateProblem]", named)
