"""What a node's settings mean for its snapshots."""

from __future__ import annotations

from zraft.config import Config
from zraft.node.keeper import snapshot_settings
from zraft.peer.growth import SnapshotSettings


def test_the_settings_of_snapshots_are_those_of_the_node() -> None:
    """By default those of the protocol."""
    config = Config(max_log_count=50, max_log_bytes=7, trailing_log_count=3, snapshot_backup=True)
    settings = snapshot_settings(config)
    assert settings == SnapshotSettings(max_log_count=50, max_log_bytes=7, trailing_log_count=3, backup=True)
    assert snapshot_settings(Config()) == SnapshotSettings()
