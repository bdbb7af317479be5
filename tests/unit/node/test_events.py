"""What applications are told: every change once, in order, and where things stand when they are slow."""

from __future__ import annotations

import asyncio

import msgspec

from zraft.node.events import EVENTS_KEPT, Announcer, Feed, PeerEvent, event_of
from zraft.peer.duties import PeerView
from zraft.types import PeerId

P, Q = PeerId("p", "n1:1"), PeerId("q", "n1:1")
FOLLOWER = PeerView(P, "follower", 3, Q, 1, (P, Q))


def view(peer: PeerId = P, **changes: object) -> PeerView:
    return msgspec.structs.replace(FOLLOWER, peer=peer, **changes)


def taken(feed: Feed) -> list[PeerEvent]:
    """Everything that waits in the feed, which is closed by this."""

    async def take() -> list[PeerEvent]:
        feed.close()
        return [event async for event in feed]

    return asyncio.run(take())


def test_an_event_names_what_changed() -> None:
    """Role, term, leader and configuration, each by its name; nothing is no event."""
    assert event_of(FOLLOWER, FOLLOWER) is None
    leads = event_of(view(role="leader", term=4, leader=P), FOLLOWER)
    assert leads is not None
    assert leads.changed == ("role", "term", "leader")
    smaller = event_of(view(conf_index=9, peers=(P,)), FOLLOWER)
    assert smaller is not None
    assert (smaller.changed, smaller.peers) == (("configuration",), (P,))
    new = event_of(FOLLOWER, None)
    assert new is not None
    assert new.changed == ("role",)


def test_a_feed_begins_with_what_is() -> None:
    """Whoever begins to listen knows at once who leads."""
    announcer = Announcer()
    announcer.tell(FOLLOWER)
    feed = announcer.feed([FOLLOWER, view(Q)])
    announcer.tell(FOLLOWER)
    announcer.tell(view(role="leader"))
    events = taken(feed)
    assert [(event.peer, event.role, event.changed) for event in events] == [
        (P, "follower", ()),
        (Q, "follower", ()),
        (P, "leader", ("role",)),
    ]


def test_a_slow_reader_misses_steps_and_never_the_end() -> None:
    """Beyond the bound only the newest event of each peer is kept, in order."""
    announcer = Announcer()
    feed = announcer.feed([view(Q)])
    for term in range(4, 4 + EVENTS_KEPT):
        announcer.tell(view(term=term))
    events = taken(feed)
    assert [(event.peer, event.term) for event in events] == [(Q, 3), (P, 3 + EVENTS_KEPT)]


def test_a_removed_peer_may_come_again() -> None:
    """It is told as new, not compared with the one before."""
    announcer = Announcer()
    feed = announcer.feed([])
    announcer.tell(FOLLOWER)
    announcer.tell(PeerView(P, "removed"))
    announcer.tell(FOLLOWER)
    assert [event.role for event in taken(feed)] == ["follower", "removed", "follower"]


def test_a_reader_waits_until_there_is_something_or_the_end() -> None:
    """The iterator sleeps; closing ends it."""

    async def story() -> list[str]:
        announcer = Announcer()
        feed = announcer.feed([])
        roles = []

        async def read() -> None:
            roles.extend([event.role async for event in feed])

        task = asyncio.create_task(read())
        await asyncio.sleep(0)
        assert not task.done()
        announcer.tell(FOLLOWER)
        await asyncio.sleep(0)
        announcer.close()
        await task
        return roles

    assert asyncio.run(story()) == ["follower"]


def test_a_feed_that_nobody_holds_costs_nothing() -> None:
    """An iterator that was dropped is gone: nothing is kept for it."""
    announcer = Announcer()
    announcer.feed([])
    assert len(announcer._feeds) == 0
