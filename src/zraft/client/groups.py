"""Requests in several steps: make a group, delete peers. How its members change is in `changing`.

A group is made on blank peers: replicas that hold nothing, belong to no configuration and never campaign. Whatever goes
wrong before the first of them is made the founder leaves nothing behind: the blank ones are removed again.

Nothing here is atomic, and nothing has to be: a step that is repeated, by the same caller or another, does no harm.
"""

from __future__ import annotations

import asyncio
import secrets as chance
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from zraft.client.caller import Caller, each
from zraft.errors import (
    CreateError,
    CreateProblem,
    MembershipError,
    PeerUnavailable,
    RequestError,
    RequestTimeout,
    UsageError,
)
from zraft.types import GroupId, Member, PeerId
from zraft.wire.requests import (
    REMOVED,
    Bootstrap,
    ChangeMembership,
    Conf,
    GetConf,
    ListPeers,
    PeerEntry,
    Peers,
    RemovePeer,
    Result,
    Started,
    StartPeer,
    Stat,
    Status,
)

OPEN_S: Final = 5.0
"""How long a light session looks for the configuration of its group."""
CLEAN_UP_S: Final = 1.0
"""How long a failed `create` takes to remove what it made."""
BLANK_S: Final = 0.3
"""A blank peer of another group is somebody's who is at work, or was left behind: it is looked at twice."""


_Made: TypeAlias = tuple[GroupId, list[Member]]
"""A group, and replicas that were made for it."""


class Standing(Exception):
    """A peer that stands in the way of a new group, and why."""

    def __init__(self, problem: CreateProblem) -> None:
        self.problem: CreateProblem = problem
        super().__init__(problem)


def distinct(peers: Sequence[PeerId]) -> list[PeerId]:
    """The peers, if there are any and none twice. Raises `UsageError`."""
    if not peers or len(set(peers)) < len(peers):
        raise UsageError("name at least one peer, and none of them twice")
    return list(peers)


async def create(caller: Caller, peers: Sequence[PeerId], backend: str, seconds: float) -> list[PeerId]:
    """See `zraft.create`."""
    deadline = caller.deadline(seconds)
    half_made = await _half_made(caller, distinct(peers), backend, deadline)
    group, members = half_made or await _start_all(caller, peers, backend, deadline)
    if half_made is None:
        try:
            await found(caller, members[0], deadline, seconds)
        except RequestError as error:
            await remove_blank(caller, members, group)
            raise _not_applied(error) from error
    if len(members) > 1:
        try:
            await extend(caller, members, deadline, seconds)
        except RequestError as error:
            if error.executed == "no":
                await remove_blank(caller, members[1:], group)
            raise _not_applied(error) from error
    return list(peers)


async def _half_made(caller: Caller, peers: Sequence[PeerId], backend: str, deadline: float) -> _Made | None:
    """The peers as somebody left them who founded their group and did not live to see them join it; None: it is not so.

    The first belongs to a group, all others were made for it and are blank, and nothing of that changes meanwhile.
    """
    seen = await _founded(caller, peers, backend, deadline)
    if seen is not None:
        await asyncio.sleep(BLANK_S)
        if await _founded(caller, peers, backend, deadline) == seen:
            return seen
    return None


async def _founded(caller: Caller, peers: Sequence[PeerId], backend: str, deadline: float) -> _Made | None:
    soon = min(deadline, caller.deadline(CLEAN_UP_S))
    try:
        founder = await entry_of(caller, peers[0], soon)
        if founder is None or founder.role in ("blank", "failed") or founder.backend != backend:
            return None
        others = await each(entry_of(caller, peer, soon) for peer in peers[1:])
    except RequestError:
        return None
    waiting = [other.member for other in others if other is not None and waits_to_join(other, founder)]
    is_so = len(waiting) == len(others) and waiting
    return (founder.group, [founder.member, *waiting]) if is_so else None


def waits_to_join(entry: PeerEntry, founder: PeerEntry) -> bool:
    """The replica was made for the group of `founder`, and is blank."""
    return entry.role == "blank" and entry.group == founder.group and entry.backend == founder.backend


