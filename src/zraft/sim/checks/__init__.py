"""The properties that a simulated cluster is held to: one file each, its first line the formula.

Every check is told what changed and costs in proportion to it. What it remembers is the simulator's own, never the
product's: who led which term, what was committed, what each disk had promised.
"""
