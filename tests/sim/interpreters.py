"""`python -m tests.sim.interpreters`: the same seeds under every Python that there is for zraft, and hash seeds.

What `zraft sim --json` prints has the digest of each run's trace; it has to be the same to the last byte. A Python that
is not here, or lacks the libraries, is left out, and why is printed. ZRAFT_PYTHON_3_12 and its like name one elsewhere.
Exits with 1 where two differ.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import zraft

SOURCE = Path(zraft.__file__).parent.parent
VERSIONS = ("3.11", "3.12", "3.13")
NEEDED = "import sys, google_crc32c, msgspec, sortedcontainers; print('%d.%d' % sys.version_info[:2])"


class Missing(Exception):
    """There is no such interpreter that can run zraft, for this reason."""


def interpreter(version: str) -> str:
    """The command of a Python of that version which has the libraries. Raises Missing."""
    why = []
    for python in dict.fromkeys(_candidates(version)):
        done = subprocess.run([python, "-c", NEEDED], capture_output=True, text=True, check=False)
        if done.returncode == 0 and done.stdout.strip() == version:
            return python
        why.append(f"{python}: {_reason(done.stderr or done.stdout)}")
    variable = _variable(version)
    raise Missing(f"no Python {version} that can run zraft; {variable} can name one ({'; '.join(why) or 'none found'})")


def _reason(said: str) -> str:
    """The line that tells it, of what Python or a version manager has printed."""
    lines = [line for line in said.splitlines() if line and not line.startswith((" ", "Traceback"))]
    return lines[0] if lines else "does not run"


def _variable(version: str) -> str:
    return f"ZRAFT_PYTHON_{version.replace('.', '_')}"


def _candidates(version: str) -> Iterator[str]:
    """The one that was named; this one; those of the path; those of a version manager, whose commands may not run."""
    if named := os.environ.get(_variable(version)):
        yield named
        return
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        yield sys.executable
    for folder in os.get_exec_path():
        found = shutil.which(f"python{version}", path=folder)
        if found:
            yield found
    versions = Path.home() / ".pyenv" / "versions"
    yield from (str(path / "bin" / "python") for path in sorted(versions.glob(f"{version}.*")))


def environment(hash_seed: int) -> dict[str, str]:
    """Of a process with these sources."""
    return os.environ | {"PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(SOURCE)}


def simulated(python: str, seeds: str, profile: str, hash_seed: int) -> list[str]:
    """What the simulator prints, a line for each seed. Raises CalledProcessError."""
    words = [python, "-m", "zraft", "sim", "--seeds", seeds, "--profile", profile, "--jobs", "1", "--json"]
    done = subprocess.run(words, env=environment(hash_seed), capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def main() -> int:
    """Everything on the command line has a default."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.interpreters", description=__doc__)
    parser.add_argument("--seeds", default="1-20", metavar="A-B")
    parser.add_argument("--profile", default="default")
    options = parser.parse_args()
    first: list[str] = []
    differ, hash_seeds = False, count(1, 4241)
    for version in VERSIONS:
        try:
            python = interpreter(version)
        except Missing as missing:
            print(f"{version}: skipped: {missing}", flush=True)
            continue
        hash_seed = next(hash_seeds)
        lines = simulated(python, options.seeds, options.profile, hash_seed)
        first = first or lines
        apart = [line for line, wanted in zip(lines, first, strict=True) if line != wanted]
        differ = differ or bool(apart)
        verdict = f"{len(apart)} DIFFER: {apart[0]}" if apart else "the same"
        print(f"{version}: {len(lines)} seeds, hash seed {hash_seed}: {verdict} ({python})", flush=True)
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
