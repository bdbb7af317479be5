"""Who leads the group of a session: learns its peers, chooses whom to ask next, and dials."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import monotonic

from zraft.client.caller import Caller
from zraft.client.connection import Connection
from zraft.client.groups import conf_of
from zraft.client.rotation import ELECTION_S, FAIL_S, SHORTEST_S, Rotation
from zraft.client.session_state import Lifeline
from zraft.errors import PeerUnavailable, ProtocolError, RequestTimeout
from zraft.types import PeerId


class Seeker:
    """Of one session. `rotation` is its ring of peers."""

    def __init__(self, caller: Caller, peers: PeerId | Sequence[PeerId], timeout_s: float) -> None:
        self._caller = caller
        self._seed = peers if isinstance(peers, PeerId) else None
        """The peer whose configuration is still to be read."""
        self.rotation = _ring([peers] if isinstance(peers, PeerId) else peers, timeout_s, None)

    async def learn_peers(self, line: Lifeline) -> None:
        """Reads the configuration, if only one peer is known; as often as it takes."""
        seed = self._seed
        while seed is not None and not line.is_over:
            seconds = line.expires_at - monotonic()
            try:
                conf = await conf_of(self._caller, seed, max(0.0, seconds))
            except (PeerUnavailable, RequestTimeout, ProtocolError) as error:
                self.rotation.failed(seed, str(error), monotonic())
                await asyncio.sleep(self.rotation.free_at() - monotonic())
            else:
                self.rotation = _ring([member.peer for member in conf.members], line.timeout_s, conf.leader)
                seed = None

    async def dialed(self, line: Lifeline) -> tuple[Connection, PeerId] | None:
        """An open connection to the peer that is to be asked next. None: there is none yet."""
        now = monotonic()
        peer = self.rotation.choose(now)
        if peer is None:
            await asyncio.sleep(max(SHORTEST_S, self.rotation.free_at() - now))
            return None
        connection = self._caller.lease(peer.node)
        try:
            await connection.wait_open(line.expires_at)
        except (PeerUnavailable, RequestTimeout) as error:
            self._caller.release(connection)
            self.rotation.failed(peer, str(error), monotonic())
            return None
        except asyncio.CancelledError:
            self._caller.release(connection)
            raise
        if not connection.is_open:
            self._caller.release(connection)
            self.rotation.failed(peer, "the connection was lost at once", monotonic())
            return None
        return connection, peer


def _ring(peers: Sequence[PeerId], timeout_s: float, leader: PeerId | None) -> Rotation:
    """With a short session nobody is left alone for long."""
    return Rotation(peers, fail_s=min(FAIL_S, timeout_s / 4), election_s=min(ELECTION_S, timeout_s / 8), leader=leader)
