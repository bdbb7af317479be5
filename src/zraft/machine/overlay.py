"""A dict that is captured without a copy: what changes afterwards lies above it until the capture is over.

    below    the dict as it was captured; the thread that writes a snapshot reads it, so nothing changes it
    changed  keys of it that have another value now
    gone     keys of it that were removed
    added    keys that are not in it, or were gone

Once no capture is held, `merge` takes a few keys from above at a time. Who calls it after each change has more taken
away than a change puts there: what lies above shrinks as long as anything happens, and nothing waits for all of it.

Keys are those of one dict: 1, 1.0 and True are one key, and the first one stored is kept until it is removed. Values
are only ever replaced: whoever changed one in place would change what was captured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import Final, TypeVar, overload

from zraft.errors import UsageError

KeyT = TypeVar("KeyT")
ValueT = TypeVar("ValueT")
OtherT = TypeVar("OtherT")

MERGED: Final = 4
"""Keys that `merge` takes from above: one that the change before it may have put there, and three."""


class _Layers(Mapping[KeyT, ValueT]):
    """A dict and what lies above it."""

    __slots__ = ("_added", "_below", "_changed", "_gone")

    def __init__(
        self,
        below: dict[KeyT, ValueT],
        changed: dict[KeyT, ValueT],
        gone: dict[KeyT, None],
        added: dict[KeyT, ValueT],
    ) -> None:
        self._below, self._changed, self._gone, self._added = below, changed, gone, added

    def __len__(self) -> int:
        return len(self._below) - len(self._gone) + len(self._added)

    def __contains__(self, key: object) -> bool:
        return key in self._added or (key in self._below and key not in self._gone)

    def __getitem__(self, key: KeyT) -> ValueT:
        if key in self._added:
            return self._added[key]
        if key in self._changed:
            return self._changed[key]
        if key in self._gone:
            raise KeyError(key)
        return self._below[key]

    @overload
    def get(self, key: KeyT, /) -> ValueT | None: ...
    @overload
    def get(self, key: KeyT, /, default: ValueT | OtherT) -> ValueT | OtherT: ...
    def get(self, key: KeyT, /, default: object = None) -> object:
        """What `__getitem__` finds, or `default`."""
        if key in self._added:
            return self._added[key]
        if key in self._changed:
            return self._changed[key]
        if key in self._gone:
            return default
        return self._below.get(key, default)

    def __iter__(self) -> Iterator[KeyT]:
        return (key for key, _ in self._pairs())

    def _pairs(self) -> Iterator[tuple[KeyT, ValueT]]:
        changed, gone = self._changed, self._gone
        if changed or gone:
            for key, value in self._below.items():
                if key in changed:
                    yield key, changed[key]
                elif key not in gone:
                    yield key, value
        else:
            yield from self._below.items()
        yield from self._added.items()


class Capture(_Layers[KeyT, ValueT]):
    """What was there at one moment. To be read, from any thread, until it `is_held` no longer."""

    __slots__ = ("is_held",)

    is_held: bool

    def pairs(self) -> Iterator[tuple[KeyT, ValueT]]:
        """Every key with its value. Raises `UsageError` where it was not held until the last of them was given."""
        self._check()
        yield from self._pairs()
        self._check()

    def lookup(self) -> Mapping[KeyT, ValueT]:
        """The same as a mapping: the dict itself where that is all, since it is the quickest."""
        return self if self._changed or self._gone or self._added else self._below

    def _check(self) -> None:
        if not self.is_held:
            raise UsageError("a captured state is written before snapshot_done or snapshot_failed is called")


class Overlay(_Layers[KeyT, ValueT], MutableMapping[KeyT, ValueT]):
    """Takes the place of a dict, which is nobody else's to change until it is `below` again and everything."""

    __slots__ = ("_captures",)

    def __init__(self, below: dict[KeyT, ValueT]) -> None:
        super().__init__(below, {}, {}, {})
        self._captures: list[Capture[KeyT, ValueT]] = []

    @property
    def below(self) -> dict[KeyT, ValueT]:
        """The dict, which is everything where `merge` says so."""
        return self._below

    @property
    def is_held(self) -> bool:
        """A capture is: what is below does not change."""
        return bool(self._captures)

    def __setitem__(self, key: KeyT, value: ValueT) -> None:
        if key not in self._added and key in self._below and key not in self._gone:
            self._changed[key] = value
        else:
            self._added[key] = value

    def __delitem__(self, key: KeyT) -> None:
        if key in self._added:
            del self._added[key]
        elif key in self._below and key not in self._gone:
            self._changed.pop(key, None)
            self._gone[key] = None
        else:
            raise KeyError(key)

    def capture(self) -> Capture[KeyT, ValueT]:
        """Holds what is there now. Copies what lies above, which is nothing but soon after another capture."""
        capture = Capture(self._below, self._changed.copy(), self._gone.copy(), self._added.copy())
        capture.is_held = True
        self._captures.append(capture)
        return capture

    def release(self) -> None:
        """The last capture is held no longer, if there is one."""
        if self._captures:
            self._captures.pop().is_held = False

    def merge(self) -> bool:
        """A few keys go where they belong, below. True: all are there; False at any rate while a capture is held."""
        if self._captures:
            return False
        below, changed, gone, added = self._below, self._changed, self._gone, self._added
        for _ in range(MERGED):
            if changed:
                key, value = changed.popitem()
                below[key] = value
            elif gone:
                key, _nothing = gone.popitem()
                del below[key]
            elif added:
                key, value = added.popitem()
                below[key] = value
            else:
                return True
        return not (changed or gone or added)
