"""Durable records: the working set in memory, and a log of commits that survives the daemon.

`store` is the one layer of records; `log` is the small port below it, with two engines:
`sqlite` in production and `simulated` where time and crashes are played. Decides nothing:
knows the model and the errors, no cloud, no scheduler and no web.
"""
