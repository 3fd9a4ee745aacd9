"""By force: the daemon as a process of its own, killed at random moments, or loaded for hours.

``python -m tests.soak kills`` and ``python -m tests.soak load``. What the clouds saw and what the
requestors got decides; the daemon is believed in nothing but which nodes it has records of.
"""
