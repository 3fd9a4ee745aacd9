"""Lists: whole, in pages, and of what has changed since."""

import pytest
import trio

from trellis.model.node import ResourceKind
from trellis.spi.provider import Capability, InstanceState
from trellis.testing.checks.needs import check, needs, needs_twin
from trellis.testing.trial import Trial

_SERVERS = 5


class ListChecks:
    """What lists of servers show."""

    @check
    async def test_list_is_followed_to_its_end(self, trial_clock: object, trial: Trial) -> None:
        """Pages of two rows: each server is there, and once."""
        twin = needs_twin(trial, "answer in small pages")
        made = {await trial.create(await trial.intent()) for _ in range(_SERVERS)}
        twin.change(page=2)

        listing = await trial.provider.list(None)

        shown = [row.external_id for row in listing.instances]
        lacking = sorted(made - set(shown))
        assert not lacking, f"{len(lacking)} of {_SERVERS} servers are not in the list"
        assert len(shown) == len(set(shown)), "servers are in the list twice"
        assert listing.full, "a list of everything does not say that it is full"

    @check
    async def test_strangers_are_not_ours(self, trial_clock: object, trial: Trial) -> None:
        """Servers and addresses without our tag are shown without one, or not at all."""
        twin = needs_twin(trial, "have somebody else in the project")
        strangers = {one.id for one in twin.servers() if one.who == "stranger"}
        addresses = {one.id for one in twin.floating_ips() if one.who == "stranger"}
        listing = await trial.provider.list(None)
        leftovers = await trial.provider.find_leftovers()

        assert strangers, "the twin has no stranger, so nothing was shown"
        taken = [row.name for row in listing.instances if row.external_id in strangers and row.tag]
        assert not taken, f"servers of somebody else carry a tag: {taken}"
        taken = [row.external_id for row in leftovers if row.external_id in addresses and row.tag]
        assert not taken, f"floating IPs of somebody else carry a tag: {taken}"

    @check
    async def test_changes_are_listed_since(self, trial_clock: object, trial: Trial) -> None:
        """What was made since is shown, and what was deleted since is shown as gone."""
        needs(trial, Capability.CHANGES_SINCE)
        first = await trial.intent()
        await trial.active(first)
        before = await trial.provider.list(None)
        assert before.newest is not None, "a list with servers in it tells no time stamp"

        second = await trial.intent()
        server = await trial.active(second)
        changed = await trial.provider.list(before.newest)
        assert not changed.full, "a list of changes says that it is full"
        shown = {row.external_id: row.state for row in changed.instances}
        assert server.external_id in shown, "what was made since is not shown"

        await trial.gone(ResourceKind.SERVER, server.external_id, second.tag)
        ends_at = trio.current_time() + trial.patience_s
        since = changed.newest
        while True:
            listing = await trial.provider.list(since)
            states = {row.external_id: row.state for row in listing.instances}
            if states.get(server.external_id) is InstanceState.GONE:
                break
            since = listing.newest
            late = trio.current_time() > ends_at
            assert not late, "what was deleted since is never shown as gone"
            await trio.sleep(2.0)

    @check
    async def test_without_changes_every_list_is_full(
        self, trial_clock: object, trial: Trial
    ) -> None:
        """Where the cloud does not know of changes, whoever asks for them gets everything."""
        if Capability.CHANGES_SINCE in trial.provider.capabilities:
            pytest.skip(f"{trial.config.type} has the capability changes-since")
        external_id = await trial.create(await trial.intent())
        stamp = (await trial.provider.list(None)).newest

        listing = await trial.provider.list(stamp)

        assert listing.full, "it is not said that the list is full"
        assert external_id in [row.external_id for row in listing.instances]
