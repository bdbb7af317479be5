"""Watches at a leader: on keys and prefixes, one shot each, told to the connection that set them.

In the leader's memory and nowhere else. A watch is set in the moment in which its query runs, so the first change that
is applied after that fires it, and none is missed; it goes with its connection, its session, or the leadership. Whoever
set it hears of the last, so nobody takes a dead watch for a living one (BM-089).

Each is bounded in keys, and all are in number: what fires fits into what a connection may have waiting, and whoever
reads too slowly loses the connection instead of a trigger (BM-083).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

from zraft.errors import Overloaded
from zraft.machine.backend import Change
from zraft.peer.duties import Client
from zraft.peer.filing import Filed, Filing
from zraft.types import Index
from zraft.wire.changes import place_of, plain
from zraft.wire.session_requests import Triggered, TriggerReason

KEYS_AT_MOST: Final = 1024
"""Keys of one watch: a query that read more is watched as a prefix, or not at all."""

Push: TypeAlias = Callable[[Client, Triggered], None]


class Watches(Filing[Filed]):
    """The open watches at one leader."""

    __slots__ = ("_push",)

    def __init__(self, push: Push) -> None:
        super().__init__()
        self._push = push

    def add(self, client: Client, number: int, session: int, keys: Iterable[Any]) -> None:
        """Watch `keys`, each a key or a `Prefix`; an open watch of this number is replaced.

        Raises `Overloaded` where too many are open here or on this connection, or it has too many keys.
        """
        places = tuple(dict.fromkeys(place_of(key) for key in keys))
        if len(places) > KEYS_AT_MOST:
            raise Overloaded(f"a watch on {len(places)} keys; {KEYS_AT_MOST} is the most", reason="watches")
        self.file(Filed(client, number, session, places))

    def fire(self, changes: Iterable[tuple[Index, tuple[Any, ...]]]) -> None:
        """Each watch on something that changed fires for the first change, and is open no more."""
        for index, keys in changes:
            for key in keys:
                for watch in dict.fromkeys(self.concerned_by(plain(key.key if type(key) is Change else key))):
                    self.remove(watch)
                    self._push(watch.client, Triggered(watch.number, index, TriggerReason.CHANGE))
            if not self.count:
                return

    def close(self) -> None:
        """The leadership is gone: whoever watches has to set it again elsewhere."""
        for watch in self.everything():
            self._push(watch.client, Triggered(watch.number, 0, TriggerReason.CHANGE_LEADER))
        self.clear()
