"""The birth of a group: a blank replica gets the first configuration as entry 1 (§4.4)."""

from __future__ import annotations

from zraft.core.entries import Batch, Kind
from zraft.core.events import Bootstrap
from zraft.core.memberships import encode_membership
from zraft.core.replica import Replica
from zraft.core.roles import Follower
from zraft.errors import UsageError


def on_bootstrap(replica: Replica, event: Bootstrap) -> None:
    """Entry 1 of term 1 is `event.membership`. Raises UsageError where the replica is not blank or not a voter in it.

    An only voter campaigns at once; nobody else can lead.
    """
    if replica.membership is not None or replica.log.last_index or replica.current_term:
        raise UsageError(f"{replica.me} is not blank: {replica.log!r}, term {replica.current_term}")
    if not event.membership.is_voter(replica.me):
        raise UsageError(f"{replica.me} is not among the voters that it should found a group with")
    replica.set_term(1)
    replica.append(Batch(1, 1, 1, 0, 0, Kind.CONFIGURATION, encode_membership(event.membership)))
    replica.memberships.append(1, event.membership)
    replica.fact("founds a group")
    replica.become_follower(None)
    if event.membership.voters == (replica.me,) and event.membership.is_stable:
        replica.role = Follower(election_due_ms=replica.now)
