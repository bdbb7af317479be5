"""The built-in backends behind one tongue, and commands as replicas get them: through the wire."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.unit.machine.directory import MemoryDirectory
from zraft import table
from zraft.machine.backend import Applied, Backend, Change, Context
from zraft.machine.dict_backend import DictBackend
from zraft.machine.table_backend import TableBackend
from zraft.types import NOT_FOUND, PeerId
from zraft.wire.values import decode_value, decoder_for, encode_value

PEER = PeerId("a", "127.0.0.1:7101")
CTX = Context()


def temporary(session: int) -> Context:
    """The context of a temporary write."""
    return Context(session=session, temporary=True)


@dataclass(frozen=True)
class Dialect:
    """How one backend wants to be told and asked."""

    backend: type[Backend]
    put: Callable[[Any, Any], Any]
    delete: Callable[[Any], Any]
    get: Callable[[Any], Any]
    value: Callable[[Any], Any]
    """The value in what a `get` answers."""

    @property
    def name(self) -> str:
        return self.backend.name

    def fresh(self) -> Backend:
        """A backend that has applied nothing."""
        return self.backend(PEER)

    def apply(self, backend: Backend, command: Any, ctx: Context = CTX) -> Any:
        """The result, of a command that came over the wire."""
        outcome = backend.apply(decoder_for(self.backend.Command).decode(encode_value(command)), ctx)
        return outcome.result if isinstance(outcome, Applied) else outcome

    def changed(self, backend: Backend, command: Any, ctx: Context = CTX) -> tuple[Any, ...]:
        """The changed keys of a command."""
        outcome = backend.apply(decoder_for(self.backend.Command).decode(encode_value(command)), ctx)
        return keys_of(outcome.changed) if isinstance(outcome, Applied) else ()

    def ask(self, backend: Backend, key: Any) -> Any:
        """The value of a key."""
        return self.value(backend.query(decoder_for(self.backend.Query).decode(encode_value(self.get(key)))).value)

    def restored(self, backend: Backend) -> Backend:
        """A fresh backend from this one's snapshot."""
        directory = MemoryDirectory()
        write = backend.snapshot()
        assert callable(write)
        write(directory)
        fresh = self.fresh()
        fresh.install_snapshot(directory)
        return fresh

    def made(self, *pairs: tuple[Any, Any]) -> Backend:
        """A backend that holds these keys with their values."""
        backend = self.fresh()
        for key, value in pairs:
            self.apply(backend, self.put(key, value))
        return backend


def keys_of(changed: Any) -> tuple[Any, ...]:
    """Keys, whether they were reported as they are or as a `Change`."""
    return tuple(change.key if isinstance(change, Change) else change for change in changed)


DICT = Dialect(DictBackend, lambda key, value: (key, value), lambda key: (key,), lambda key: key, lambda found: found)
TABLE = Dialect(
    TableBackend,
    table.Put,
    table.Delete,
    table.Get,
    lambda found: found if found is NOT_FOUND else decode_value(encode_value(found))["value"],
)
BUILT_IN = (DICT, TABLE)
