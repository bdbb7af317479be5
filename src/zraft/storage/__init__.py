"""The journal, the hard state and recovery: decides bytes and jobs, which a Disk port performs (§3.8)."""
