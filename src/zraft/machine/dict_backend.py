"""The backend "dict": keys and values, temporary keys that go with their session.

    command (key, value)   stores        "ok"
    command (key,)         removes       "ok", or NOT_FOUND where there is no such key
    query   key                          the value, or NOT_FOUND; watch key: the key

Keys are what a Python dict takes and a message carries: None, bool, int, float, str, bytes, aware datetime, and tuples
of these. Arrays become tuples, since messages know no tuple. NaN is refused: it equals no key, not even itself. As in
any dict, 1, 1.0 and True are one key; the first one stored is kept.

A key belongs to the session that last wrote it as temporary, and to none after a plain write.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Final

from zraft.limits import ALARM_WHOLE
from zraft.machine.backend import Answer, Applied, Backend, Change, Context, Directory, Prefix, Reject, SnapshotWriter
from zraft.machine.chunks import read_chunks, write_chunks
from zraft.machine.overlay import Overlay
from zraft.types import NOT_FOUND, PeerId, Value
from zraft.wire.values import checksum_of, encode_value

_FILE: Final = "dict"
_FORMAT: Final = 1
_PLAIN_KEYS: Final = frozenset({str, int, bytes, bool, type(None), datetime})
_BAD_COMMAND: Final = "a command is (key, value) or (key,)"


class DictBackend(Backend):
    """A dict, replicated."""

    name: ClassVar[str] = "dict"

    def __init__(self, peer_id: PeerId) -> None:
        super().__init__(peer_id)
        self._data: dict[Any, Value] | Overlay[Any, Value] = {}
        self._owner: dict[Any, int] | Overlay[Any, int] = {}
        self._owned: dict[int, dict[Any, None]] = {}
        self._is_merging = False
        """What changed during a snapshot goes back to where it belongs."""

    def apply(self, command: Any, ctx: Context) -> Any:
        """Rejects "bad_command" and "bad_key", the state unchanged."""
        if type(command) is not list and type(command) is not tuple:
            raise Reject("bad_command", _BAD_COMMAND)
        if len(command) == 2:
            key, value = command
            if type(key) is not str:
                key = _checked_key(key)
            self._data[key] = value
            if ctx.temporary or self._owner:
                self._set_owner(key, ctx)
            if self._is_merging:
                self._merge()
            return Applied("ok", (key,))
        if len(command) != 1:
            raise Reject("bad_command", _BAD_COMMAND)
        key = _checked_key(command[0])
        if key not in self._data:
            return NOT_FOUND
        del self._data[key]
        self._disown(key)
        if self._is_merging:
            self._merge()
        return Applied("ok", (key,))

    def change_of(self, command: Any, key: Any) -> Change:
        """The command says it: a `Change` made at each write would cost a fifth of its apply."""
        return Change(key, command[1]) if len(command) == 2 else Change(key, None, "delete")

    def offers_stream(self, key: Any) -> bool:
        """Keys, and no prefixes: nothing here could be asked for them, where a stream has lost its place."""
        if type(key) is Prefix:
            return False
        _checked_key(key)
        return True

    def query(self, query: Any) -> Answer:
        """Rejects "bad_key"."""
        key = query if type(query) is str else _checked_key(query)
        return Answer(self._data.get(key, NOT_FOUND), (key,))

    def expire_session(self, session: int, ctx: Context) -> Iterable[Any]:
        """Removes every key of the session."""
        keys = tuple(self._owned.pop(session, ()))
        for key in keys:
            del self._data[key], self._owner[key]
            if self._is_merging:
                self._merge()
        return keys

    def _set_owner(self, key: Any, ctx: Context) -> None:
        """The key was just written: it is now its writer's if the write was temporary, and nobody's otherwise."""
        self._disown(key)
        if ctx.temporary and ctx.session is not None:
            self._owner[key] = ctx.session
            self._owned.setdefault(ctx.session, {})[key] = None

    def _disown(self, key: Any) -> None:
        session = self._owner.get(key)
        if session is not None:
            del self._owner[key]
            keys = self._owned[session]
            del keys[key]
            if not keys:
                del self._owned[session]

    def snapshot(self) -> SnapshotWriter:
        """Holds the two tables as they are, and copies nothing: what changes from now on lies above them."""
        data, owner = _overlaid(self._data), _overlaid(self._owner)
        self._data, self._owner, self._is_merging = data, owner, False
        captured, captured_owner = data.capture(), owner.capture()

        def write(directory: Directory) -> None:
            items = _pairs(captured.pairs(), captured_owner.lookup())
            write_chunks(directory, _FILE, format=_FORMAT, count=len(captured), items=items)

        return write

    def snapshot_done(self) -> None:
        """What changed meanwhile is merged, a little with each further change."""
        self._release()

    def snapshot_failed(self, error: Exception) -> None:
        """As when it is done: the tables are not needed as they were."""
        self._release()

    def _release(self) -> None:
        data, owner = self._data, self._owner
        if isinstance(data, Overlay) and isinstance(owner, Overlay):
            data.release()
            owner.release()
            self._is_merging = not data.is_held
            self._merge()

    def _merge(self) -> None:
        """Some of what changed goes where it belongs; with the last of it the plain dicts are back."""
        data, owner = self._data, self._owner
        if isinstance(data, Overlay) and isinstance(owner, Overlay) and data.merge() and owner.merge():
            self._data, self._owner, self._is_merging = data.below, owner.below, False

    def install_snapshot(self, directory: Directory) -> None:
        """Raises `CorruptData` where the file is not one that `snapshot` wrote; the instance is then of no use."""
        read_chunks(directory, _FILE, self._install_pairs, format=_FORMAT)

    def _install_pairs(self, pairs: list[Any]) -> int:
        for pair in pairs:
            self._install(*pair)
        return len(self._data)

    def _install(self, key: Any, value: Value, session: int | None = None) -> None:
        key = _checked_key(key)
        self._data[key] = value
        if session is not None:
            self._owner[key] = session
            self._owned.setdefault(session, {})[key] = None

    def digest(self) -> int:
        """The sum of a 64-bit hash of every key with its value and owner: the order of the keys does not matter.

        Costs 1 to 2 µs a key, so it is computed when asked for.
        """
        return sum(_digest(pair) for pair in _pairs(self._data.items(), self._owner)) & ((1 << 64) - 1)

    def sample(self, changed: Sequence[Any], index: int) -> int:
        """Over all keys where they are few, else over the changed ones; and over how many there are."""
        data, owner = self._data, self._owner
        keys = data if len(data) <= ALARM_WHOLE else dict.fromkeys(map(_checked_key, changed))
        parts = ((key, data.get(key, NOT_FOUND), owner.get(key)) for key in keys)
        return sum(map(checksum_of, parts), checksum_of((len(data), len(owner))))

    def temporary_count(self) -> int:
        """The keys that belong to a session."""
        return len(self._owner)

    @property
    def size(self) -> int:
        """How many keys there are."""
        return len(self._data)


def _checked_key(key: Any) -> Any:
    """The key as a dict takes it: arrays are tuples at every depth."""
    kind = type(key)
    if kind in _PLAIN_KEYS or (kind is float and key == key):
        return key
    if kind is list or kind is tuple:
        return tuple([_checked_key(part) for part in key])
    raise Reject("bad_key", "NaN is no key" if kind is float else f"{kind.__name__} is no key")


def _overlaid(table: dict[Any, Any] | Overlay[Any, Any]) -> Overlay[Any, Any]:
    return table if isinstance(table, Overlay) else Overlay(table)


def _pairs(items: Iterable[tuple[Any, Value]], owner: Mapping[Any, int]) -> Iterator[bytes]:
    """Every key with its value, and its owner where it has one, encoded."""
    for key, value in items:
        session = owner.get(key)
        yield encode_value([key, value] if session is None else [key, value, session])


def _digest(pair: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(pair, digest_size=8).digest(), "big")
