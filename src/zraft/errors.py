"""Every error that zraft raises on purpose, in one tree.

    ZraftError
    ├─ UsageError            the caller broke the contract (also a ValueError)
    ├─ ConfigError           .problems: every problem, with the key
    ├─ RequestError          .executed: "no" | "maybe" | "yes"; the only family that reads and writes raise
    │  ├─ RequestTimeout     also a TimeoutError
    │  ├─ OutcomeUnknown     leadership or connection lost after sending; "maybe"
    │  ├─ PeerUnavailable    no such peer there, or the node cannot be reached; "no"
    │  ├─ AllPeersFailed     every peer is within its fail_timeout
    │  ├─ NoPeers            a session was given no peer at all
    │  ├─ NotLeader          .leader
    │  ├─ Overloaded         .reason, .retry_after
    │  ├─ TooLarge           the command is above max_command_size
    │  ├─ SessionExpired, SessionClosed, ConnectionTimeout
    │  ├─ WatchNotSupported  the backend offers no watch for this query
    │  ├─ Lagged             .index: changes up to there are gone, a stream can go on after it
    │  ├─ Rejected           the backend refused: .code, .detail
    │  ├─ BackendError       apply or query raised: .type
    │  └─ MembershipError    LeaderChanged, NotStable, NewerExists, ChangeInProgress, PeersChanged, CatchUpTimeout
    ├─ CreateError           .errors
    ├─ StorageError          DiskFull, CorruptData, BackendMismatch, DataDirInUse, DataDirUnsafe
    ├─ AddressInUse          another process listens there
    ├─ TransferError         files of a snapshot did not get across: .reason, .damaged, .is_resumable
    ├─ ProtocolError         remote bytes are wrong: that connection is closed, the node serves on
    │  └─ HandshakeRefused   .reason; who or what is at the other end is not what this side talks to
    └─ ReplicaFault          a broken invariant: this peer stops and says why

`executed` is a promise: "no" means that the request never had and never will have an effect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from zraft.types import PeerId

Executed = Literal["no", "maybe", "yes"]


class ZraftError(Exception):
    """Base of every error of this library. A copy, also one that went to another process, has the same attributes."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _copied, (type(self), self.args), self.__dict__


def _copied(kind: type[ZraftError], args: tuple[Any, ...]) -> ZraftError:
    """An error with these arguments of the exception, whatever its constructor takes."""
    error = kind.__new__(kind)
    error.args = args
    return error


class UsageError(ZraftError, ValueError):
    """The caller broke the contract: an argument of the wrong form, a call in the wrong state."""


class ConfigError(ZraftError):
    """Settings that cannot be used. `problems` lists every one of them, each with its key."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


class RequestError(ZraftError):
    """A read or a write failed. `executed` says whether it ran: "no", "maybe" or "yes"."""

    default_executed: ClassVar[Executed] = "no"

    def __init__(self, message: str = "", *, executed: Executed | None = None) -> None:
        self.executed: Executed = self.default_executed if executed is None else executed
        super().__init__(message)


class RequestTimeout(RequestError, TimeoutError):
    """No answer in time. The text says what is missing; `executed` is "maybe" once the request was sent."""

    default_executed = "maybe"


class OutcomeUnknown(RequestError):
    """Leadership or the connection was lost after the request was sent: it may or may not run."""

    default_executed = "maybe"


class PeerUnavailable(RequestError):
    """The node cannot be reached, or has no such peer, or the peer is not able to serve."""


class AllPeersFailed(RequestError):
    """Every peer failed less than its fail_timeout ago."""


class NoPeers(RequestError):
    """A session needs at least one peer."""


class NotLeader(RequestError):
    """The peer does not lead. `leader` is the one that it follows, None where it knows none."""

    def __init__(self, message: str = "", *, leader: PeerId | None = None, executed: Executed | None = None) -> None:
        self.leader = leader
        super().__init__(message or f"not the leader; leader: {leader or 'unknown'}", executed=executed)


class Overloaded(RequestError):
    """The request was refused before it had any effect. `retry_after` is a hint in seconds."""

    def __init__(self, message: str = "", *, reason: str = "queue", retry_after: float = 0.1) -> None:
        self.reason, self.retry_after = reason, retry_after
        super().__init__(message or f"overloaded: {reason}; try again in {retry_after} s")


class TooLarge(RequestError):
    """The command is larger than `max_command_size`, or nested deeper than 64."""


class SessionExpired(RequestError):
    """The session has ended because its client was silent for too long."""


class SessionClosed(RequestError):
    """The session was stopped by its owner."""


class ConnectionTimeout(RequestError):
    """The session was not connected within its session_timeout."""


class WatchNotSupported(RequestError):
    """The backend offers no watch for this query, and no stream of these changes."""


class Lagged(RequestError):
    """A stream has missed changes: what happened up to `index` is not kept any more, or was too much to be told.

    Whoever goes on asks for the present state, and streams from there; `from_index=index` gives all that is left.
    """

    def __init__(self, message: str = "", *, index: int = 0, executed: Executed | None = None) -> None:
        self.index = index
        super().__init__(message or f"changes up to index {index} are gone", executed=executed)


class Rejected(RequestError):
    """The backend refused the command, the same on every replica: `code` and `detail` are the backend's."""

    def __init__(self, code: str, detail: Any = None) -> None:
        self.code, self.detail = code, detail
        super().__init__(f"{code}: {detail}" if detail is not None else code)


