"""Trellis on Vexxhost."""
