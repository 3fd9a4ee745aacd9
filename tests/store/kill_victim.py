"""Commits as fast as it can and says what was acknowledged, until it is killed.

Usage: kill_victim.py FILE. Each line ``task number`` on stdout is a commit that returned.
"""

import os
import sys
import time

import trio
from store_builders import a_node, a_request

from trellis.model.records import Change
from trellis.store.sqlite import SqliteLog
from trellis.store.store import Store

TASKS = 20


async def count_up(store: Store, task: int) -> None:
    """Commit a node and a request together, both bearing the same rising number."""
    node, request = a_node(task, hostname="0"), a_request(task, reason="0")
    await store.commit([Change(None, node), Change(None, request)])
    number = 0
    while True:
        number += 1
        later = (a_node(task, hostname=str(number)), a_request(task, reason=str(number)))
        await store.commit([Change(node, later[0], why="step"), Change(request, later[1])])
        os.write(1, f"{task} {number}\n".encode())
        node, request = later


async def main() -> None:
    async with (
        Store.open(SqliteLog(sys.argv[1]), deployment="ci", wall=time.time) as store,
        trio.open_nursery() as nursery,
    ):
        for task in range(1, TASKS + 1):
            nursery.start_soon(count_up, store, task)


trio.run(main)
