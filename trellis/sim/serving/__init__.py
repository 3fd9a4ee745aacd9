"""Simulated clouds over real HTTP on loopback, and machines behind their servers.

One process and one port serve any number of `SimCloud`s. Knows nothing of Trellis' daemon but the
form of its configuration file. Its control face below ``/_sim`` is for tests, benches and the demo.
"""
