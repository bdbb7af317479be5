"""Log matching: same (index, term) in two logs => the logs are equal up to that index.

Source: §3.5, Figure 3.2; I3. Equal digests stand for equal prefixes: the first log that has a batch ending at (index,
term) gives its digest, every later one must have the same. The batch is the unit: an (index, term) names the last
entry of one. Cannot see: entries that were never part of any log.
"""

from __future__ import annotations

from zraft.sim.checks.ghost import Step, Violation, mark_after


def follow_log(step: Step) -> None:
    """Brings the node's trail to where its log is after this step, checking each batch that is new in it."""
    out, log, known = step.out, step.node.log, step.ledger.known
    if out.truncate_from:
        log.truncate_from(out.truncate_from)
    if out.reset_to is not None:
        committed = step.ledger.committed.at(out.reset_to.index)
        if committed is None or committed.term != out.reset_to.term:
            raise Violation("log matching", f"{step.node.me} restores {out.reset_to}, the group committed {committed}")
        log.become(step.ledger.committed, out.reset_to.index)
    for batch in out.append:
        end = log.end
        if batch.first != end.last + 1 or batch.term < end.term:
            raise Violation("log matching", f"{step.node.me} appends {batch.first} of term {batch.term} after {end}")
        mark = mark_after(end, batch)
        other = known.setdefault((mark.last, mark.term), mark)
        if other.digest != mark.digest:
            raise Violation("log matching", f"{step.node.me} has {mark}, another log had {other}")
        log.append(mark)
        step.appended.append(mark)
