"""What happened on the connections of one node, as plain numbers that only grow."""

from __future__ import annotations

from collections import Counter


class Counters:
    """One for all links of a node, or one for each listener: the owner decides. Reading them costs nothing."""

    __slots__ = ("accepted", "bytes_in", "bytes_out", "closed", "dialed", "dropped", "refused")

    def __init__(self) -> None:
        self.accepted: Counter[str] = Counter()
        """Connections whose dialer proved itself, by role."""
        self.dialed: Counter[str] = Counter()
        """Connections whose listener proved itself, by role."""
        self.refused: Counter[str] = Counter()
        """Connections that ended within the handshake, by `wire.handshake.Refusal`."""
        self.closed: Counter[str] = Counter()
        """Connections that ended later, by `transport.link.Ending`."""
        self.bytes_in = 0
        self.bytes_out = 0
        self.dropped = 0
        """Messages that `Link.send` did not take."""


class TransferCounters:
    """The snapshot channel's, where files come in. Written by its threads, to be read by any."""

    __slots__ = ("bytes_in", "ended", "turned_away")

    def __init__(self) -> None:
        self.ended: Counter[str] = Counter()
        """Transfers by `wire.bulk.End`; `done` among them."""
        self.turned_away: Counter[str] = Counter()
        """Connections that never became a transfer, by `wire.bulk.End`."""
        self.bytes_in = 0
        """Bytes of files."""
