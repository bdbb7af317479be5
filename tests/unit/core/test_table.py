"""Who handles what: no cell of the tables is missing, and none has the wrong arguments."""

from __future__ import annotations

from contextlib import suppress
from typing import Final, get_args

import msgspec
import pytest

from tests.raftkit.cluster import Cluster, led_cluster
from tests.unit.core.samples import EVENT_SAMPLES, MESSAGE_SAMPLES, A, B
from zraft.core.events import Event, Received
from zraft.core.messages import Message, PreVoteReply
from zraft.core.output import RoleName
from zraft.core.roles import Role
from zraft.core.table import EVENTS, MESSAGES, ROLES
from zraft.errors import ReplicaFault, UsageError

TRIED: Final = (
    RoleName.BLANK,
    RoleName.FOLLOWER,
    RoleName.PRE_CANDIDATE,
    RoleName.CANDIDATE,
    RoleName.LEADER,
)


def _in_role(role: RoleName) -> Cluster:
    if role is RoleName.BLANK:
        return Cluster("a")
    if role in (RoleName.FOLLOWER, RoleName.LEADER):
        cluster = led_cluster("a b c" if role is RoleName.LEADER else "b a c")
    else:
        cluster = Cluster()
        for name in "abc":
            cluster.add(name, [1, 2], "a b c")
        cluster.timeout("a")
        if role is RoleName.CANDIDATE:
            cluster.receive(PreVoteReply(B, A, 3, True))
            cluster.save("a")
    assert cluster.role("a") is role
    return cluster


def test_tables_are_total() -> None:
    """Every event and every message has a handler in every role; Received goes to the table of messages."""
    assert set(ROLES) == set(get_args(Role))
    assert set(EVENTS) == set(get_args(Event)) - {Received}
    assert set(MESSAGES) == set(get_args(Message))
    for rows in (EVENTS, MESSAGES):
        assert all(set(row) == set(ROLES) for row in rows.values())


def test_samples_are_total() -> None:
    """The samples that the cells are tried with leave no type out."""
    assert {type(event) for event in EVENT_SAMPLES} == set(EVENTS)
    assert {type(message) for message in MESSAGE_SAMPLES} == set(MESSAGES)


@pytest.mark.parametrize("role", TRIED)
@pytest.mark.parametrize("event", EVENT_SAMPLES, ids=lambda event: type(event).__name__)
def test_every_event_is_handled_in_every_role(role: RoleName, event: Event) -> None:
    """It takes effect, is refused, or means nothing; a fault or a misuse is said so, nothing else is raised."""
    cluster = _in_role(role)
    raft = cluster["a"]
    before = raft.current_term
    with suppress(ReplicaFault, UsageError):
        raft.step(cluster.hosts["a"].now, event)
    assert raft.current_term >= before


@pytest.mark.parametrize("role", TRIED)
@pytest.mark.parametrize("message", MESSAGE_SAMPLES, ids=lambda message: type(message).__name__)
def test_every_message_is_handled_in_every_role(role: RoleName, message: Message) -> None:
    """Of an earlier term, of a later one, and of the own."""
    for term in (0, 2, 3, 9):
        cluster = _in_role(role)
        raft = cluster["a"]
        before = raft.current_term
        with suppress(ReplicaFault):
            raft.step(cluster.hosts["a"].now, Received(msgspec.structs.replace(message, to=raft.me, term=term)))
        assert raft.current_term >= before
