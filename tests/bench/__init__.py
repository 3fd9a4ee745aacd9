"""The bench: the daemon in one process, simulated clouds in another, demand from a third.

It imports nothing of the daemon and nothing of the simulator: it starts both as a user would, and
measures them from outside.
"""
