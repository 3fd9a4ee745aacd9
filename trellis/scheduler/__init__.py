"""Pure decisions: a snapshot goes in, a plan with a reason for each step comes out.

Knows the model and the SPI's values; no Trio, no store, no clock: `Snapshot.now` is the time.
"""
