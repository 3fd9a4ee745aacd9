"""The public kit for tests: of Trellis itself, and of plugins that others write.

Knows the SPI, the clients and the simulator; nothing that runs in production imports it.
"""
