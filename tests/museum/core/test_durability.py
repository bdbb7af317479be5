"""Power that goes once: what others lost by it, played here."""

from __future__ import annotations

from tests.raftkit.cluster import led_cluster


def test_bm_091_one_loss_of_power_and_two_pauses_make_one_history() -> None:
    """a, b sleep while c, d, e commit; c loses power; then d, e sleep and a, b, c go on: with what was acknowledged."""
    cluster = led_cluster("c a b d e")
    for name in "ab":
        cluster.isolate(name)
    cluster.propose("c", *range(5))
    cluster.stabilise()
    committed = cluster["c"].commit_index
    assert committed == cluster["d"].log.last_index == cluster["e"].log.last_index
    cluster.crash("c")
    cluster.heal()
    for name in "de":
        cluster.isolate(name)
    cluster.start("c")
    cluster.run(5000)
    leader = cluster.leader()
    assert leader == "c"
    cluster.propose(leader, 100)
    cluster.run(500)
    assert [cluster[name].commit_index for name in "abc"] == [cluster["c"].log.last_index] * 3
    assert cluster.ghost.committed[committed].payload.startswith(b"#4")
    cluster.heal()
    cluster.run(5000)
    assert len({tuple(cluster.terms(name)) for name in "abcde"}) == 1
