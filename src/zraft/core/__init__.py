"""The Raft protocol as a pure state machine: events go in, duties come out, and nothing else happens.

`raft.Raft.step(now, event) -> Output` is the only door. The core has no clock, no chance but its own seed, no I/O and
no threads, so a simulator can run it byte for byte as production does.

Where to look, by section of the thesis (Ongaro, "Consensus: Bridging Theory and Practice", 2014):

    election      §3.4 elections, §9.6 pre-vote, §4.2.3 stickiness, §6.2 check-quorum
    terms         §3.3 the rule of terms, which every message meets first
    replication   §3.5 the leader's side, §3.6.2 commit by own-term entries, §10.2 batching, pipelining, parallel disk
    following     §3.5 the follower's side
    leading       what a leader does when something happens: puts the topics together
    membership    §4 joint consensus, learners, leaders that remove themselves
    reads         §6.4 ReadIndex, for leaders and followers
    departure     §4.2.2, §4.2.3 how removed servers hear of it
    transfer      §3.10 leadership transfer
    quiet         idle groups do without heartbeats (not in the thesis)
    snapshots     §5.1 the seams of a compacted log
    bootstrap     §4.4 the birth of a group
    abstention    replicas whose disk lost part of the log, until they have it again (not in the thesis)

    log, memberships, saves, progress, quorum, roles      data and arithmetic; know no messages
    entries, messages, events, output, recovered          the vocabulary
    table         who handles what: total over roles and events
    invariants    what must hold after every step
    text          the trace; event_text: what happened, in its words
    checkpoint    a replica held still, and made again, for recordings

A vote is granted in `election.on_request_vote`. It becomes durable because `Replica.vote_for` marks the hard state as
due, `Replica.finish` puts it into the output's save, and the reply is in `send_after_save`: whoever carries out the
output (`peer`) sends nothing from there before the disk has reported that save.

Deviations from the thesis, each also in docs/thesis-map.md:

*   The unit of the log is a batch of entries, never split (`entries`). §3.5 speaks of entries; every rule holds for
    batches because a leader's batches have one term each, and (index, term) names at most one batch.
*   §3.4: votes are counted per (peer, incarnation), and a candidate's own vote only when it is durable.
*   §3.5: heartbeats are messages of their own, which never wait behind entries; their commit index is bounded by what
    the receiver acknowledged. A refusal carries a hint, which skips a term at once.
*   §3.7: silence alone proves no loss, because an acknowledgement waits for a disk: a probe is repeated after two
    heartbeats that were answered, other messages after `request_timeout_ms`.
*   §3.10: whom to hand over to may be left to the leader.
*   §4.1: a change to a set of which a majority is silent is refused: it would be the last one.
*   §4.2.1: how many rounds a learner needs is not limited; it is caught up when one round took at most an election
    timeout or it has the whole log, and given up when it makes no progress for `catch_up_ms` and fetches no snapshot.
*   §4.2.2: a leader that removed itself, or whose disk stalls, tells the best follower to campaign at once.
    It takes no proposals once its last configuration is appended.
*   §4.2.3: whoever is asked for a pre-vote by a server that no configuration names any more answers `NotMember`, and
    the leader tells whom it left out; servers that may not vote ask as well when they hear nobody.
*   §5.1: the state of a snapshot travels beside the protocol; InstallSnapshot only offers it, and one is fetched at a
    time.
*   §6.2: a leader that was held up itself gives everybody an election timeout to answer before it steps down.
*   §3.4, §6.2: an idle group goes quiet: node heartbeats stand for those of the group (docs/decisions/0007).
*   §3.4, §3.8: a replica whose disk lost part of its log keeps term and vote, and votes for nobody until its log ends
    with an entry of a term in which it has promised nothing before (docs/decisions/0010).
*   §6.4.1: leases are not offered.
*   §10.2.1: with the setting `counts_unsaved` a leader counts itself for entries that its disk does not have yet.
"""
