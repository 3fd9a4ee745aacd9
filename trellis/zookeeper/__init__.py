"""ZooKeeper for Trio: a session's tree of znodes, and kazoo bridged behind it.

Owns what is true of every ZooKeeper: paths, versions, sessions, watches. It knows nothing of
nodes and requests. `Session` is what others are written against; `open_session` makes one of
kazoo, which is an extra (``trellis-ci[zookeeper]``) and is imported only then; the simulator makes
others, with the same semantics on virtual time.
"""
