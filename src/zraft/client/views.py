"""What users are given: plain, frozen values that do not change with the wire."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import msgspec

from zraft.types import Index, PeerId, Term, Value
from zraft.wire import requests

PeerRole: TypeAlias = Literal["loading", "blank", "follower", "candidate", "leader", "learner", "failed"]


@dataclass(frozen=True, slots=True)
class SnapshotProgress:
    """A snapshot on its way to a peer: the one at `index`, and how many bytes of how many have arrived."""

    index: Index
    received: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerStatus:
    """One peer as it sees itself. `leader` is None while it knows none; `fault` says why a failed one is down.

    `peers` are the voters of its newest configuration, which was appended at `conf_index`; `first_index` to
    `last_index` is its log, of which everything up to `commit_index` is decided and up to `last_applied` applied.
    While a change of the peers is under way, `target` is what they shall be, and `joining` names, at the leader, those
    that learn before they vote, and up to which index each has the log. `fetching` is the snapshot that is on its way
    to this peer; `sending` names, at the leader, who may be fetching which one, by index, that it was offered.
    `snapshot_index` and `snapshot_term` are those of its newest snapshot, 0 where it has none. `sessions` are open in
    the group, with so many `watchers` at the leader and so much temporary data (`ephemerals`).
    """

    id: PeerId
    role: str
    """One of "loading", "blank", "follower", "candidate", "leader", "learner", "failed"; a newer node may have more."""
    term: Term
    leader: PeerId | None
    first_index: Index
    last_index: Index
    last_term: Term
    commit_index: Index
    last_applied: Index
    snapshot_index: Index
    snapshot_term: Term
    conf_index: Index
    peers: tuple[PeerId, ...]
    sessions: int
    watchers: int
    ephemerals: int
    backend: str
    fault: str | None
    sync_mode: str = "default"
    """Its node's `log_sync_mode`; with any other than "default" it acknowledges what may be lost."""
    target: tuple[PeerId, ...] = ()
    joining: tuple[tuple[PeerId, Index], ...] = ()
    fetching: SnapshotProgress | None = None
    sending: tuple[tuple[PeerId, Index], ...] = ()


@dataclass(frozen=True, slots=True)
class Configuration:
    """A stable and committed configuration: who leads, at which index it stands, who votes and who only learns."""

    leader: PeerId
    index: Index
    peers: tuple[PeerId, ...]
    learners: tuple[PeerId, ...]


class Answered(tuple[Value, Any]):  # noqa: SLOT001 - a tuple with room for `index` cannot have slots
    """`(result, target)`: what the backend answered, and where to ask next.

    The target is the peer that was asked in the end, which leads, or the light session that was given.

    `.index` is the entry that did it, or for a query the last one that the answer has seen. (It stands where a tuple
    has a method of the same name.)
    """

    _index: Index

    def __new__(cls, result: Any, target: Any, index: Index) -> Answered:
        answer = tuple.__new__(cls, (result, target))
        answer._index = index
        return answer

    @property
    def index(self) -> Index:  # type: ignore[override]  # the name is part of the contract
        """The entry that did it, or the last one that a query has seen."""
        return self._index

    @property
    def result(self) -> Value:
        """What the backend answered."""
        return self[0]

    @property
    def target(self) -> Any:
        """The peer that answered, or the light session."""
        return self[1]

    def __getnewargs__(self) -> tuple[Value, PeerId, Index]:
        return (self[0], self[1], self.index)


def status_of(status: requests.PeerStatus) -> PeerStatus:
    """What a node said about one of its peers."""
    fields, coming = msgspec.structs.asdict(status), status.fetching
    if coming is not None:
        fields["fetching"] = SnapshotProgress(coming.index, coming.received, coming.total)
    return PeerStatus(**fields)


def configuration_of(conf: requests.Conf) -> Configuration:
    """What a leader said about its group."""
    return Configuration(
        conf.leader,
        conf.index,
        tuple(member.peer for member in conf.members),
        tuple(member.peer for member in conf.learners),
    )
