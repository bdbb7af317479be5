"""A group that is to exist, whoever asks for it, in whatever order and however often.

    every node answers?   no: wait
    a group is there      it is left alone, also where it has changed since
    all are blank         it is founded: the peers are started, the first of them in their order founds it, all join

The first peer in the order of the names decides between callers: its node takes one group id, which all others adopt.
From then on every step may be repeated by anybody, so a caller that dies half way is replaced by the next. Nothing is
founded before every listed peer has answered that it is blank: a node that lost its data, and asks, finds the group.
"""

from __future__ import annotations

import asyncio
import secrets as chance
from collections.abc import Mapping, Sequence
from typing import Final

from zraft.client.caller import Caller, each
from zraft.client.groups import (
    Standing,
    create_error,
    distinct,
    entry_of,
    extend,
    found,
    remove_blank,
    start,
    waits_to_join,
)
from zraft.client.waiting import said
from zraft.errors import BackendMismatch, CreateError, Executed, PeerUnavailable, RequestError, RequestTimeout
from zraft.types import GroupId, Member, PeerId
from zraft.wire.requests import PeerEntry

PAUSE_S: Final = 0.2
ATTEMPT_S: Final = 5.0
"""How long one attempt to found or to complete the group takes at most; then everything is looked at again."""


async def ensure(caller: Caller, peers: Sequence[PeerId], backend: str, seconds: float) -> list[PeerId]:
    """See `zraft.ensure`."""
    deadline = caller.deadline(seconds)
    wanted, problem = distinct(peers), ""
    executed: Executed = "no"
    while True:
        entries, missing, unheard = await _look(caller, wanted, deadline)
        if missing or unheard:
            # A look that the deadline cut short knows less than the one before it.
            problem = problem if unheard and problem else _absent(missing, unheard)
        elif _is_there(entries, backend):
            return wanted
        else:
            executed = "maybe"
            try:
                await _make(caller, _founder_first(entries), entries, backend, deadline)
            except RequestError as error:
                problem = str(error)
            else:
                return wanted
        await asyncio.sleep(max(0.0, min(PAUSE_S, deadline - caller.loop.time())))
        if caller.loop.time() >= deadline:
            raise RequestTimeout(f"the group is not there after {said(seconds)}: {problem}", executed=executed)


async def _look(
    caller: Caller, peers: list[PeerId], deadline: float
) -> tuple[dict[PeerId, PeerEntry | None], list[PeerId], list[PeerId]]:
    """What every node knows under the peer's name, the peers whose nodes do not answer, and those not waited for.

    The last had no time to answer: the caller's `deadline` came first.
    """
    patience = caller.deadline(ATTEMPT_S)

    async def look_at(peer: PeerId) -> PeerEntry | RequestError | None:
        try:
            return await entry_of(caller, peer, min(deadline, patience))
        except RequestError as error:
            return error

    seen = dict(zip(peers, await each(look_at(peer) for peer in peers), strict=True))
    silent = [peer for peer, entry in seen.items() if isinstance(entry, RequestError)]
    unheard = [peer for peer in silent if isinstance(seen[peer], RequestTimeout) and deadline < patience]
    missing = [peer for peer in silent if peer not in unheard]
    return {peer: entry for peer, entry in seen.items() if not isinstance(entry, RequestError)}, missing, unheard


def _absent(missing: list[PeerId], unheard: list[PeerId]) -> str:
    """For messages."""
    lists = (("missing", missing), ("no answer yet from", unheard))
    return ", ".join(f"{what} {', '.join(map(str, peers))}" for what, peers in lists if peers)


def _is_there(entries: Mapping[PeerId, PeerEntry | None], backend: str) -> bool:
    """Somebody belongs to a group, and not only its founder while the others still wait to join.

    Raises `CreateError` where they belong to different ones, and `BackendMismatch`.
    """
    present = {peer: entry for peer, entry in entries.items() if entry is not None and entry.role != "blank"}
    for peer, entry in present.items():
        if entry.backend != backend:
            raise BackendMismatch(f"{peer} has the backend {entry.backend!r}, not {backend!r}")
    if len({entry.group for entry in present.values()}) > 1:
        raise CreateError(dict.fromkeys(present, "already_present"))
    if len(present) != 1:
        return bool(present)
    (founder,) = present.values()
    others = [entry for peer, entry in entries.items() if peer not in present]
    return not others or not all(entry is not None and waits_to_join(entry, founder) for entry in others)


def _founder_first(entries: Mapping[PeerId, PeerEntry | None]) -> list[PeerId]:
    """In the order of the names; but whoever founded the group already comes first."""
    return sorted(entries, key=lambda peer: ((entry := entries[peer]) is None or entry.role == "blank", peer))


async def _make(
    caller: Caller, peers: list[PeerId], entries: Mapping[PeerId, PeerEntry | None], backend: str, deadline: float
) -> None:
    """From any state on the way, the group consists of all peers; the first founds it. Raises `RequestError`.

    Raises `CreateError` where that can never be; what was made for the group and holds nothing is removed then.
    """
    deadline = min(deadline, caller.deadline(ATTEMPT_S))
    entry = entries[peers[0]]
    if entry is None or (entry.role == "blank" and entry.backend != backend):
        first = await _start(caller, peers[0], GroupId(chance.token_bytes(16)), backend, deadline)
        entry = await entry_of(caller, peers[0], deadline)
        if entry is None or entry.member != first:
            raise RequestTimeout("another caller is at work", executed="no")
    group, members = entry.group, [entry.member]
    try:
        members += await each(_start(caller, peer, group, backend, deadline) for peer in peers[1:])
    except CreateError:
        made = [member for member in members if entry.role == "blank"]
        await remove_blank(caller, [*made, *(Member(peer, 0) for peer in peers[1:])], group)
        raise
    if entry.role == "blank":
        await found(caller, members[0], deadline, ATTEMPT_S)
    if len(members) > 1:
        await extend(caller, members, deadline, ATTEMPT_S)


async def _start(caller: Caller, peer: PeerId, group: GroupId, backend: str, deadline: float) -> Member:
    """A blank replica of the group. Raises `CreateError` where it can never be, `RequestError` where it is not now."""
    try:
        return await start(caller, peer, group, backend, deadline)
    except Standing as standing:
        if standing.problem == "unknown_backend":
            raise create_error({peer: standing}) from standing
        raise PeerUnavailable(f"{peer}: {standing.problem.replace('_', ' ')}") from standing
