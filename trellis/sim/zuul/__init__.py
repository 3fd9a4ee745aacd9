"""Zuul in simulation: schedulers, executors and another launcher, on a simulated ZooKeeper.

They speak Nodepool's protocol as Zuul's own code does, with its weaknesses: an executor reads a
node, locks it and does not read it again; a lock makes its folder anew, and with it a node that
was deleted meanwhile; what is written is the whole document as it was read. Knows nothing of
Trellis, least of all of its plugin for Zuul.
"""
