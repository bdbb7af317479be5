"""How clients wait: timeouts as users write them, and as messages name them."""

from __future__ import annotations

from zraft.types import FOREVER, Timeout, seconds_of

__all__ = ["FOREVER", "Timeout", "said", "seconds_of"]


def said(seconds: float) -> str:
    """For messages: "0.5 s"."""
    return f"{seconds:g} s"
