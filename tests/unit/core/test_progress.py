"""What a leader knows of a follower, whatever replies arrive in whatever order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zraft.core.progress import Progress, ProgressState


@given(
    st.lists(
        st.tuples(st.sampled_from(["send", "ack", "probe", "snapshot", "lose", "replicate"]), st.integers(0, 20)),
        max_size=60,
    )
)
def test_match_never_falls_and_next_is_above_it(steps: list[tuple[str, int]]) -> None:
    """I11, BM-017: the window never leaks either (BM-112)."""
    progress = Progress(5, 0)
    match = 0
    for kind, number in steps:
        if kind == "send" and progress.can_send(3, 100):
            progress.sent(progress.next_index + number % 3, 10, 0)
        elif kind == "ack":
            is_news = progress.acknowledged(number)
            assert is_news is (number > match)
        elif kind == "probe":
            progress.become_probe(number)
        elif kind == "snapshot":
            progress.become_snapshot(number, 0)
        elif kind == "lose":
            progress.lose_flights()
            assert progress.oldest_sent_ms() is None
        else:
            progress.become_replicate()
        assert progress.match_index >= match
        match = progress.match_index
        assert progress.next_index > match
        assert 0 <= progress.flight_bytes <= 30
    progress.become_replicate()
    assert progress.can_send(1, 1)


def test_probe_sends_one_message_at_a_time() -> None:
    """Until it is known where the logs meet."""
    progress = Progress(5, 0)
    progress.sent(7, 10, 3)
    assert not progress.can_send(9, 999)
    assert (progress.next_index, progress.oldest_sent_ms()) == (5, 3)


def test_snapshot_state_waits_for_the_snapshot() -> None:
    """A late answer from before the offer does not end it; the snapshot's index does."""
    progress = Progress(5, 0)
    progress.become_snapshot(9, 4)
    progress.acknowledged(3)
    assert progress.state is ProgressState.SNAPSHOT
    assert not progress.can_send(9, 999)
    progress.acknowledged(9)
    assert (progress.state, progress.next_index) == (ProgressState.REPLICATE, 10)


def test_loading_holds_everything_else_back() -> None:
    """Otherwise newer batches would overtake the older ones that are read."""
    progress = Progress(5, 0)
    progress.become_replicate()
    progress.loading = True
    assert not progress.can_send(9, 999)
