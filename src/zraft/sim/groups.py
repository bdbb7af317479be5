"""The groups of one run: each with its own replicas, operator, clients and checks, all on the same nodes.

The first is the one whose leader is hunted and whose members change. Others share its nodes, links and disks; their
clients think long, so that they are idle most of the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from zraft.sim.checks.suite import Checks
from zraft.sim.clients import SimClient
from zraft.sim.history import Operation
from zraft.sim.operator import Operator
from zraft.sim.trials.clients import TrialClient
from zraft.sim.trials.trial import Exchange
from zraft.types import GroupId

AnyClient: TypeAlias = SimClient | TrialClient


@dataclass(slots=True, eq=False)
class SimGroup:
    """`name` is what its replica is called on every node."""

    name: str
    group: GroupId
    checks: Checks
    operator: Operator
    clients: dict[str, AnyClient] = field(default_factory=dict)

    def served(self) -> int:
        """Operations that succeeded so far."""
        return sum(client.succeeded for client in self.clients.values())

    def history(self) -> list[Operation]:
        """What its clients saw; those of a trial have exchanges instead."""
        clients = self.clients.values()
        return [operation for client in clients if isinstance(client, SimClient) for operation in client.history]

    def exchanges(self) -> list[Exchange]:
        """What the clients of a trial saw."""
        clients = self.clients.values()
        return [exchange for client in clients if isinstance(client, TrialClient) for exchange in client.exchanges]


def group_id(number: int) -> GroupId:
    """Of the run's group `number`, counted from 0."""
    return GroupId(b"simulated group!" if not number else b"further group %02d" % number)


def served(groups: Sequence[SimGroup]) -> list[int]:
    """By each of them."""
    return [group.served() for group in groups]
