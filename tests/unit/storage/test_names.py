"""A replica's name is for people: the journal knows incarnations."""

from __future__ import annotations

from tests.unit.storage.host import batch, meta
from tests.unit.storage.test_store import LARGE, perform, ready, take
from zraft.storage.disk import WriteAt
from zraft.storage.store import Store


def test_a_renamed_replica_keeps_its_log_and_frees_its_name() -> None:
    """The journal knows incarnations, not names: nothing but the state files is written."""
    host = ready("a")
    host.write("a", batch(1), batch(2))
    host.pump()
    host.store.rename_replica("a", "z")
    written = take(host)
    assert not [one for one in written.operations if isinstance(one, WriteAt) and one.name.startswith("journal")]
    perform(host, written)
    host.store.create_replica(meta("a", 99), 1)
    host.pump()
    disk = host.disk.after_crash("lose")
    found = {replica.meta.name: replica for replica in Store.open(disk, LARGE).replicas}
    assert sorted(found) == ["a", "z"]
    assert found["z"].recovered.lasts == [1, 2]
    assert (found["z"].meta.incarnation, found["a"].meta.incarnation) == (meta("a").incarnation, 99)
    assert found["a"].recovered.lasts == []
