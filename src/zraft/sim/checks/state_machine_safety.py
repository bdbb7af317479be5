"""State machine safety: no two replicas take different entries for committed at one index.

Formula: committed[i] is single-valued; also the digest of the machine's state after applying up to i, at every turn,
whether it applied the log or was restored from a snapshot. Source: §3.6.3, Figure 3.2; I5. The first replica to commit
an index writes it into the ledger; every other must agree.
"""

from __future__ import annotations

from zraft.machine.registry import Backends
from zraft.session.machine import ReplicatedMachine
from zraft.sim.checks.ghost import Ledger, Step, Violation
from zraft.types import Index, Member, PeerId


def check(step: Step) -> None:
    """What this step committed, against the ledger, which grows by what is new."""
    ledger, node, commit_index = step.ledger, step.node, step.replica.commit_index
    if commit_index <= node.commit_index:
        return
    end = ledger.committed.end.last
    if node.commit_index < end:
        last = min(end, commit_index)
        mine, theirs = node.log.at(last), ledger.committed.at(last)
        if mine is None or theirs is None or mine.digest != theirs.digest:
            raise Violation("state machine safety", f"{node.me} commits {mine} where {theirs} is committed")
    if commit_index > end:
        term = max(step.replica.current_term, ledger.commit_terms[-1] if ledger.commit_terms else 0)
        for mark in node.log.between(end, commit_index):
            ledger.committed.append(mark)
            ledger.commit_terms.append(term)
        if ledger.committed.end.last != commit_index:
            raise Violation("state machine safety", f"{node.me} commits {commit_index}, its log ends at {node.log.end}")


class States:
    """Digests of machine states, by the index that they are after: those of a machine that applies what is committed.

    It is the simulator's own, sees every committed batch once, and no snapshot: what a replica holds that came by one
    must be the same (BM-051, BM-078).
    """

    def __init__(self, backend: str = "dict", backends: Backends | None = None) -> None:
        self._model = ReplicatedMachine((backends or Backends()).make(backend, PeerId("model", "nowhere:0")))
        self._digests: dict[Index, object] = {0: self._model.backend.digest()}

    def check(self, ledger: Ledger, member: Member, applied: Index, digest: object) -> None:
        """`member` has applied up to `applied`, and its state has this digest."""
        model, committed = self._model, ledger.committed
        if applied > committed.end.last:
            raise Violation("state machine safety", f"{member} applied {applied}, which nobody has committed")
        for mark in committed.between(model.last_applied, committed.end.last):
            if mark.batch is not None:
                model.apply_batch(mark.batch, replies=False)
                self._digests[mark.last] = model.backend.digest()
        expected = self._digests.get(applied)
        if expected != digest:
            raise Violation("state machine safety", f"after {applied} {member} has {digest}, the log gives {expected}")
