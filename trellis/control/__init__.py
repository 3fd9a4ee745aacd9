"""The moving parts: every loop and task that acts, each owned by a nursery.

Owns order, deadlines and records. Knows no cloud by name and makes no HTTP call itself.
"""
