"""Trials: a user's own state machine in the simulator, with commands that he draws and an invariant that he states."""
