"""Replicas that left their group: they stop, and what a voter held is kept under another name.

    t  ──left its group──> t.removed-00c0ffee00c0ffee     a new replica may be called t from then on

The other name ends with the replica's own incarnation, which is drawn after a name was given: so nobody can have chosen
it, and a node that starts knows by the name alone what must not run. Nothing else about the data changes; it is kept
until somebody removes it, under the old name or the new one. What only ever was a learner, or nothing, is not kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import msgspec

from zraft.peer.down import FailedPeer
from zraft.types import Member, PeerId
from zraft.wire.requests import REMOVED, PeerEntry, kept_name

if TYPE_CHECKING:
    from zraft.peer.host import Host
    from zraft.peer.peer import Peer

GONE: Final = -1
"""The number of the save that forgets a replica."""

KEPT: Final = "removed from its group: it does not run, and its data is kept until somebody removes it"


def set_aside(host: Host, peer: Peer) -> None:
    """The replica runs no longer. What it holds is kept, where its vote ever counted."""
    meta, memberships, me = peer.meta, peer.raft.memberships, peer.raft.me
    host.forget_peer(meta.name, "was removed from its group")
    if not memberships.ever_voter(me):
        host.shelf.leave(meta)
        host.store.remove_replica(meta.name, GONE)
        host.note(meta.name, "is not wanted by its group: deleted, it never had a vote")
        return
    kept = msgspec.structs.replace(meta, name=kept_name(meta.name, meta.incarnation))
    host.store.rename_replica(meta.name, kept.name)
    host.aside[kept.name] = FailedPeer(kept, KEPT, memberships)
    host.note(meta.name, f"was removed from its group; its data is kept as {kept.name}")


def kept_entry(host: Host, name: str) -> PeerEntry | None:
    """What was called `name`, or is now, and is kept; where there are several of them, any."""
    return next((entry for entry in kept_entries(host) if entry.is_called(name)), None)


def kept_entries(host: Host) -> Iterable[PeerEntry]:
    """Whatever is kept, by the name that it has now."""
    for kept in host.aside.values():
        meta = kept.meta
        yield PeerEntry(Member(PeerId(meta.name, host.node), meta.incarnation), meta.group, meta.backend, REMOVED)
