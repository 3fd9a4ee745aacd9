"""Simulated clouds for tests, the demo and `trellis simulate`.

Owns what stands in for the outside world. Knows OpenStack's REST interface and nothing of the
daemon: a simulated cloud is used through HTTP, exactly as a real one is.
"""
