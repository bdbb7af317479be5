"""`zraft log inspect`, `zraft log verify`: what is in the data folder of a node that is stopped."""

from __future__ import annotations

import click


@click.group()
def log() -> None:
    """Look into the data folder of a node. Nothing is changed; the node should be stopped."""
