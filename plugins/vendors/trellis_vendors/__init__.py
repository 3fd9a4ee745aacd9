"""Clouds that the stock OpenStack provider can use, given the right values: one module each."""
