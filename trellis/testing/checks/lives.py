"""A server's life: created, found, active, reached, deleted, and gone for good."""

import uuid

import attrs
import pytest
import trio

from trellis.model.names import node_id
from trellis.model.node import Resource, ResourceKind
from trellis.sim.cloud import Faults, Latency, Lognormal
from trellis.spi.provider import Gone, InstanceState, LaunchIntent
from trellis.testing.checks.needs import check, needs_twin
from trellis.testing.trial import Trial

_BANNER_WITHIN_S = 900.0
_SETTLES_WITHIN_S = 300.0
_CANCELLED_TRIES = 8
_SHOWN_FOR_S = 600.0


class LifeChecks:
    """What becomes of one server."""

    @check
    async def test_server_becomes_active_with_addresses(
        self, trial_clock: object, trial: Trial
    ) -> None:
        """It has the name and tag of its intent, and an address to reach it at."""
        intent = await trial.intent()

        server = await trial.active(intent)

        assert server.tag == intent.tag, f"tagged {server.tag}, and not {intent.tag}"
        assert server.name == intent.name, f"named {server.name!r}, and not {intent.name!r}"
        assert server.addresses is not None
        assert server.addresses.interface_ip, "there is no address to reach it at"
        if intent.az is not None and server.az is not None:
            assert server.az == intent.az, f"made in zone {server.az}, and not in {intent.az}"

    @check
    async def test_server_can_be_reached(
        self, trial_clock: object, trial: Trial, trial_connects: bool
    ) -> None:
        """Somebody answers at its address, floating or not, as SSH does."""
        if not trial_connects:
            pytest.skip("servers of a live cloud are connected to with --live-connect only")
        intent = await trial.intent()
        server = await trial.active(intent)
        assert server.addresses is not None
        host = server.addresses.interface_ip
        if server.needs_public:
            host = (await trial.provider.attach_public(intent.tag, server.external_id)).address

        banner = await _banner(trial, host)

        assert banner.startswith(b"SSH-"), f"at {host} somebody says {banner[:40]!r}"

    @check
    async def test_tag_survives_a_round_trip(self, trial_clock: object, trial: Trial) -> None:
        """List, get and find show the tag as it was given, with its origin."""
        intent = await trial.intent(purpose="conformance")
        external_id = await trial.create(intent)

        shown = await trial.provider.get(external_id)
        found = await trial.provider.find(intent.tag, intent.name)
        listed = {row.external_id: row for row in await trial.ours()}

        assert shown.tag == intent.tag, f"get shows {shown.tag}, and not {intent.tag}"
        assert found is not None, "it is not found by its tag"
        assert found.external_id == external_id, f"found {found.external_id} by its tag"
        assert external_id in listed, "the list does not show it with its tag"
        assert listed[external_id].tag == intent.tag, f"listed with {listed[external_id].tag}"

    @check
    async def test_other_tags_are_not_found(self, trial_clock: object, trial: Trial) -> None:
        """Names are not unique: another node, deployment or origin is another server's tag."""
        intent = await trial.intent()
        await trial.create(intent)

        for other in (
            attrs.evolve(intent.tag, node_id=node_id(4_000_000_000)),
            attrs.evolve(intent.tag, deployment="somebody-else"),
            attrs.evolve(intent.tag, origin="other"),
        ):
            found = await trial.provider.find(other, intent.name)
            assert found is None, f"{other} finds the server of {intent.tag}"

    @check
    async def test_delete_may_be_repeated(self, trial_clock: object, trial: Trial) -> None:
        """Until it is done and after that; done means that it is gone."""
        intent = await trial.intent()
        server = await trial.active(intent)
        known = _server(server.external_id)

        await trial.provider.delete_step(known, intent.tag)
        await trial.provider.delete_step(known, intent.tag)
        await trial.gone(ResourceKind.SERVER, server.external_id, intent.tag)

        left = await trial.provider.get(server.external_id)
        assert left.state is InstanceState.GONE, f"said to be gone, and is {left.state.value}"
        if trial.twin is not None:
            there = [one.name for one in trial.twin.servers() if one.id == server.external_id]
            assert not there, "said to be gone, and the cloud has it still"
        again = await trial.provider.delete_step(known, intent.tag)
        assert again is Gone.DONE, "what was gone is not gone any more"

    @check
    async def test_building_server_can_be_deleted(self, trial_clock: object, trial: Trial) -> None:
        """Nobody waits for a server that is not wanted any more."""
        intent = await trial.intent()
        external_id = await trial.create(intent)

        await trial.gone(ResourceKind.SERVER, external_id, intent.tag)

        assert external_id not in [row.external_id for row in await trial.ours()]

    @check
    async def test_unknown_server_is_gone(self, trial_clock: object, trial: Trial) -> None:
        """To delete what the cloud does not know is to be done, and no error."""
        tag = (await trial.intent()).tag
        unknown = str(uuid.uuid4())

        done = await trial.provider.delete_step(_server(unknown), tag)
        shown = await trial.provider.get(unknown)

        assert done is Gone.DONE, "what the cloud does not know is not gone"
        assert shown.state is InstanceState.GONE, f"it is {shown.state.value}, and not gone"

    @check
    async def test_deleted_server_leaves_the_list(self, trial_clock: object, trial: Trial) -> None:
        """A full list shows it no more, or as gone; find does not take it for a living one."""
        intent = await trial.intent()
        server = await trial.active(intent)
        await trial.gone(ResourceKind.SERVER, server.external_id, intent.tag)

        listed = [row.external_id for row in await trial.ours()]
        found = await trial.provider.find(intent.tag, intent.name)

        assert server.external_id not in listed, "the list shows a server that is gone"
        assert found is None or found.state is InstanceState.GONE, "find shows one that is gone"

    @check
    async def test_volume_left_behind_is_found_and_deleted(
        self, trial_clock: object, trial: Trial
    ) -> None:
        """Nova does not always delete a volume it made: known by its id, it is deleted."""
        twin = needs_twin(trial, "leave a volume behind")
        intent = await trial.intent()
        if not intent.shape.resources.volumes:
            pytest.skip(f"servers of {trial.config.type} boot from no volume")
        twin.change(faults=Faults(leak_volume=1.0))
        await trial.active(intent)
        # The cloud leaves only such volumes as it has shown for a while.
        await trio.sleep(_SHOWN_FOR_S)
        server = await trial.becomes(await _id_of(trial, intent), InstanceState.ACTIVE)
        assert server.volumes, "the server shows no volume"

        await trial.gone(ResourceKind.SERVER, server.external_id, intent.tag)
        await trio.sleep(_SHOWN_FOR_S)

        left = {row.external_id: row.kind for row in await trial.provider.find_leftovers()}
        for volume in server.volumes:
            assert left.get(volume) is ResourceKind.VOLUME, f"volume {volume} is not found"
            await trial.gone(ResourceKind.VOLUME, volume, intent.tag)
        left = {row.external_id: row.kind for row in await trial.provider.find_leftovers()}
        assert not set(server.volumes) & set(left), "it is gone, and shown still"

    @check
    async def test_create_is_one_call(self, trial_clock: object, trial: Trial) -> None:
        """One remote change: the core records an intent before each."""
        twin = needs_twin(trial, "count its calls")
        intent = await trial.intent()
        before = sum(n for call, n in twin.ledger.calls.items() if call.startswith("POST compute"))

        await trial.create(intent)

        after = sum(n for call, n in twin.ledger.calls.items() if call.startswith("POST compute"))
        assert after - before == 1, f"a create made {after - before} calls that change something"

    @check
    async def test_cancelled_create_leaves_nothing_unclaimed(
        self, trial_clock: object, trial: Trial
    ) -> None:
        """Whenever it is cancelled: what it made is found again by its tag, and can be deleted."""
        if trial.twin is not None:
            # So that each of the cancels comes while the cloud is at it.
            trial.twin.change(latency=Latency.of(Lognormal(1.0, 1.0)))
        left_behind = 0
        for number in range(_CANCELLED_TRIES if trial.twin else 1):
            intent = await trial.intent()
            await trial.provider.create_turn()
            with trio.move_on_after(0.1 + 0.1 * number) as scope:
                await trial.provider.create(intent)
            await trio.sleep(_SETTLES_WITHIN_S if trial.twin else 20.0)

            found = await trial.provider.find(intent.tag, intent.name)
            if trial.twin is not None:
                truth = [one.id for one in trial.twin.servers() if one.name == intent.name]
                assert len(truth) <= 1, f"one create made {len(truth)} servers"
                claimed = [] if found is None else [found.external_id]
                assert claimed == truth, f"there is {truth}, and its tag finds {claimed}"
            if found is not None:
                left_behind += scope.cancelled_caught
                await trial.gone(ResourceKind.SERVER, found.external_id, intent.tag)
        if trial.twin is not None:
            assert left_behind, "no cancelled create was carried out, so nothing was shown"


def _server(external_id: str) -> Resource:
    return Resource(kind=ResourceKind.SERVER, sent_at=0.0, external_id=external_id)


async def _id_of(trial: Trial, intent: LaunchIntent) -> str:
    found = await trial.provider.find(intent.tag, intent.name)
    assert found is not None, "it is not found by its tag"
    return found.external_id


async def _banner(trial: Trial, host: str) -> bytes:
    """The first words of whoever answers at a node's port, tried until its guest has booted."""
    port = trial.config.pools[0].labels[0].connection_port
    refused: OSError | None = None
    with trio.move_on_after(_BANNER_WITHIN_S):
        while True:
            try:
                stream = await trial.connect(host, port)
            except OSError as error:
                refused = error
                await trio.sleep(2.0)
            else:
                async with stream:
                    return bytes(await stream.receive_some(256))
    raise AssertionError(f"nobody answers at {host}:{port} in {_BANNER_WITHIN_S:g} s: {refused}")
