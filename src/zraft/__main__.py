"""`python -m zraft`: the command line, the same as `zraft`."""

from __future__ import annotations

import sys

from zraft.app.cli import main

if __name__ == "__main__":
    sys.exit(main())
