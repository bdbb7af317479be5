"""`Election`: a lock whose holder says something of itself."""

from __future__ import annotations

from typing import Final

from zraft.client.session import Session
from zraft.client.waiting import Timeout
from zraft.recipes.access import Deadline, in_order
from zraft.recipes.turns import Turn
from zraft.types import NOT_FOUND, Value

_ELECTION: Final = "zraft.election"


class Election(Turn):
    """At most one session leads at a time; everybody can ask who, by what the leader says of itself."""

    def __init__(self, session: Session, name: str) -> None:
        super().__init__(session, _ELECTION, name)

    async def campaign(self, value: Value, *, timeout: Timeout = None) -> int:
        """This session leads, and `leader` is `value`: the token of this turn. Raises as `Lock.acquire`."""
        return await self._take(value, timeout)

    async def resign(self) -> None:
        """Whoever campaigns next leads. Nothing happens where this one does not lead."""
        await self._give_back()

    async def leader(self, *, timeout: Timeout = 5.0) -> Value:
        """What the leader said of itself, or `NOT_FOUND` where nobody leads."""
        entries = in_order(await self._access.entries(Deadline(timeout)))
        return entries[0].value if entries else NOT_FOUND
