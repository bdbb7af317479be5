"""Backends that installed packages offer: the entry points of the group `zraft.backends`.

They are loaded when a node starts and never later, so nobody from outside makes a node import code. One that cannot be
loaded is said and left out: the node serves with the others, and a stored peer of that backend is down with the reason.
"""

from __future__ import annotations

import importlib.metadata
import logging
from collections.abc import Mapping
from typing import Final

from zraft.errors import UsageError
from zraft.machine.backend import Backend
from zraft.machine.registry import Backends

LOG: Final = logging.getLogger("zraft")

GROUP: Final = "zraft.backends"


def with_installed(given: Mapping[str, type[Backend]]) -> Backends:
    """The built-in backends, those that are installed, and those that are given, which count where names are equal."""
    found: dict[str, type[Backend]] = {}
    for point in importlib.metadata.entry_points(group=GROUP):
        if point.name in given:
            continue
        try:
            offered = {point.name: point.load()}
            Backends(offered)
        except (Exception, SystemExit) as error:  # whatever a stranger's module does when it is imported
            text = str(error) if isinstance(error, UsageError) else f"{type(error).__name__}: {error}"
            LOG.warning("the installed backend %s (%s) is left out: %s", point.name, point.value, text)
        else:
            found |= offered
    return Backends({**found, **given})
