"""Python inside the name spaces of another process: `inside.py PID WORDS...`. For a server on its own file system."""

from __future__ import annotations

import os
import sys


def main(process: str, *words: str) -> None:
    """Becomes Python with these words, where that process is."""
    os.execvp("nsenter", ["nsenter", "-t", process, "-U", "-m", "--preserve-credentials", "--", sys.executable, *words])


if __name__ == "__main__":
    main(*sys.argv[1:])
