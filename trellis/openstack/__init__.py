"""An OpenStack client on Trio: credentials, login, catalog, sessions, and the services' calls.

Knows OpenStack and the HTTP road; knows nothing of nodes, requests or configuration files of
Trellis, and could be published alone.
"""
