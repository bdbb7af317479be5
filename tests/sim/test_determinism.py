"""One seed, one run: on every interpreter, under every hash seed."""

from __future__ import annotations

import subprocess
import sys
from functools import cache

import pytest

from tests.sim.interpreters import VERSIONS, Missing, environment, interpreter

SCRIPT = """
import zraft
from zraft.sim.run import run_seed
print([run_seed(2, profile).digest for profile in ("default", "membership", "crashes")])
"""


@cache
def digests(python: str, hash_seed: int) -> str:
    """Of the runs of the script; those of one interpreter under one hash seed are made once."""
    words = [python, "-c", SCRIPT]
    done = subprocess.run(words, env=environment(hash_seed), capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.timeout(300)
def test_the_hash_seed_of_the_interpreter_changes_nothing() -> None:
    """No decision hangs on the order of a set or on the hash of a string."""
    assert digests(sys.executable, 7) == digests(sys.executable, 4242)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("version", VERSIONS)
def test_another_interpreter_gives_the_same_run(version: str) -> None:
    """A seed found by anybody replays everywhere; `make interpreters` runs more of them."""
    try:
        python = interpreter(version)
    except Missing as missing:
        pytest.skip(str(missing))
    assert digests(python, 4242) == digests(sys.executable, 7)
