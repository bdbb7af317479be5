"""Where watches of either kind are filed: by key and prefix, by connection and number, by session.

To find whom a change concerns takes one look for its key and one for each length of prefix that anybody watches.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

from zraft import limits
from zraft.errors import Overloaded
from zraft.peer.duties import Client
from zraft.wire.changes import Place, is_prefix


class Filed:
    """What is filed: watch `number` of a connection, of a session, at places as `wire.changes.place_of` names them."""

    __slots__ = ("client", "number", "places", "session")

    def __init__(self, client: Client, number: int, session: int, places: tuple[Hashable, ...]) -> None:
        self.client, self.number, self.session, self.places = client, number, session, places


FiledT = TypeVar("FiledT", bound=Filed)


class Filing(Generic[FiledT]):
    """What is open at one leader, of one kind."""

    __slots__ = ("_by_client", "_by_place", "_by_session", "_lengths", "count")

    def __init__(self) -> None:
        self.count = 0
        self._by_place: dict[Hashable, dict[FiledT, None]] = {}
        self._lengths: dict[tuple[type, int], int] = {}
        """How many filed prefixes are of this kind and length."""
        self._by_client: dict[Client, dict[int, FiledT]] = {}
        self._by_session: dict[int, dict[FiledT, None]] = {}

    def file(self, item: FiledT) -> None:
        """It is open from now on, in place of what had its number. Raises `Overloaded` where too many are."""
        own = self._by_client.get(item.client, {})
        earlier = own.get(item.number)
        if earlier is None and (self.count >= limits.WATCHES or len(own) >= limits.WATCHES_PER_CLIENT):
            raise Overloaded(f"{len(own)} watches are open on this connection, {self.count} here", reason="watches")
        if earlier is not None:
            self.remove(earlier)
        self.count += 1
        self._by_client.setdefault(item.client, {})[item.number] = item
        self._by_session.setdefault(item.session, {})[item] = None
        for place in item.places:
            filed = self._by_place.setdefault(place, {})
            if not filed and type(place) is tuple and is_prefix(place):
                kind = place[:2]
                self._lengths[kind] = self._lengths.get(kind, 0) + 1
            filed[item] = None

    def concerned_by(self, key: Hashable) -> list[FiledT]:
        """What is filed under the plain `key`, or under a prefix of it, in order; more than once under several."""
        by_place = self._by_place
        return [item for place in (key, *self._prefixes_of(key)) for item in by_place.get(place, ())]

    def _prefixes_of(self, key: Hashable) -> list[Place]:
        kind = type(key)
        if not isinstance(key, str | bytes | tuple) or not self._lengths:
            return []
        return [(kind, n, key[:n]) for of, n in self._lengths if of is kind and n <= len(key)]

    def everything(self) -> list[FiledT]:
        """By connection."""
        return [item for own in self._by_client.values() for item in own.values()]

    def clear(self) -> None:
        """Nothing is open."""
        self.count = 0
        for table in (self._by_place, self._lengths, self._by_client, self._by_session):
            table.clear()

    def forget_client(self, client: Client) -> None:
        """Its connection is gone, and what it had open with it."""
        for item in list(self._by_client.get(client, {}).values()):
            self.remove(item)

    def forget_numbers(self, client: Client, session: int, numbers: Iterable[int]) -> None:
        """Nobody wants to know any more of what the session has open under these numbers of the connection."""
        own = self._by_client.get(client, {})
        for number in numbers:
            item = own.get(number)
            if item is not None and item.session == session:
                self.remove(item)

    def forget_session(self, session: int) -> None:
        """It has ended: nobody may hear more of it than that."""
        for item in list(self._by_session.get(session, ())):
            self.remove(item)

    def remove(self, item: FiledT) -> None:
        """It is open no more."""
        self.count -= 1
        own = self._by_client[item.client]
        del own[item.number]
        if not own:
            del self._by_client[item.client]
        siblings = self._by_session[item.session]
        del siblings[item]
        if not siblings:
            del self._by_session[item.session]
        for place in item.places:
            filed = self._by_place[place]
            del filed[item]
            if filed:
                continue
            del self._by_place[place]
            if type(place) is tuple and is_prefix(place):
                kind = place[:2]
                self._lengths[kind] -= 1
                if not self._lengths[kind]:
                    del self._lengths[kind]
