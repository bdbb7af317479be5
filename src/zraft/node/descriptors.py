"""How many files this process may have open, and how many of them are for clients."""

from __future__ import annotations

import resource
from typing import Final

from zraft import limits

_LEAST: Final = 16
"""Clients that are let in however few files there may be."""


def clients_allowed() -> int:
    """Connections of clients for which there are descriptors besides those of peers and files (BM-115)."""
    may_open, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if may_open == resource.RLIM_INFINITY:
        return limits.CLIENT_CONNECTIONS
    return max(_LEAST, min(limits.CLIENT_CONNECTIONS, may_open - limits.OTHER_FILES))


def allow_as_many_as_possible() -> None:
    """A process of our own may open what the system lets it: the usual 1024 are for programs that use select."""
    may_open, at_most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = limits.CLIENT_CONNECTIONS + limits.OTHER_FILES
    if at_most != resource.RLIM_INFINITY:
        wanted = min(wanted, at_most)
    if may_open != resource.RLIM_INFINITY and may_open < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, at_most))
