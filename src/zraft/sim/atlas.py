"""Which disks may lose something, so that everything committed stays in good order somewhere it can be had from.

A node is *spoiled* from when its disk lost something until it was started anew and every replica there has all of it
again. A further one may be spoiled only while every configuration that any log ends with keeps its majorities among
the others: what they have committed they have, and they can elect somebody who sends it. (Good copies of each entry
on a majority of disks are not enough: a replica abstains as a whole.)
"""

from __future__ import annotations

from collections.abc import Sequence

from zraft.core.entries import Membership
from zraft.sim.groups import SimGroup
from zraft.sim.node import SimNode
from zraft.types import Member


def in_force(groups: Sequence[SimGroup]) -> list[Membership]:
    """Every configuration at the end of any disk or log."""
    ghosts = [ghost for group in groups for ghost in group.checks.ledger.nodes.values()]
    trails = [trail for ghost in ghosts for trail in (ghost.vouched, ghost.log)]
    last = [trail.configurations[-1].membership for trail in trails if trail.configurations]
    return [membership for membership in last if membership is not None]


def can_decide(membership: Membership, down: Sequence[str], lost: Sequence[Member] = ()) -> bool:
    """Majorities of all voter sets, also the one that is the target, are on other nodes than `down`, and not `lost`."""

    def is_well(voters: tuple[Member, ...]) -> bool:
        well = sum(voter.peer.node not in down and voter not in lost for voter in voters)
        return 2 * well > len(voters) or not voters

    return is_well(membership.voters) and is_well(membership.outgoing) and is_well(membership.target)


def spoiled(nodes: Sequence[SimNode]) -> list[str]:
    """The nodes whose disk lost something that they have not got back."""
    return [node.name for node in nodes if node.is_spoiled]


def may_spoil(node: SimNode, nodes: Sequence[SimNode], groups: Sequence[SimGroup]) -> bool:
    """The others can do without it. Nobody can before every group has committed its first configuration."""
    is_founded = all(group.checks.ledger.committed.configurations for group in groups)
    return is_founded and all(can_decide(membership, [*spoiled(nodes), node.name]) for membership in in_force(groups))
