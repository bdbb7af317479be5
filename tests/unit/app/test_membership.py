"""What `zraft status` says of peers, beyond its table."""

from __future__ import annotations

import json

from zraft.app.membership import transfers_of
from zraft.app.output import json_of
from zraft.client.views import PeerStatus, SnapshotProgress, status_of
from zraft.errors import PeerUnavailable, RequestError
from zraft.types import PeerId
from zraft.wire import requests

A, B, C = (PeerId("p", f"{host}:1") for host in "abc")
LEADER = status_of(requests.PeerStatus(A, "leader", sending=((B, 300), (C, 200))))
FETCHING = status_of(requests.PeerStatus(B, "follower", fetching=requests.SnapshotProgress(300, 5, 70)))


def test_a_snapshot_on_its_way_is_told_by_who_gets_it() -> None:
    """Else by who sends it: one that is busy may not answer."""
    found: dict[PeerId, PeerStatus | RequestError] = {A: LEADER, B: FETCHING, C: PeerUnavailable("no answer")}
    assert transfers_of(found) == ["p@b:1 fetches snapshot 300: 5 of 70 bytes", "p@a:1 sends snapshot 200 to p@c:1"]
    assert transfers_of({C: PeerUnavailable("no answer")}) == []


def test_users_are_given_values_that_do_not_change_with_the_wire() -> None:
    """Also inside a status, and programs get objects with names."""
    assert FETCHING.fetching == SnapshotProgress(300, 5, 70)
    printed = json.loads(json_of([FETCHING, LEADER]))
    assert printed[0]["fetching"] == {"index": 300, "received": 5, "total": 70}
    assert printed[0]["sending"] == []
    assert printed[1]["fetching"] is None
    assert printed[1]["sending"] == [["p@b:1", 300], ["p@c:1", 200]]