class BackendError(RequestError):
    """The backend's apply or query raised. `type` is the class name of what it raised; a write did run."""

    default_executed = "yes"

    def __init__(self, type: str, message: str = "", *, executed: Executed | None = None) -> None:
        self.type = type
        super().__init__(message or f"the backend raised {type}", executed=executed)


class MembershipError(RequestError):
    """A change of the configuration was not made."""


class LeaderChanged(MembershipError):
    """Leadership moved while the change ran: it may have been made. Ask for the configuration."""

    default_executed = "maybe"


class NotStable(MembershipError):
    """The leader has not yet committed an entry of its own term; try again."""


class NewerExists(MembershipError):
    """The configuration that the change was made for is not the present one; its peers may be the same."""


class ChangeInProgress(MembershipError):
    """Another change of the configuration is under way."""


class PeersChanged(MembershipError):
    """`old_peers` are not the current peers. `peers` are."""

    def __init__(self, message: str = "", *, peers: Sequence[PeerId] = (), executed: Executed | None = None) -> None:
        self.peers = tuple(peers)
        super().__init__(message, executed=executed)


class CatchUpTimeout(MembershipError):
    """A new peer made no progress; the old configuration stands."""


CreateProblem = Literal["already_present", "node_down", "unknown_backend"]


class CreateError(ZraftError):
    """A group could not be made. `errors` says for each peer that stood in the way what was wrong with it."""

    def __init__(self, errors: Mapping[PeerId, CreateProblem]) -> None:
        self.errors = dict(errors)
        super().__init__(", ".join(f"{peer}: {problem}" for peer, problem in self.errors.items()))


class StorageError(ZraftError):
    """The data cannot be used or written."""


class DiskFull(StorageError):
    """No space is left where the data lives."""


class CorruptData(StorageError):
    """Bytes that were durable have changed. `path` and `offset` say where."""

    def __init__(self, path: str, offset: int, what: str = "") -> None:
        self.path, self.offset, self.what = path, offset, what
        super().__init__(f"corrupt data in {path} at offset {offset}" + (f": {what}" if what else ""))


class BackendMismatch(StorageError):
    """The stored peer has another backend than the one asked for."""


class DataDirInUse(StorageError):
    """Another process has the data folder open."""


class DataDirUnsafe(StorageError):
    """The data folder is not a folder, or others may write to it."""


class AddressInUse(ZraftError):
    """Something else listens on the address."""


class TransferError(ZraftError):
    """Files of a snapshot did not get to another node. `reason` is a word of `wire.bulk.End`.

    `is_resumable`: what has arrived is good, the rest may be sent over another connection. `damaged` names the files
    whose checksum was wrong: nothing of them counts, they have to be sent again whole.
    """

    def __init__(self, reason: str, message: str, *, is_resumable: bool = True, damaged: Sequence[str] = ()) -> None:
        self.reason, self.is_resumable, self.damaged = reason, is_resumable, tuple(damaged)
        super().__init__(f"transfer ended ({reason}): {message}")


class ProtocolError(ZraftError):
    """The other side sent bytes that are wrong: that connection is closed, the node serves on."""


class HandshakeRefused(ProtocolError):
    """The connection was not made. `reason` is a word of `wire.handshake.Refusal`; `remote`: the other side refused."""

    def __init__(self, reason: str, message: str, *, remote: bool = False) -> None:
        self.reason, self.remote = reason, remote
        super().__init__(f"handshake refused ({reason}): {message}")


class ReplicaFault(ZraftError):
    """An invariant of this replica is broken: the peer stops rather than go on. The text has both sides of it."""


class InvariantViolation(ReplicaFault):
    """What the core raises where the protocol's own rules no longer hold."""
