"""A provider for tests of single parts: its answers are what the test puts in."""

from contextlib import asynccontextmanager

import trio

from trellis.errors import NotFoundError
from trellis.spi.provider import Gone, Instance, InstanceState, Listing, Tag
from trellis.testing.builders import a_home


def a_row(node_id="0000000001", external_id="server-1", state=InstanceState.ACTIVE, **parts):
    """A server of deployment ``test`` as a list shows it."""
    tag = parts.pop("tag", Tag(deployment="test", node_id=node_id))
    return Instance(external_id=external_id, name=f"tr{node_id}", state=state, tag=tag, **parts)


class ScriptedProvider:
    """Answers from what the test has set, and counts the calls.

    Attributes:
        rows: what a list shows.
        errors: raised by the next lists, one each.
        deleted: external ids it was told to delete.
    """

    capabilities = frozenset()

    def __init__(self):
        self.rows = []
        self.errors = []
        self.lists = []
        self.gets = []
        self.deleted = []
        self.at_home = a_home()
        self.leftovers = ()

    @asynccontextmanager
    async def open(self):
        yield

    async def home(self):
        await trio.lowlevel.checkpoint()
        return self.at_home

    async def list(self, since):
        await trio.sleep(0.01)
        self.lists.append((trio.current_time(), since))
        if self.errors:
            raise self.errors.pop(0)
        return Listing(
            instances=tuple(self.rows), newest="now", home=self.at_home, full=since is None
        )

    async def get(self, external_id):
        await trio.sleep(0.01)
        self.gets.append(external_id)
        for row in self.rows:
            if row.external_id == external_id:
                return row
        raise NotFoundError(f"no server {external_id}")

    async def find_leftovers(self):
        await trio.lowlevel.checkpoint()
        return self.leftovers

    async def delete_step(self, resource, tag):
        await trio.sleep(0.01)
        self.deleted.append(resource.external_id)
        return Gone.DONE
