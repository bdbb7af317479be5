"""Descriptors of this process, and how many of them clients get."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from zraft import limits
from zraft.node.descriptors import allow_as_many_as_possible, clients_allowed

BEFORE = resource.getrlimit(resource.RLIMIT_NOFILE)


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """As it was."""
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, BEFORE)


@pytest.mark.parametrize(("may_open", "clients"), [(limits.OTHER_FILES + 100, 100), (700, 60), (600, 16)])
def test_clients_get_what_peers_and_files_leave(may_open: int, clients: int) -> None:
    """And a few are let in always (BM-115)."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (may_open, BEFORE[1]))
    assert clients_allowed() == clients


def test_a_server_opens_what_it_may() -> None:
    """Up to what it has a use for, and never less than before."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (700, BEFORE[1]))
    allow_as_many_as_possible()
    may_open, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    hard = BEFORE[1] if BEFORE[1] != resource.RLIM_INFINITY else 1 << 40
    assert may_open == min(limits.CLIENT_CONNECTIONS + limits.OTHER_FILES, hard)
    allow_as_many_as_possible()
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == may_open
