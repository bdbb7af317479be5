"""The birth of a group."""

from __future__ import annotations

import pytest

from tests.raftkit.cluster import Cluster, led_cluster, member
from zraft.core.entries import Membership
from zraft.core.events import Bootstrap
from zraft.core.output import RoleName
from zraft.errors import UsageError


def test_only_a_blank_replica_founds_a_group() -> None:
    """It happens once; a member of a group, or one that has heard of a term, is left as it is."""
    cluster = led_cluster()
    with pytest.raises(UsageError, match="not blank"):
        cluster["a"].step(0, Bootstrap(Membership((member("a"),))))
    assert cluster["a"].log.last_index == 2
    assert cluster.propose("a", 1).accepted


def test_founder_is_among_the_voters() -> None:
    """Otherwise it could never lead the group that only it knows."""
    cluster = Cluster("a")
    with pytest.raises(UsageError, match="not among the voters"):
        cluster["a"].step(0, Bootstrap(Membership((member("b"),))))
    assert cluster.role("a") is RoleName.BLANK


def test_blank_replica_never_campaigns() -> None:
    """It waits to be told, for ever if need be."""
    cluster = Cluster("a b")
    cluster.run(20_000)
    assert [cluster.role(name) for name in "ab"] == [RoleName.BLANK, RoleName.BLANK]
    assert cluster["a"].current_term == 0
    assert cluster["a"].membership is None
