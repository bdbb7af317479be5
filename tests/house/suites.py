"""Suites: a folder of tests that runs none of them proves nothing, however green it looks."""

from __future__ import annotations

from collections.abc import Iterable


def check_every_suite_ran(folders: Iterable[str], ran: Iterable[str]) -> list[str]:
    """Folders (`tests/unit`) in which no test ran; `ran` are the node ids (`tests/unit/test_x.py::test_y`)."""
    ids = list(ran)
    return [
        f"{folder}: no test ran here"
        for folder in folders
        if not any(node_id.startswith(f"{folder.rstrip('/')}/") for node_id in ids)
    ]
