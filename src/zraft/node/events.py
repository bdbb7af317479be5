"""What an application that acts when it leads is told: changes of role, leader and configuration, in order.

An iterator keeps at most `EVENTS_KEPT` events that nobody has taken; beyond that only the newest of each peer stay, so
that a slow reader misses steps on the way and never where things stand.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import Iterable
from typing import Final

import msgspec

from zraft.peer.duties import PeerView
from zraft.types import Index, PeerId, Term

EVENTS_KEPT: Final = 1024


class PeerEvent(msgspec.Struct, frozen=True):
    """One peer as it is since this event.

    `changed` names what is different: "role", "term", "leader", "configuration"; it is empty in the events that an
    iterator begins with, one for each peer. `role` is one of `PeerStatus`, or "removed". `peers` are those of the last
    stable configuration that the peer knows to be committed, which stands at `conf_index`.
    """

    peer: PeerId
    role: str
    term: Term
    leader: PeerId | None
    conf_index: Index
    peers: tuple[PeerId, ...]
    changed: tuple[str, ...] = ()


def event_of(view: PeerView, before: PeerView | None) -> PeerEvent | None:
    """The event between two views of one peer; None where nothing changed."""
    pairs = (
        ("role", before is None or view.role != before.role),
        ("term", before is not None and view.term != before.term),
        ("leader", before is not None and view.leader != before.leader),
        ("configuration", before is not None and view.conf_index != before.conf_index),
    )
    changed = tuple(name for name, is_changed in pairs if is_changed)
    return _event(view, changed) if changed else None


def _event(view: PeerView, changed: tuple[str, ...] = ()) -> PeerEvent:
    return PeerEvent(view.peer, view.role, view.term, view.leader, view.conf_index, view.peers, changed)


class Feed:
    """An async iterator of `PeerEvent`; ends when the node has stopped."""

    def __init__(self, present: Iterable[PeerView]) -> None:
        self._events = deque(_event(view) for view in present)
        self._news = asyncio.Event()
        self._is_closed = False

    def put(self, event: PeerEvent) -> None:
        """One more."""
        self._events.append(event)
        if len(self._events) > EVENTS_KEPT:
            newest = {kept.peer: kept for kept in self._events}
            self._events = deque(kept for kept in self._events if newest[kept.peer] is kept)
        self._news.set()

    def close(self) -> None:
        """There will be no more."""
        self._is_closed = True
        self._news.set()

    def __aiter__(self) -> Feed:
        return self

    async def __anext__(self) -> PeerEvent:
        while not self._events:
            if self._is_closed:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        return self._events.popleft()


class Announcer:
    """Tells every feed that somebody still holds what is different."""

    def __init__(self) -> None:
        self._views: dict[PeerId, PeerView] = {}
        self._feeds: weakref.WeakSet[Feed] = weakref.WeakSet()

    def feed(self, present: Iterable[PeerView]) -> Feed:
        """A new feed, which begins with every peer as it is."""
        feed = Feed(present)
        self._feeds.add(feed)
        return feed

    def tell(self, view: PeerView) -> None:
        """A peer may be different now."""
        event = event_of(view, self._views.get(view.peer))
        if view.role == "removed":
            self._views.pop(view.peer, None)
        else:
            self._views[view.peer] = view
        if event is not None:
            for feed in list(self._feeds):
                feed.put(event)

    def close(self) -> None:
        """There is nothing more to tell."""
        for feed in list(self._feeds):
            feed.close()