async def _start_all(caller: Caller, peers: Sequence[PeerId], backend: str, deadline: float) -> _Made:
    """Blank replicas of a new group. Raises `CreateError`, and none of them is left."""
    group = GroupId(chance.token_bytes(16))
    outcomes = await each(_start_or_standing(caller, peer, group, backend, deadline) for peer in peers)
    members = [outcome for outcome in outcomes if isinstance(outcome, Member)]
    standing = {peer: outcome for peer, outcome in zip(peers, outcomes, strict=True) if isinstance(outcome, Standing)}
    if standing:
        await remove_blank(caller, members, group)
        raise create_error(standing)
    return group, members


async def found(caller: Caller, first: Member, deadline: float, seconds: float) -> None:
    """`first` is the only member of its group, and leads it. Raises `RequestError`."""
    name = first.peer.name
    await caller.ask(first.peer.node, lambda number: Bootstrap(number, name, [first]), Result, deadline=deadline)
    await caller.call(first.peer, GetConf, Conf, deadline=deadline, seconds=seconds, is_read=True)


async def extend(caller: Caller, members: list[Member], deadline: float, seconds: float) -> None:
    """The members, of whom the first is the only one yet, are all members. Raises `RequestError`."""
    first = members[0].peer
    await caller.call(
        first,
        lambda number, name: ChangeMembership(number, name, members, [first]),
        Result,
        deadline=deadline,
        seconds=seconds,
    )


def _not_applied(error: RequestError) -> MembershipError:
    if isinstance(error, MembershipError):
        return error
    text = f"the peers were made, but the configuration was not applied: {error}"
    return MembershipError(text, executed=error.executed)


async def _start_or_standing(
    caller: Caller, peer: PeerId, group: GroupId, backend: str, deadline: float
) -> Member | Standing:
    try:
        return await start(caller, peer, group, backend, deadline)
    except Standing as standing:
        return standing


def create_error(standing: Mapping[PeerId, Standing]) -> CreateError:
    """The error for the caller; its cause is what the first of the nodes answered, if one did."""
    error = CreateError({peer: what.problem for peer, what in standing.items()})
    error.__cause__ = next((what.__cause__ for what in standing.values()), None)
    return error


async def start(caller: Caller, peer: PeerId, group: GroupId, backend: str, deadline: float) -> Member:
    """A blank replica of `group`, made on its node. Raises `Standing`.

    A blank one of another group, which somebody left behind, is replaced; one that belongs to a group stays.
    """
    for attempt in (1, 2):
        try:
            return await _start(caller, peer, group, backend, deadline)
        except Standing as standing:
            if attempt == 2 or standing.problem != "already_present":
                raise
        if not await _cleared(caller, peer, deadline):
            raise Standing("already_present")
    raise UsageError("a second attempt is the last")


async def _start(caller: Caller, peer: PeerId, group: GroupId, backend: str, deadline: float) -> Member:
    try:
        reply = await caller.ask(
            peer.node, lambda number: StartPeer(number, peer.name, group, backend), Started, deadline=deadline
        )
    except CreateError as error:
        raise Standing(next(iter(error.errors.values()), "already_present")) from error
    except RequestError as error:
        raise Standing("node_down") from error
    if reply.member.peer != peer:
        await remove_blank(caller, [reply.member], group, node=peer.node)
        known = reply.member.peer.node
        raise UsageError(f"the node at {peer.node} is known to others as {known}: name its peers so")
    return reply.member


async def _cleared(caller: Caller, peer: PeerId, deadline: float) -> bool:
    """True where the peer that stands in the way was blank, stayed so, and is gone."""
    try:
        first = await entry_of(caller, peer, deadline)
        if first is None:
            return True
        if first.role != "blank":
            return False
        await asyncio.sleep(BLANK_S)
        if await entry_of(caller, peer, deadline) != first:
            return False
        await caller.ask(
            peer.node, lambda number: RemovePeer(number, peer.name, first.group), Result, deadline=deadline
        )
    except RequestError:
        return False
    return True


