"""The simulated operator of one group: makes it, changes its members, moves its leadership.

Speaks to nodes as any client does, over links that lose nothing but what partitions and crashes take; asks again
after a timeout. What becomes of a change is not waited for: the next one finds out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from zraft.sim.chance import Chance
from zraft.sim.network import Network
from zraft.sim.scheduler import Owner, Scheduler
from zraft.types import GroupId, Member, Millis, PeerId
from zraft.wire.failures import Failed
from zraft.wire.frames import array_of
from zraft.wire.requests import (
    Bootstrap,
    ChangeMembership,
    Conf,
    GetConf,
    RemovePeer,
    Request,
    Result,
    Started,
    StartPeer,
    Transfer,
    decode_replies,
    encode_item,
)

PEER: Final = "p"
"""What every replica of the first group is called on its node."""

ASK_AGAIN_MS: Final[Millis] = 500


class Operator:
    """`members` are the replicas that said who they are, by node."""

    def __init__(
        self,
        scheduler: Scheduler,
        network: Network,
        chance: Chance,
        group: GroupId,
        nodes: Sequence[str],
        founders: int,
        *,
        peer: str = PEER,
        backend: str = "dict",
    ) -> None:
        """`peer` is what the group's replica is called on every node."""
        self.owner = Owner("operator" if peer == PEER else f"operator of {peer}")
        self.peer = peer
        self._scheduler, self._network, self._chance, self._group = scheduler, network, chance, group
        self._nodes, self._founders, self._backend = list(nodes), founders, backend
        self._number = 0
        self._wants: dict[int, tuple[str, str]] = {}
        """Unanswered requests: their kind, and the node that was asked."""
        self._leader = self._nodes[0]
        self.members: dict[str, Member] = {}
        self._last: Conf | None = None
        """The configuration that it saw last."""
        self._named: dict[Member, None] = {}
        """Replicas that were to be members once: who was dropped never comes back, a new one takes its place."""
        self.is_founded = False
        self.is_done = False
        """No further change is begun, not even one whose configuration was asked for."""
        self.lost: list[Member] = []
        """Replicas whose data is gone."""
        self.changes = 0
        self.changed = 0
        self.transfers = 0
        network.attach(self.owner)

    def start(self) -> None:
        """Make a replica on every node; when all are there, found the group."""
        self._prepare(None)

    def _prepare(self, _: object) -> None:
        missing = [node for node in self._nodes if node not in self.members]
        for node in missing:
            self.revive(node)
        if not missing and not self.is_founded:
            first = self._nodes[0]
            founders = [self.members[node] for node in self._nodes[: self._founders]]
            self._ask(first, "found", Bootstrap(self._next(), self.peer, founders))
        if missing or not self.is_founded:
            self._scheduler.after(ASK_AGAIN_MS, self._prepare, owner=self.owner)

    def revive(self, node: str) -> None:
        """Ask for an empty replica on `node`: new, or in place of one that lost its data."""
        self._ask(node, "start", StartPeer(self._next(), self.peer, self._group, self._backend))

    def replace(self, node: str) -> None:
        """The replica on `node` has lost its data: ask for an empty one until it is there.

        What is still to be answered may be about the one that is gone, too.
        """
        self._wants = {number: want for number, want in self._wants.items() if want != ("start", node)}
        member = self.members.pop(node, None)
        if member is not None:
            self.lost.append(member)
        self._revive_until_there(node)

    def _revive_until_there(self, node: str) -> None:
        if node not in self.members:
            self.revive(node)
            self._scheduler.after(ASK_AGAIN_MS, self._revive_until_there, node, owner=self.owner)

    def readmit(self) -> None:
        """Ask for the configuration; the answer is followed by a change to the replicas that are there now."""
        self._ask(self._leader, "readmit", GetConf(self._next(), self.peer))

    def change(self) -> None:
        """Change to another configuration: after a look at the present one, or, in haste, without, whoever leads."""
        if self._last is not None and self._chance.below(2):
            self._change_from(self._nodes, self._last)
        else:
            self._ask(self._leader, "change", GetConf(self._next(), self.peer))

    def change_at_once(self, node: str) -> None:
        """Ask `node` for other members than there were at the last look, whether it can know them by now or not."""
        if self._last is not None:
            self._change_from([node], self._last)
        else:
            self._ask(node, "change", GetConf(self._next(), self.peer))

    def transfer(self) -> None:
        """Ask the leader to hand over to somebody."""
        self.transfers += 1
        to = PeerId(self.peer, self._chance.choice(self._nodes))
        self._ask(self._leader, "transfer", Transfer(self._next(), self.peer, to))

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _ask(self, node: str, kind: str, request: Request) -> None:
        self._wants[request.id] = (kind, node)
        self._network.send(self.owner.name, node, array_of([encode_item(request)]))

    def receive(self, frame: bytes) -> None:
        """Replies arrived."""
        for reply in decode_replies(frame):
            kind, node = self._wants.pop(reply.id, ("", ""))
            match reply:
                case Started(member=member) if kind == "start" and member not in self.lost:
                    self.members[node] = member
                    if len(self.members) == len(self._nodes) and not self.is_founded:
                        self._prepare(None)
                case Conf() if kind == "change" and not self.is_done:
                    self._last = reply
                    self._renew_those_left_out(reply)
                    self._change_from([node], reply)
                case Conf() if kind == "readmit":
                    self._readmit_to(node, reply)
                case Result():
                    self.is_founded = self.is_founded or kind == "found"
                    self.changed += kind == "changing"
                case Failed(leader=leader):
                    self._leader = leader.node if leader is not None else self._chance.choice(self._nodes)
                case _:
                    pass

    def _renew_those_left_out(self, conf: Conf) -> None:
        for member in [member for member in self.members.values() if member in self._named]:
            if member not in conf.members:
                self._renew(member, conf.index)

    def _change_from(self, nodes: Sequence[str], conf: Conf) -> None:
        known = sorted(self.members.values())
        if not known:
            return  # all of them are about to be somebody else
        self.changes += 1
        target = self._chance.sample(known, self._chance.between(1, len(known)))
        self._named |= dict.fromkeys(target)
        old = [member.peer for member in conf.members]
        for node in nodes:
            self._ask(node, "changing", ChangeMembership(self._next(), self.peer, target, old))

    def _renew(self, member: Member, conf_index: int) -> None:
        """It left the group: what joins from its node is a new replica. Now and then it is not waited for to stop."""
        node = member.peer.node
        del self.members[node]
        if self._chance.below(2):
            self._ask(node, "remove", RemovePeer(self._next(), self.peer, self._group, conf_index))
        self._revive_until_there(node)

    def _readmit_to(self, node: str, conf: Conf) -> None:
        target = [self.members.get(member.peer.node, member) for member in conf.members]
        if target != list(conf.members):
            old = [member.peer for member in conf.members]
            self._ask(node, "changing", ChangeMembership(self._next(), self.peer, target, old))
