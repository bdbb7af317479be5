"""Which tests coverage counts: counting makes code four times slower, and most of it goes the same ways again.

What is not counted still has to pass; the floors then hold of fewer tests than there are, which makes them stricter.
Not counted are tests that draw examples (`hypothesis` marks them), tests marked `uncounted`, and processes started by
tests, but for modules marked `counts_processes`: those that show what `app` does from outside.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Protocol

import pytest
from coverage import Coverage

FOR_CHILDREN = "COVERAGE_PROCESS_CONFIG"
"""The variable by which coverage tells child processes to count, too."""


class Counter(Protocol):
    """What counts; it may be halted."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


def is_counted(test: pytest.Item) -> bool:
    """Whether the lines that the test runs in its own process count."""
    return not any(test.get_closest_marker(name) for name in ("hypothesis", "uncounted"))


def counts_processes(test: pytest.Item) -> bool:
    """Whether the lines that processes run which the test starts count."""
    return is_counted(test) and test.get_closest_marker("counts_processes") is not None


@contextmanager
def counting(
    counter: Counter | None, variables: MutableMapping[str, str], *, here: bool, in_processes: bool
) -> Iterator[None]:
    """As wanted meanwhile, and as it was afterwards; where nothing counts (None), nothing changes."""
    if counter is None:
        yield
        return
    halted = None if here else counter
    for_children = None if in_processes else variables.pop(FOR_CHILDREN, None)
    if halted is not None:
        halted.stop()
    try:
        yield
    finally:
        if halted is not None:
            halted.start()
        if for_children is not None:
            variables[FOR_CHILDREN] = for_children


class Counting:
    """Lets coverage see each test as far as it is to be counted, with what is set up and torn down around it."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Around one test."""
        with counting(Coverage.current(), os.environ, here=is_counted(item), in_processes=counts_processes(item)):
            return (yield)
