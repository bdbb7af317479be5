"""Secrets and the folder of the data: nobody reads the one, and nobody but the owner writes into the other."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from zraft.config import Config
from zraft.errors import ConfigError, DataDirUnsafe
from zraft.testing import LocalCluster

CANARIES: dict[str, Any] = {"cluster_secret": "canary-of-the-cluster-01", "client_secret": "canary-of-the-clients-02"}


def test_bm_125_no_secret_is_in_any_file_and_an_open_folder_is_refused(tmp_path: Path) -> None:
    """A group writes, takes a snapshot and stops: no byte of its folders is one of a secret."""

    async def story() -> None:
        async with LocalCluster(1, folder=tmp_path, max_log_count=5, **CANARIES) as cluster:
            for number in range(10):
                await cluster.client.write(cluster.peers[0], ("key", number))

    asyncio.run(story())
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    for path in files:
        data = path.read_bytes()
        assert not any(secret.encode() in data for secret in CANARIES.values()), path
    (tmp_path / "n0").chmod(0o777)
    with pytest.raises(DataDirUnsafe):
        asyncio.run(story())


@pytest.mark.parametrize("value", [-1, 0, float("nan"), float("inf")])
@pytest.mark.parametrize("key", ["max_log_count", "max_log_bytes", "max_segment_size", "election_timeout"])
def test_bm_125_a_number_that_would_never_end_is_refused_at_the_start(key: str, value: Any) -> None:
    """Negative, nothing, not a number, endless; more of it in the tests of the configuration."""
    with pytest.raises(ConfigError, match=key):
        Config(**{key: value})
