"""The stream of a simulated client: asked for piece by piece, over links that lose, repeat and reorder what they carry.

A piece is taken where it joins what came before. What is lost is asked for again; what comes twice adds nothing. Every
piece that arrives is shown to the checks, taken or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from zraft.sim.chance import Chance
from zraft.sim.checks.streams import StreamChecks
from zraft.types import Index
from zraft.wire.changes import Chunk, Prefix, decode_chunk, place_of
from zraft.wire.failures import Failed, failed_to_error
from zraft.wire.requests import Result
from zraft.wire.session_requests import SessionWatch, Streamed
from zraft.wire.values import encode_value

NUMBER: Final = 1 << 40
"""Of the watch: no request has it."""


class SimStream:
    """What one client follows through all its sessions; `upto`: it knows everything up to there."""

    def __init__(self, who: str, chance: Chance, checks: StreamChecks, names: Sequence[str]) -> None:
        self._who, self._checks = who, checks
        key = f"t.{chance.choice(names)}"
        self._watched = chance.choice([key, Prefix("t."), Prefix("n."), Prefix("k"), Prefix("")])
        self._place = place_of(self._watched)
        self.upto: Index | None = None
        self._chance = chance

    @property
    def is_due(self) -> bool:
        """It asks now; otherwise at another time."""
        return self._chance.below(3) == 0

    def request(self, number: int, peer: str, session: int, token: bytes) -> SessionWatch:
        """What it asks next."""
        is_prefix = isinstance(self._watched, Prefix)
        key = self._watched.key if isinstance(self._watched, Prefix) else self._watched
        raw = msgspec.Raw(encode_value(key))
        return SessionWatch(number, peer, session, token, NUMBER, raw, is_prefix, self.upto)

    def answered(self, result: Result) -> None:
        """The next piece."""
        self._take(decode_chunk(result.value))

    def pushed(self, streamed: Streamed) -> None:
        """A piece that came by itself."""
        self._take(streamed.chunk)

    def _take(self, chunk: Chunk) -> None:
        self._checks.told(self._who, self._place, chunk)
        if self.upto is None:
            self.upto = chunk.after
        if chunk.after <= self.upto:
            self.upto = max(self.upto, chunk.index)

    def lagged(self, request: SessionWatch, failed: Failed) -> None:
        """It goes on where that is possible."""
        index: Index = getattr(failed_to_error(failed), "index", 0)
        self._checks.told_lagged(self._who, request.after or 0, index)
        self.upto = max(index, self.upto or 0)
