"""Trellis: single-use CI nodes from many OpenStack clouds, launched, leased and deleted."""

__version__ = "0.1.0"
