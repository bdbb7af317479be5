"""All checks of one group together, in the order in which they have to run."""

from __future__ import annotations

from zraft.core.events import Event, Saved
from zraft.core.messages import Message
from zraft.core.output import Output
from zraft.core.replica import Replica
from zraft.machine.registry import Backends
from zraft.sim.checks import (
    bounds,
    commit_validity,
    durability,
    election_safety,
    leader_append_only,
    leader_completeness,
    log_matching,
    membership,
    monotonic,
    progress,
    quiet,
    state_machine_safety,
    votes,
    wire_messages,
)
from zraft.sim.checks.effects_order import EffectsOrder
from zraft.sim.checks.ghost import GhostNode, GhostSave, Ledger, Step, Trail
from zraft.sim.checks.read_index import ReadIndexes
from zraft.sim.checks.state_machine_safety import States
from zraft.sim.checks.votes import Votes
from zraft.types import Index, Member


class Checks:
    """Told of every start, step, sent message and end of a life. Raises `Violation`."""

    def __init__(self, backend: str = "dict", backends: Backends | None = None) -> None:
        self.ledger = Ledger()
        self._votes = Votes()
        self._reads = ReadIndexes()
        self._states = States(backend, backends)
        self._orders: dict[Member, EffectsOrder] = {}
        self.steps = 0

    def started(self, replica: Replica) -> None:
        """A life begins with what recovery found, and has taken no step yet but to follow a newer snapshot."""
        node = self.ledger.node(replica.me)
        found = durability.found_by(replica)
        trail = durability.check_recovered(self.ledger, node, found)
        node.start_life()
        node.issued = replica.saves.issued
        node.log = trail
        before, has_lost = node.disk.end.digest, durability.has_lost(node, found.hard_state)
        if has_lost and node.promised is None:
            node.promised = Trail()
            node.promised.become(node.disk, node.disk.end.last)
        node.disk.become(trail, trail.end.last)
        if not has_lost and node.disk.end.digest != before:
            node.promise()  # a save that was under way had become durable
        node.disk_state = found.hard_state
        node.commit_index = replica.commit_index
        node.term, node.voted_for = replica.current_term, replica.voted_for
        self._orders.setdefault(replica.me, EffectsOrder()).restart()
        self._reads.restart(replica.me)

    def stopped(self, member: Member) -> None:
        """Its life is over; its disk stays."""
        self.ledger.node(member).is_up = False

    def departed(self, member: Member) -> None:
        """Its life is over for good: its host has put its data aside."""
        self.stopped(member)
        membership.check_departed(self.ledger, member)

    def imaged(self, replica: Replica) -> None:
        """`replica` is what a power loss at this moment would leave of it at least."""
        durability.check_recovered(self.ledger, self.ledger.node(replica.me), durability.found_by(replica))

    def stepped(self, replica: Replica, event: Event, out: Output) -> None:
        """`replica` took a step."""
        self.steps += 1
        node = self.ledger.nodes[replica.me]
        if type(event) is Saved:
            node.saved(event.number, self.ledger)
        step = Step(self.ledger, node, replica, event, out)
        self._reads.check_asked(step)
        leader_append_only.check(step)
        monotonic.check(step)
        if out.save:
            log_matching.follow_log(step)
            self._issue(node, out, step)
        election_safety.check_leader(step)
        if out.role_change is not None:
            leader_completeness.check(step)
            membership.check_new_leader(step)
            self._votes.check_leader(step)
        membership.check(step)
        if replica.commit_index > node.commit_index:
            commit_validity.check(step)
            state_machine_safety.check(step)
        if out.accepted:
            bounds.check(step)
        if out.left:
            membership.check_left(step)
        if node.is_leader or out.role_change is not None:
            progress.check(step)
            quiet.check(step)
        if out.reads_ready:
            self._reads.check_ready(step)
        if out.send_now:
            bounds.check_windows(step)
        if out.send_now or out.send_after_save:
            wire_messages.check(step)
            votes.check_grants(step)
            self._orders[replica.me].check_made(step)
        self._remember(node, replica)

    def sent(self, message: Message) -> None:
        """A message leaves its sender's node."""
        node = self.ledger.nodes[message.sender]
        self._orders[message.sender].check_sent(node, message)
        election_safety.check_message(self.ledger, message)
        self._votes.check_sent(message)

    def applied(self, member: Member, index: Index, digest: object) -> None:
        """The machine of `member` is at `index`."""
        self._states.check(self.ledger, member, index, digest)

    def _issue(self, node: GhostNode, out: Output, step: Step) -> None:
        node.issued = out.save
        node.saves.append(GhostSave(out.save, out.hard_state, out.truncate_from, out.reset_to, step.appended))

    def _remember(self, node: GhostNode, replica: Replica) -> None:
        node.term, node.voted_for = replica.current_term, replica.voted_for
        node.commit_index = replica.commit_index
        if node.promised is not None and not replica.abstains_below and not node.disk_state.abstains_below:
            durability.check_whole(node)
            node.promised = None
        leads = replica.leader == replica.me
        if leads and node.leading != node.term:
            node.leading = node.term
        elif not leads and node.is_leader:
            node.matches.clear()
        node.is_leader = leads
