"""What a host begins with: its store, and for each replica in it a machine, or why it must not run.

A replica of which the disk lost something goes on without that, where the others can be asked for it: its hard state
is whole, and somebody else is or was a member. It then abstains (`core.abstention`), and that is durable before
anything of the host runs, because the store is opened anew for it.

    records that cannot be read     kept: what was before the first of them, and a snapshot       the rest is given up
    a snapshot that cannot be read  kept: an older snapshot, if there is one                      the log is given up
    a snapshot that is not there    it has failed: perhaps the folder is the wrong one            everything is kept
    a group of one, both state files, a backend that cannot be made, a broken invariant           the same
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import msgspec

from zraft.core.raft import Raft
from zraft.errors import ReplicaFault
from zraft.peer.shelf import Chosen, Shelf
from zraft.session.machine import ReplicatedMachine
from zraft.storage.disk import Disk
from zraft.storage.replica import RecoveredReplica, ReplicaMeta, is_kept_aside
from zraft.storage.store import Store, StoreSettings

_NOBODY: Final = "nothing says who else is in its group: if it was alone, zraft doctor shows what is left"

Choice: TypeAlias = Chosen | ReplicaFault | None
"""What a replica goes on from, or why it must not; None: it left its group, and is only kept."""


class Opening(msgspec.Struct, frozen=True):
    """The store, every replica with what was chosen for it, and lines for the log."""

    store: Store
    replicas: list[tuple[RecoveredReplica, Choice]]
    notes: list[str]
    losses: dict[str, str]
    """What was lost of the replicas that abstain from this start on, by name."""


def open_replicas(
    disk: Disk, settings: StoreSettings, shelf: Shelf, make_machine: Callable[[ReplicaMeta], ReplicatedMachine]
) -> Opening:
    """Opens what `disk` has. Raises StorageError where the node cannot start at all."""
    opened = Store.open(disk, settings)
    notes, losses = list(opened.notes), dict[str, str]()
    rotten = [one for one in opened.replicas if one.is_rotten and _can_go_on(one)]
    if rotten:
        losses |= {one.meta.name: str(one.fault) if one.named else f"{one.fault}; {_NOBODY}" for one in rotten}
        opened = Store.open(disk, settings, abstaining=[one.meta.incarnation for one in rotten])
    choices = {one.meta.incarnation: _choose(one, shelf, make_machine) for one in opened.replicas}
    unreadable = [one for one in opened.replicas if one.meta.incarnation in shelf.rotten and _can_go_on(one)]
    if unreadable:
        losses |= {one.meta.name: str(choices[one.meta.incarnation]) for one in unreadable}
        opened = Store.open(disk, settings, abstaining=[one.meta.incarnation for one in unreadable])
        for one in opened.replicas:
            if one.meta.name in losses:
                choices[one.meta.incarnation] = _choose(one, shelf, make_machine)
    return Opening(opened.store, [(one, choices[one.meta.incarnation]) for one in opened.replicas], notes, losses)


def _choose(one: RecoveredReplica, shelf: Shelf, make_machine: Callable[[ReplicaMeta], ReplicatedMachine]) -> Choice:
    if is_kept_aside(one.meta):
        return None
    try:
        if one.fault is not None:
            raise ReplicaFault(str(one.fault))
        return shelf.choose(one.meta, one.recovered, make_machine)
    except ReplicaFault as fault:
        return fault


def _can_go_on(one: RecoveredReplica) -> bool:
    """It may have promised something, and others can have what it lost."""
    others = [member for member in one.named if member.incarnation != one.meta.incarnation]
    is_alone = bool(one.named) and not others
    return one.recovered.hard_state.term > 0 and not is_alone and not is_kept_aside(one.meta)


def loading_text(raft: Raft) -> str | None:
    """For the status of a replica that abstains; None: it does not."""
    if not raft.abstains_below:
        return None
    return (
        "part of its log or its snapshot was lost: the others have to send it again, and until then it does not vote; "
        f"so far it has what is up to {raft.saves.durable_index}"
    )
