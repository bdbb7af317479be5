"""A change of a group's members, from what the caller wants to what the group is asked (§4.1, §4.3).

    the change is under way, or done      joined: the very members that the group knows of
    `old_peers` are not the present ones  PeersChanged
    otherwise, for each peer that shall be a member, what its node has:
        the member that the group knows        stays what it is
        nothing, or a blank replica            a new member, also in place of one that lost its data (BM-043)
        a replica that the group left out      deleted, and a new one takes its place: who was dropped never comes back
        a replica of another group             CreateError
        no answer                              a member stays; a new peer cannot be made

Whatever this made is removed again where the group certainly did not take it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from zraft.client.caller import Caller, each
from zraft.client.groups import Standing, create_error, distinct, entry_of, remove_blank, start
from zraft.errors import (
    CatchUpTimeout,
    ChangeInProgress,
    MembershipError,
    PeersChanged,
    PeerUnavailable,
    RequestError,
    ZraftError,
)
from zraft.types import Member, PeerId
from zraft.wire.requests import ChangeMembership, Conf, GetConf, RemovePeer, Result

LOOK_S: Final = 1.0
"""How long a node is asked what it has, before it counts as down."""


async def change(
    caller: Caller, peer: PeerId, new: Sequence[PeerId], old: Sequence[PeerId], seconds: float
) -> list[PeerId]:
    """See `zraft.set_new_conf`."""
    deadline = caller.deadline(seconds)
    new, old = distinct(new), distinct(old)
    conf, leader = await caller.call(
        peer,
        lambda number, name: GetConf(number, name, in_force=True),
        Conf,
        deadline=deadline,
        seconds=seconds,
        is_read=True,
    )
    made: list[Member] = []
    try:
        known = _members_to_join(conf, new, old)
        members = known or await _members_to_be(caller, conf, new, made, deadline)
        await caller.call(
            leader,
            lambda number, name: ChangeMembership(number, name, members, old, 0 if known else conf.index),
            Result,
            deadline=deadline,
            seconds=seconds,
        )
    except ZraftError as error:
        if isinstance(error, CatchUpTimeout) or not isinstance(error, RequestError) or error.executed == "no":
            await remove_blank(caller, made, conf.group)
        raise
    return new


def _members_to_join(conf: Conf, new: list[PeerId], old: list[PeerId]) -> list[Member]:
    """The members that the group is on the way to, or at, where that is what is wanted; empty: it must be begun.

    Raises PeersChanged, ChangeInProgress.
    """
    goal = {member.peer: member for member in conf.target or conf.members}
    present = tuple(member.peer for member in conf.outgoing or conf.members)
    is_same = sorted(goal) == sorted(new)
    if is_same and (conf.is_changing or sorted(old) != sorted(present)):
        return [goal[peer] for peer in new]
    if sorted(old) != sorted(present):
        raise PeersChanged(f"the peers are {', '.join(map(str, present))}", peers=present)
    if conf.is_changing:
        raise ChangeInProgress(f"the group is changing to {', '.join(map(str, goal))}; wait for that, or join it")
    return []


async def _members_to_be(
    caller: Caller, conf: Conf, new: list[PeerId], made: list[Member], deadline: float
) -> list[Member]:
    """A replica for each of the peers. Those made here are added to `made`, whatever else happens."""
    known = {member.peer: member for member in conf.members}

    async def look_or_make(peer: PeerId) -> Member | Standing | RequestError:
        try:
            return await _look_or_make(caller, peer, conf, known.get(peer), made, deadline)
        except (Standing, RequestError) as problem:
            return problem

    found = await each(look_or_make(peer) for peer in new)
    standing = {peer: what for peer, what in zip(new, found, strict=True) if isinstance(what, Standing)}
    if standing:
        raise create_error(standing)
    members = []
    for what in found:
        if isinstance(what, RequestError):
            raise what
        if isinstance(what, Member):
            members.append(what)
    return members


async def _look_or_make(
    caller: Caller, peer: PeerId, conf: Conf, known: Member | None, made: list[Member], deadline: float
) -> Member:
    """See the table at the top. Raises Standing, RequestError."""
    try:
        entry = await entry_of(caller, peer, min(deadline, caller.deadline(LOOK_S)))
    except RequestError as error:
        if known is not None:
            return known
        text = f"{peer.node} cannot be reached, and {peer} is new: start that node first"
        raise PeerUnavailable(text) from error
    if entry is not None and entry.group == conf.group:
        if entry.member == known or entry.role == "blank":
            return entry.member
        try:
            await caller.ask(
                peer.node,
                lambda number: RemovePeer(number, peer.name, conf.group, conf.index),
                Result,
                deadline=deadline,
            )
        except MembershipError as error:
            raise ChangeInProgress(f"{peer} was added to its group meanwhile; ask for the configuration") from error
    member = await start(caller, peer, conf.group, conf.backend, deadline)
    made.append(member)
    return member
