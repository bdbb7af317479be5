"""Watches at a leader: on keys and prefixes, one shot each, told to the connection that set them.

In the leader's memory and nowhere else. A watch is set in the moment in which its query runs, so the first change that
is applied after that fires it, and none is missed; it goes with its connection, its session, or the leadership. Whoever
set it hears of the last, so nobody takes a dead watch for a living one (BM-089).

Each is bounded in keys, and all are in number: what fires fits into what a connection may have waiting, and whoever
reads too slowly loses the connection instead of a trigger (BM-083).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any, Final, TypeAlias

from zraft import limits
from zraft.errors import Overloaded
from zraft.machine.backend import Change, Prefix
from zraft.peer.duties import Client
from zraft.types import Index
from zraft.wire.session_requests import Triggered, TriggerReason

KEYS_AT_MOST: Final = 1024
"""Keys of one watch: a query that read more is watched as a prefix, or not at all."""

Push: TypeAlias = Callable[[Client, Triggered], None]


class Watch:
    """One watch. `places` is where it is filed: keys as they are, prefixes as `_Place`."""

    __slots__ = ("client", "number", "places", "session")

    def __init__(self, client: Client, number: int, session: int, places: tuple[Hashable, ...]) -> None:
        self.client, self.number, self.session, self.places = client, number, session, places


_Place: TypeAlias = tuple[type, int, Hashable]
"""Where a prefix is filed: kind of key, length, and the prefix itself. A tuple of a type, so it is no key."""


class Watches:
    """The open watches at one leader."""

    __slots__ = ("_by_client", "_by_place", "_by_session", "_lengths", "_push", "count")

    def __init__(self, push: Push) -> None:
        self._push = push
        self.count = 0
        self._by_place: dict[Hashable, dict[Watch, None]] = {}
        self._lengths: dict[tuple[type, int], int] = {}
        """How many filed prefixes are of this kind and length."""
        self._by_client: dict[Client, dict[int, Watch]] = {}
        self._by_session: dict[int, dict[Watch, None]] = {}

    def add(self, client: Client, number: int, session: int, keys: Iterable[Any]) -> None:
        """Watch `keys`, each a key or a `Prefix`; an open watch of this number is replaced.

        Raises `Overloaded` where too many are open here or on this connection, or it has too many keys.
        """
        own = self._by_client.get(client, {})
        earlier = own.get(number)
        places = tuple(dict.fromkeys(_filed(key) for key in keys))
        if len(places) > KEYS_AT_MOST:
            raise Overloaded(f"a watch on {len(places)} keys; {KEYS_AT_MOST} is the most", reason="watches")
        if earlier is None and (self.count >= limits.WATCHES or len(own) >= limits.WATCHES_PER_CLIENT):
            raise Overloaded(f"{len(own)} watches are open on this connection, {self.count} here", reason="watches")
        if earlier is not None:
            self._remove(earlier)
        watch = Watch(client, number, session, places)
        self.count += 1
        self._by_client.setdefault(client, {})[number] = watch
        self._by_session.setdefault(session, {})[watch] = None
        for place in places:
            filed = self._by_place.setdefault(place, {})
            if not filed and type(place) is tuple and _is_prefix(place):
                kind = place[:2]
                self._lengths[kind] = self._lengths.get(kind, 0) + 1
            filed[watch] = None

    def fire(self, changes: Iterable[tuple[Index, tuple[Any, ...]]]) -> None:
        """Each watch on something that changed fires for the first change, and is open no more."""
        for index, keys in changes:
            for key in keys:
                plain = _plain(key.key if type(key) is Change else key)
                for place in (plain, *self._prefixes_of(plain)):
                    for watch in list(self._by_place.get(place, ())):
                        self._remove(watch)
                        self._push(watch.client, Triggered(watch.number, index, TriggerReason.CHANGE))
            if not self.count:
                return

    def _prefixes_of(self, key: Hashable) -> list[_Place]:
        kind = type(key)
        if not isinstance(key, str | bytes | tuple) or not self._lengths:
            return []
        return [(kind, n, key[:n]) for of, n in self._lengths if of is kind and n <= len(key)]

    def close(self) -> None:
        """The leadership is gone: whoever watches has to set it again elsewhere."""
        for watches in list(self._by_client.values()):
            for watch in list(watches.values()):
                self._push(watch.client, Triggered(watch.number, 0, TriggerReason.CHANGE_LEADER))
        self.count = 0
        for table in (self._by_place, self._lengths, self._by_client, self._by_session):
            table.clear()

    def forget_client(self, client: Client) -> None:
        """Its connection is gone, and its watches with it."""
        for watch in list(self._by_client.get(client, {}).values()):
            self._remove(watch)

    def forget_session(self, session: int) -> None:
        """It has ended: nobody may hear more of it than that."""
        for watch in list(self._by_session.get(session, ())):
            self._remove(watch)

    def _remove(self, watch: Watch) -> None:
        self.count -= 1
        own = self._by_client[watch.client]
        del own[watch.number]
        if not own:
            del self._by_client[watch.client]
        siblings = self._by_session[watch.session]
        del siblings[watch]
        if not siblings:
            del self._by_session[watch.session]
        for place in watch.places:
            filed = self._by_place[place]
            del filed[watch]
            if filed:
                continue
            del self._by_place[place]
            if type(place) is tuple and _is_prefix(place):
                kind = place[:2]
                self._lengths[kind] -= 1
                if not self._lengths[kind]:
                    del self._lengths[kind]


def _is_prefix(place: tuple[Any, ...]) -> bool:
    return len(place) == 3 and isinstance(place[0], type)


def _filed(key: Any) -> Hashable:
    """Where a watch on `key` is filed."""
    if type(key) is not Prefix:
        return _plain(key)
    prefix = _plain(key.key)
    if isinstance(prefix, str | bytes | tuple):
        return (type(prefix), len(prefix), prefix)
    return prefix


def _plain(key: Any) -> Hashable:
    """A key that a dict takes: arrays are tuples, and what cannot be a key at all is its text."""
    if type(key) is list or type(key) is tuple:
        return tuple([_plain(part) for part in key])
    return key if isinstance(key, Hashable) else repr(key)
