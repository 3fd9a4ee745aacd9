"""Nodes for Zuul, by the protocol that Nodepool's launchers speak in ZooKeeper.

Requests are Zuul's znodes, nodes are ours, and what Zuul reads and writes of both is the contract.
The plugin asks for nodes through the demand port alone, and reaches ZooKeeper by a `Session` alone.
"""
