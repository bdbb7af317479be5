"""Nodes of an older version, between newer ones: what was added to the protocol since they neither say nor hear.

The wire has one version so far, so no real node differs like this. What a later version adds to what nodes say to each
other has to be like these: a connection of an older version does not carry it, and the group goes on without. Kinds of
entries are another matter, they stop who does not know them (BM-117), and are not drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

from zraft.core.messages import NotMember, Quiesce, QuiesceReply
from zraft.sim.chance import Chance
from zraft.wire.peering import NodeBeat
from zraft.wire.states import StateReport, StateVerdict

Kinds: TypeAlias = tuple[type, ...]
"""Types of messages."""

ADDED: Final[dict[str, Kinds]] = {
    "alarm": (StateReport, StateVerdict),
    "quiet groups": (Quiesce, QuiesceReply, NodeBeat),
    "departure": (NotMember,),
}
"""What the protocol could do without, by topic."""


def draw_lacking(names: Sequence[str], chance: Chance) -> dict[str, Kinds]:
    """One or two of the nodes, never all of them, with what each does not know."""
    count = min(chance.between(1, 2), len(names) - 1)
    return {name: _draw_kinds(chance) for name in chance.sample(names, count)}


def _draw_kinds(chance: Chance) -> Kinds:
    topics = chance.sample(list(ADDED), chance.between(1, len(ADDED)))
    return tuple(kind for topic in topics for kind in ADDED[topic])
