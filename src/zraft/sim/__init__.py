"""The simulation kit: the pure rooms over a simulated clock, network and disk, all chance from one seed.

One seed, one run, bit for bit: on every supported interpreter, whatever the hash seed. A run breaks nodes, disks, links
and clocks, and checks after every event what Raft promises; it ends healed, and then everything must be equal. The
files, bottom to top:

    chance          draws from a seed
    scheduler       virtual time, clocks, pauses
    network, disk   the ports, with everything that goes wrong in the world
    history         what clients saw;  linearizability  whether that was right
    checks/         one property a file
    cluster         nodes, clients and faults together;  run  one seed, many seeds
    trials/         a user's state machine and commands in the place of the dict and its clients
    acts, excerpt   what chaos did, and which of it happens again;  shrinking  the shortest run that still fails
    conformance/    the exam of a backend: `conform`
"""

from __future__ import annotations

from zraft.sim.conformance.exam import conform
from zraft.sim.conformance.report import Finding, Report

__all__ = ["Finding", "Report", "conform"]
