"""Errors as one line that says what to do, values and tables as people and programs read them."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from zraft.app.advice import line_of
from zraft.app.output import json_of, table, text_of
from zraft.client.views import Configuration
from zraft.errors import (
    AddressInUse,
    BackendError,
    CatchUpTimeout,
    ConfigError,
    CreateError,
    LeaderChanged,
    MembershipError,
    NewerExists,
    NotStable,
    OutcomeUnknown,
    Overloaded,
    PeersChanged,
    PeerUnavailable,
    Rejected,
    RequestTimeout,
    UsageError,
    ZraftError,
)
from zraft.types import NOT_FOUND, PeerId

A = PeerId("a", "127.0.0.1:1")


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (CreateError({A: "node_down"}), "start it with zraft server"),
        (CreateError({A: "already_present"}), "choose another name"),
        (CreateError({A: "unknown_backend"}), "--backend"),
        (ConfigError(["listen: wrong", "cluster: wrong too"]), "listen: wrong; cluster: wrong too"),
        (PeerUnavailable("x cannot be reached: nothing listens there"), "zraft server"),
        (PeerUnavailable("x cannot be reached: handshake refused (secret): said x"), "ZRAFT_CLIENT_SECRET"),
        (PeerUnavailable("x cannot be reached: handshake refused (cluster): said x"), "--cluster"),
        (PeerUnavailable("x cannot be reached: handshake refused (magic): said x"), "this version"),
        (PeerUnavailable("no peer a on x"), "zraft create"),
        (RequestTimeout("no leader", executed="no"), "it did not run"),
        (RequestTimeout("no answer", executed="maybe"), "may or may not have run"),
        (OutcomeUnknown("lost"), "read before you repeat it"),
        (AddressInUse("another process listens there"), "--listen"),
        (Overloaded(reason="queue"), "try again"),
        (NotStable("not stable"), "try again in a moment"),
        (CatchUpTimeout("no progress"), "reaches the others"),
        (LeaderChanged("lost"), "the same command"),
        (PeersChanged("the peers are a"), "zraft conf"),
        (NewerExists("changed at 9"), "zraft conf"),
        (MembershipError("b is not a voter of this group"), "zraft conf shows who is"),
        (BackendError("ValueError"), "log of the leader's node"),
    ],
)
def test_every_error_says_what_to_do(error: ZraftError, advice: str) -> None:
    """In one line."""
    line = line_of(error)
    assert advice in line
    assert "\n" not in line


def test_a_secret_that_stops_a_group_from_being_made_is_named() -> None:
    """Rather than that the node is down."""
    error = CreateError({A: "node_down"})
    error.__cause__ = PeerUnavailable("x cannot be reached: handshake refused (secret): said x")
    assert "set ZRAFT_CLIENT_SECRET" in line_of(error)


@pytest.mark.parametrize("error", [Rejected("full", 3), UsageError("no"), NotStable("busy: try again in a moment")])
def test_an_error_that_says_it_all_is_left_as_it_is(error: ZraftError) -> None:
    """Nothing is said twice."""
    assert line_of(error) == str(error)


def test_an_error_without_a_text_has_a_name() -> None:
    """A line is never empty."""
    assert line_of(UsageError()) == "UsageError"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        (None, "null"),
        ({"a": [1, 2.5, True]}, '{"a": [1, 2.5, true]}'),
        ({1: b"\x00\xff", (2, "x"): NOT_FOUND}, '{"1": "AP8=", "(2, \'x\')": null}'),
        (datetime(2030, 1, 2, tzinfo=UTC), '"2030-01-02T00:00:00Z"'),
        ("wörld", "wörld"),
    ],
)
def test_values_are_texts_or_json(value: object, text: str) -> None:
    """Texts as they are; whatever MessagePack carries, JSON shows."""
    assert text_of(value) == text


def test_what_users_are_given_is_an_object_in_json() -> None:
    """Peers by their names."""
    assert json.loads(json_of(Configuration(A, 5, (A,), ()))) == {
        "leader": str(A),
        "index": 5,
        "peers": [str(A)],
        "learners": [],
    }


def test_tables_align_numbers_to_the_right() -> None:
    """Columns as wide as their widest cell, no spaces at the end."""
    assert table(("NAME", "COUNT", "X"), [("a", 5, ""), ("long name", 1000, "")]).splitlines() == [
        "NAME       COUNT  X",
        "a              5",
        "long name   1000",
    ]
