"""What surrounds a backend on every replica: which commands reach it, in which form, and what becomes of their results.

Relies on `machine` for the backend, on `core.entries` for what a batch is, on `wire.values` for what may travel.
"""
