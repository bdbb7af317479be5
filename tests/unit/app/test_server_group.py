"""`zraft server --peers --backend` without a node: which group is to exist."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from zraft.app import cli, server
from zraft.types import PeerId

PEER = PeerId("a", "127.0.0.1:1")


@pytest.mark.parametrize(("words", "backend"), [([], "dict"), (["--backend", "table"], "table")])
def test_the_group_of_the_peers_has_the_backend_that_was_asked_for(
    words: list[str], backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the command line to the client that ensures it."""
    ensured: list[tuple[list[PeerId], str]] = []

    class FakeClient:
        """Only told."""

        def __init__(self, **_: Any) -> None: ...

        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(
            self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
        ) -> None: ...

        async def ensure(self, peers: Sequence[PeerId], backend: str, *, timeout: None) -> None:
            ensured.append((list(peers), backend))

    async def serve(config: Any, group: Any, *_: Any, **__: Any) -> None:
        await server._ensure(config, group)
        await asyncio.sleep(0)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(server, "_serve", serve)
    monkeypatch.setattr(server, "Client", FakeClient)
    monkeypatch.setattr(server, "SWITCH_INTERVAL_S", sys.getswitchinterval())
    monkeypatch.setattr(server, "loop_factory", lambda: None)
    given = ["--listen", PEER.node, "--data-dir", str(tmp_path / "data"), "--peers", str(PEER)]
    assert cli.main(["server", *given, *words]) == 0
    assert ensured == [([PEER], backend)]
