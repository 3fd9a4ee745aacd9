"""Trellis on OVH Public Cloud."""
