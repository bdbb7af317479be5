"""zraft: replicated state machines for Python, durable and linearizable, by the Raft protocol."""

from __future__ import annotations

__all__: list[str] = []
