"""What may be under way to a follower (R1): the check lets a full window pass and names what is beyond it."""

from __future__ import annotations

import pytest

from tests.unit.sim.scene import A, B, C, Scene
from zraft.core.progress import Progress, ProgressState
from zraft.core.recovered import RaftSettings
from zraft.sim.checks import bounds
from zraft.sim.checks.ghost import Violation

SETTINGS = RaftSettings()


def led() -> tuple[Scene, Progress]:
    """A leads, and replicates to B."""
    scene = Scene()
    progress = scene.lead(A, 2, B, C).progress[B]
    progress.state = ProgressState.REPLICATE
    return scene, progress


def test_a_full_window_is_allowed_and_one_message_more_is_not() -> None:
    """The last message may be of any size: it went when there was room."""
    scene, progress = led()
    for number in range(SETTINGS.window_messages):
        progress.sent(number + 1, 10 * SETTINGS.window_bytes if number == SETTINGS.window_messages - 1 else 1, 1)
    bounds.check_windows(scene.step(A))
    progress.sent(99, 1, 1)
    with pytest.raises(Violation, match="5 messages of"):
        bounds.check_windows(scene.step(A))


def test_more_bytes_than_the_window_has_are_named() -> None:
    """Whoever sends although it is full."""
    scene, progress = led()
    progress.sent(1, SETTINGS.window_bytes, 1)
    bounds.check_windows(scene.step(A))
    progress.sent(2, 1, 1)
    with pytest.raises(Violation, match="2 messages"):
        bounds.check_windows(scene.step(A))


def test_bytes_that_were_counted_wrong_are_named() -> None:
    """A place in the window that is never given back would end replication (BM-112)."""
    scene, progress = led()
    progress.sent(1, 10, 1)
    progress.flight_bytes += 1
    with pytest.raises(Violation, match="counted were 11"):
        bounds.check_windows(scene.step(A))


def test_who_does_not_lead_has_no_windows() -> None:
    """Its step is passed over."""
    scene = Scene()
    scene.follow(B, 2)
    bounds.check_windows(scene.step(B))
    assert not hasattr(scene.replicas[B].role, "progress")
