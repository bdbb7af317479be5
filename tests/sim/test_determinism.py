"""One seed, one run: on every interpreter, under every hash seed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import zraft

SOURCE = Path(zraft.__file__).parent.parent
SCRIPT = """
import zraft
from zraft.sim.run import run_seed
print([run_seed(2, profile).digest for profile in ("default", "membership", "crashes")])
"""


@cache
def digests(python: str, hash_seed: str) -> str:
    """Of the runs of the script; those of one interpreter under one hash seed are made once."""
    environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run([python, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{python} cannot run zraft: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout


@pytest.mark.timeout(300)
def test_the_hash_seed_of_the_interpreter_changes_nothing() -> None:
    """No decision hangs on the order of a set or on the hash of a string."""
    assert digests(sys.executable, "7") == digests(sys.executable, "4242")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_another_interpreter_gives_the_same_run(version: str) -> None:
    """A seed found by anybody replays everywhere. ZRAFT_PYTHON_3_12 and its like name interpreters elsewhere."""
    variable = f"ZRAFT_PYTHON_{version.replace('.', '_')}"
    own = sys.executable if sys.version.startswith(version) else None
    python = os.environ.get(variable) or own or shutil.which(f"python{version}")
    if python is None:
        pytest.skip(f"no python{version} here; {variable} can name one")
    assert digests(python, "4242") == digests(sys.executable, "7")