async def remove_blank(caller: Caller, members: Sequence[Member], group: GroupId, *, node: str = "") -> None:
    """What a failed create made goes again, where it is reached. What meanwhile belongs to a configuration stays."""
    deadline = caller.deadline(CLEAN_UP_S)

    async def remove_one(member: Member) -> None:
        name = member.peer.name
        try:
            await caller.ask(
                node or member.peer.node, lambda number: RemovePeer(number, name, group), Result, deadline=deadline
            )
        except RequestError:
            return

    await each(remove_one(member) for member in members)


async def entry_of(caller: Caller, peer: PeerId, deadline: float) -> PeerEntry | None:
    """What the node of `peer` knows under its name; None: nothing. Raises `RequestError`."""
    entries = await _entries_of(caller, peer, deadline)
    return next((entry for entry in entries if entry.member.peer.name == peer.name), None)


async def _entries_of(caller: Caller, peer: PeerId, deadline: float) -> tuple[PeerEntry, ...]:
    return (await caller.ask(peer.node, ListPeers, Peers, deadline=deadline)).peers


async def conf_of(caller: Caller, peer: PeerId, seconds: float) -> Conf:
    """The stable and committed configuration of the peer's group."""
    deadline = caller.deadline(seconds)
    conf, _ = await caller.call(peer, GetConf, Conf, deadline=deadline, seconds=seconds, is_read=True)
    return conf


async def remove(caller: Caller, peers: Sequence[PeerId], seconds: float) -> None:
    """See `zraft.remove`."""
    deadline = caller.deadline(seconds)

    async def remove_one(peer: PeerId) -> RequestError | None:
        try:
            await _remove(caller, peer, deadline, seconds)
        except RequestError as error:
            return error
        return None

    errors = [error for error in await each(remove_one(peer) for peer in distinct(peers)) if error is not None]
    if errors:
        timed_out = next((error for error in errors if isinstance(error, RequestTimeout)), None)
        raise timed_out or errors[0]


async def _remove(caller: Caller, peer: PeerId, deadline: float, seconds: float) -> None:
    """The peer, or what is kept of those that were called so and left their group."""
    entries = [entry for entry in await _entries_of(caller, peer, deadline) if entry.is_called(peer.name)]
    running = [entry for entry in entries if entry.role != REMOVED]
    if not entries:
        raise PeerUnavailable(f"no peer {peer.name} on {peer.node}")
    for entry in running or entries:
        try:
            await _remove_one(caller, entry, deadline, seconds)
        except PeerUnavailable:
            if entry.role == REMOVED:
                raise
            # It left its group and stopped in this moment: what is kept of it now has another name.
            await _remove_kept(caller, peer, deadline)


async def _remove_kept(caller: Caller, peer: PeerId, deadline: float) -> None:
    for entry in await _entries_of(caller, peer, deadline):
        if entry.role == REMOVED and entry.is_called(peer.name):
            await _remove_replica(caller, entry, 0, deadline)


async def _remove_one(caller: Caller, entry: PeerEntry, deadline: float, seconds: float) -> None:
    """It may not know that it was removed: if it thinks that it belongs to its group, the group is asked."""
    try:
        await _remove_replica(caller, entry, 0, deadline)
    except MembershipError:
        left_at = await _left_at(caller, entry, deadline, seconds)
        if not left_at:
            raise
        await _remove_replica(caller, entry, left_at, deadline)


async def _remove_replica(caller: Caller, entry: PeerEntry, left_at: int, deadline: float) -> None:
    peer = entry.member.peer
    await caller.ask(
        peer.node, lambda number: RemovePeer(number, peer.name, entry.group, left_at), Result, deadline=deadline
    )


async def _left_at(caller: Caller, entry: PeerEntry, deadline: float, seconds: float) -> int:
    """The index of a committed configuration of the peer's group without it; 0 where nobody knows of one."""
    own = entry.member.peer
    stat = await caller.ask(own.node, lambda number: Stat(number, own.name), Status, deadline=deadline)
    for other in stat.status.peers:
        if other == own:
            continue
        try:
            conf, _ = await caller.call(other, GetConf, Conf, deadline=deadline, seconds=seconds, is_read=True)
        except RequestError:
            continue
        if conf.group == entry.group and entry.member not in (*conf.members, *conf.learners):
            return conf.index
    return 0
