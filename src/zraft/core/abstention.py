"""Replicas whose disk lost part of the log: they abstain from votes until nothing of it can be missing any more.

The thesis takes it that a disk keeps what it has (§3.8). Where one does not, and says so (a checksum), the replica goes
on from what it can prove to have, as "protocol-aware recovery" does (Alagappan et al., FAST '18; BM-095, BM-096):

    at the loss    a new term A is adopted, larger than any in which it ever promised anything; together with that, in
                   one write, `abstains_below` = A and the loss become durable (`storage.recovery`)
    until then     it stores what leaders send and says truthfully what it has; it grants no vote and no pre-vote, and
                   does not campaign
    the end        its log, as far as it is durable, ends with an entry of term A or a later one

Why the end is the end: leaders of terms from A on know nothing of it but what it acknowledged since. An entry of such a
term is behind all that it had before, because terms never decrease along a log; so its log, which is that leader's up
to there, is what it would be if nothing had been lost. Up to then it is to all others a replica that has its log and is
slow to vote, which Raft allows. It counts for no commit either: only entries of the leader's own term are counted
(§3.6.2), and who acknowledges one of those is at the end. Adopting A also makes a leader step down that still takes
what was acknowledged to it for stored (docs/decisions/0010).
"""

from __future__ import annotations

from zraft.core.replica import Replica


def look(replica: Replica) -> None:
    """More of the log became durable: does it end in a term in which nothing can be missing?"""
    term = replica.log.term_at(replica.saves.durable_index)
    if term is not None and term >= replica.abstains_below:
        replica.end_abstention()
