"""Which backends a node knows, by the name that is stored with each replica.

A remote party names a backend and never supplies one: what is not in this table cannot be started.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from zraft.errors import UsageError
from zraft.machine.backend import Backend
from zraft.machine.dict_backend import DictBackend
from zraft.machine.table_backend import TableBackend
from zraft.types import PeerId

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_BUILT_IN: Final[Mapping[str, type[Backend]]] = {"dict": DictBackend, "table": TableBackend}


class Backends:
    """The built-in backends and the ones given to the node.

    Raises `UsageError` where a given name is malformed or built in, or what it names is not a `Backend` subclass.
    """

    def __init__(self, given: Mapping[str, type[Backend]] | None = None) -> None:
        self._classes: dict[str, type[Backend]] = dict(_BUILT_IN)
        for name, backend in (given or {}).items():
            if not _NAME.fullmatch(name):
                raise UsageError(f"not a backend name: {name!r} (letters, digits, '_', '.', '-'; at most 64)")
            if name in _BUILT_IN:
                raise UsageError(f"backend {name!r} is built in and cannot be replaced")
            _check_class(name, backend)
            self._classes[name] = backend

    def __contains__(self, name: str) -> bool:
        return name in self._classes

    def names(self) -> list[str]:
        """Every known name, sorted."""
        return sorted(self._classes)

    def version(self, name: str) -> int:
        """The newest machine version that this node can run `name` as. Raises `UsageError` where it is unknown."""
        return self.named(name).version

    def make(self, name: str, peer_id: PeerId) -> Backend:
        """A fresh, empty machine. Raises `UsageError` where the name is unknown, and what its constructor raises."""
        return self.named(name)(peer_id)

    def named(self, name: str) -> type[Backend]:
        """The class. Raises `UsageError` where the name is unknown."""
        found = self._classes.get(name)
        if found is None:
            raise UsageError(f"unknown backend {name!r}; this node knows {', '.join(self.names())}")
        return found


def _check_class(name: str, backend: object) -> None:
    if not (isinstance(backend, type) and issubclass(backend, Backend)):
        raise UsageError(f"backend {name!r} is not a subclass of zraft.Backend: {backend!r}")
