"""Timeouts as users write them: seconds as int, float or timedelta, None for ever."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, TypeAlias

from zraft.errors import UsageError

Timeout: TypeAlias = int | float | timedelta | None

FOREVER: Final = float("inf")


def seconds_of(timeout: Timeout) -> float:
    """The timeout in seconds, `FOREVER` for None. Raises `UsageError` for what is no duration."""
    if type(timeout) is float and timeout >= 0:
        return timeout
    if timeout is None:
        return FOREVER
    seconds: object = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= 0:
        raise UsageError(f"not a timeout: {timeout!r} (seconds, a timedelta, or None to wait for ever)")
    return float(seconds)


def said(seconds: float) -> str:
    """For messages: "0.5 s"."""
    return f"{seconds:g} s"
