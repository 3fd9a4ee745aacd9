"""The REST face: requests and leases over the demand port, the rest over the board.

Owns what goes over the wire (shapes, bounds, problem documents, the event stream) and the guard
against foreign web pages. Knows no store, no cloud and makes no decision.
"""
