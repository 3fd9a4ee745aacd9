"""Trellis on HP Helion Public Cloud, which closed in January 2016."""
