"""What replicas of one group tell each other about their states: beside the protocol, which does not depend on it.

Every bound is one of the types; members and terms are checked as those of messages are (`peering`).
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec

from zraft.limits import ALARM_EFFECTS, ALARM_REPORTED, MAX_TERM, PEERS_PER_GROUP
from zraft.types import Index, Member, Term

_Index = Annotated[Index, msgspec.Meta(ge=0, le=MAX_TERM)]
_Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Effect = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]


class Beside(msgspec.Struct, frozen=True, array_like=True):
    """What travels between nodes and is no message of Raft."""


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """A replica's state after the entry at `index`."""

    index: _Index
    first: _Index
    """Of the entries whose effects were noted: only samples that agree in this are compared."""
    digest: _Number
    effects: Annotated[list[_Effect], msgspec.Meta(max_length=ALARM_EFFECTS)]
    """What each of the entries from `first` on did; all of it is in `digest`."""


class StateReport(Beside, frozen=True, array_like=True, tag=65):
    """The newest samples of the sender, for the leader to compare. Only those of one `method` can be."""

    sender: Member
    to: Member
    term: Term
    method: _Number
    samples: Annotated[list[Sample], msgspec.Meta(min_length=1, max_length=ALARM_REPORTED)]


class StateVerdict(Beside, frozen=True, array_like=True, tag=66):
    """What the leader found: the state after `index` is `digest`, and `odd` had another one. Nobody odd: all is well.

    The states were alike after `alike` (0: not known), and `exact` is the first entry that is known to have done
    something else at who is odd (0: not known).
    """

    sender: Member
    to: Member
    term: Term
    index: _Index
    digest: _Number
    odd: Annotated[list[Member], msgspec.Meta(max_length=2 * PEERS_PER_GROUP)]
    alike: _Index = 0
    exact: _Index = 0


State: TypeAlias = StateReport | StateVerdict
