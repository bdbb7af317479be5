"""Which backends a node knows."""

from __future__ import annotations

from typing import Any

import pytest

from zraft.errors import UsageError
from zraft.machine.dict_backend import DictBackend
from zraft.machine.registry import Backends
from zraft.machine.table_backend import TableBackend
from zraft.types import PeerId

PEER = PeerId("a", "127.0.0.1:7101")


class Counter(DictBackend):
    """Given by the application."""

    version = 3


def test_dict_and_table_are_always_known() -> None:
    """Each peer gets a machine of its own."""
    backends = Backends()
    assert "dict" in backends
    assert isinstance(backends.make("table", PEER), TableBackend)
    assert isinstance(backends.make("dict", PEER), DictBackend)
    assert backends.make("dict", PEER) is not backends.make("dict", PEER)


def test_given_backends_are_known_beside_it() -> None:
    """Under the name they were given."""
    backends = Backends({"counter": Counter})
    assert backends.names() == ["counter", "dict", "table"]
    assert type(backends.make("counter", PEER)) is Counter
    assert (backends.version("counter"), backends.version("dict")) == (3, 1)


def test_an_unknown_backend_is_refused_with_what_is_known() -> None:
    """A name never makes a node load anything."""
    backends = Backends()
    assert "os.system" not in backends
    with pytest.raises(UsageError, match=r"os\.system.*dict"):
        backends.make("os.system", PEER)


@pytest.mark.parametrize("given", [{"dict": Counter}, {"": Counter}, {"a b": Counter}, {"c": 3}, {"c": Counter(PEER)}])
def test_what_is_no_backend_is_refused_at_start(given: Any) -> None:
    """Built-in names, malformed names, and things that are not a subclass."""
    with pytest.raises(UsageError):
        Backends(given)
