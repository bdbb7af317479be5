"""Timeouts and peers as users write them."""

from __future__ import annotations

import pickle
from datetime import timedelta
from typing import Any

import pytest

from zraft.client.client import Client, peer_of, peers_of
from zraft.client.views import Answered
from zraft.client.waiting import FOREVER, seconds_of
from zraft.errors import UsageError
from zraft.types import PeerId

A = PeerId("a", "127.0.0.1:1")


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [(None, FOREVER), (0.5, 0.5), (3, 3.0), (0, 0.0), (timedelta(milliseconds=250), 0.25), (FOREVER, FOREVER)],
)
def test_a_timeout_is_seconds_a_timedelta_or_none(timeout: Any, seconds: float) -> None:
    """None waits for ever."""
    assert seconds_of(timeout) == seconds


@pytest.mark.parametrize("timeout", [-1, -0.1, True, "5", float("nan"), timedelta(seconds=-1)])
def test_what_is_no_duration_is_refused(timeout: Any) -> None:
    """Before anything is asked."""
    with pytest.raises(UsageError):
        seconds_of(timeout)


def test_a_peer_may_be_written_as_text() -> None:
    """Wherever a peer is accepted."""
    assert peer_of("a@127.0.0.1:1") == A
    assert peers_of(["a@127.0.0.1:1", A]) == [A, A]


@pytest.mark.parametrize("wrong", [None, 5, b"a@127.0.0.1:1", "a"])
def test_what_is_no_peer_is_refused(wrong: Any) -> None:
    """With how to write one."""
    with pytest.raises(UsageError, match="name@host:port"):
        peer_of(wrong)


def test_a_text_is_no_list_of_peers() -> None:
    """Its letters would be taken for peers."""
    with pytest.raises(UsageError):
        peers_of("a@127.0.0.1:1")


def test_an_answer_is_a_pair_with_an_index() -> None:
    """It unpacks into two, compares as a tuple, and survives copying."""
    answer = Answered("ok", A, 7)
    result, target = answer
    assert (result, target) == (answer.result, answer.target) == ("ok", A)
    assert answer.index == pickle.loads(pickle.dumps(answer)).index == 7


def test_an_empty_secret_is_refused() -> None:
    """It would protect nothing."""
    with pytest.raises(UsageError):
        Client(secret="")


def test_encryption_is_not_pretended() -> None:
    """What is asked for and not there is refused."""
    with pytest.raises(UsageError, match="tls"):
        Client(tls=object())  # type: ignore[arg-type]  # any would do
