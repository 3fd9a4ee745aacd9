"""Floating IPs: attached once however often it is asked, found again, and given back."""

import pytest
import trio

from trellis.model.node import Resource, ResourceKind
from trellis.sim.cloud import Latency, Lognormal
from trellis.spi.provider import Capability, Gone, Instance, InstanceState, LaunchIntent
from trellis.testing.checks.needs import check, needs, needs_twin
from trellis.testing.trial import Trial

_CANCELLED_TRIES = 8
_FIRST_CANCEL_S = 0.1
_LATER_BY_S = 0.1
_SETTLES_WITHIN_S = 300.0


class AddressChecks:
    """What becomes of public addresses."""

    @check
    async def test_floating_ip_is_attached_once(self, trial_clock: object, trial: Trial) -> None:
        """However often it is asked for, it is the same, and the server shows it."""
        intent, server = await _without_a_public_address(trial)

        given = await trial.provider.attach_public(intent.tag, server.external_id)
        again = await trial.provider.attach_public(intent.tag, server.external_id)

        assert again == given, f"asked twice, it has {given.address} and {again.address}"
        if trial.twin is not None:
            mine = trial.twin.spec.credentials.username
            made = [one.name for one in trial.twin.floating_ips() if one.who == mine]
            assert made == [given.address], f"the cloud has {made}"
        shown = await trial.becomes(server.external_id, InstanceState.ACTIVE)
        assert shown.addresses is not None
        assert shown.addresses.public_ipv4 == given.address, f"shown is {shown.addresses}"
        assert shown.addresses.interface_ip == given.address, f"shown is {shown.addresses}"
        assert not shown.needs_public, "it has a public address, and needs one still"

    @check
    async def test_floating_ip_is_found_and_given_back(
        self, trial_clock: object, trial: Trial
    ) -> None:
        """It carries the tag, its delete may be repeated, and then there is none any more."""
        intent, server = await _without_a_public_address(trial)
        given = await trial.provider.attach_public(intent.tag, server.external_id)

        found = [row for row in await trial.provider.find_leftovers() if row.tag == intent.tag]
        assert [(row.kind, row.external_id) for row in found] == [
            (ResourceKind.FLOATING_IP, given.external_id)
        ], f"left of the node is {found}"

        known = Resource(kind=ResourceKind.FLOATING_IP, sent_at=0.0, external_id=given.external_id)
        await trial.provider.delete_step(known, intent.tag)
        await trial.gone(ResourceKind.FLOATING_IP, given.external_id, intent.tag)
        again = await trial.provider.delete_step(known, intent.tag)
        assert again is Gone.DONE, "what was gone is not gone any more"
        left = [row for row in await trial.provider.find_leftovers() if row.tag == intent.tag]
        assert not left, f"it is gone, and left is {left}"

    @check
    async def test_floating_ip_in_doubt_is_deleted_by_its_tag(
        self, trial_clock: object, trial: Trial
    ) -> None:
        """One whose id nobody knows, since the answer that told it was lost."""
        intent, server = await _without_a_public_address(trial)
        await trial.provider.attach_public(intent.tag, server.external_id)

        await trial.gone(ResourceKind.FLOATING_IP, None, intent.tag)

        left = [row for row in await trial.provider.find_leftovers() if row.tag == intent.tag]
        assert not left, f"it is gone, and left is {left}"

    @check
    async def test_cancelled_attach_leaves_nothing_unclaimed(
        self, trial_clock: object, trial: Trial
    ) -> None:
        """What it made carries the tag, and whoever attaches again gets that and no other."""
        twin = needs_twin(trial, "be slow")
        mine = twin.spec.credentials.username
        left_behind = 0
        for number in range(_CANCELLED_TRIES):
            intent, server = await _without_a_public_address(trial)
            usual = twin.spec.latency
            # So that each of the cancels comes while the cloud is at what changes something.
            twin.change(latency=Latency(get=Lognormal(0.0, 0.0), post=Lognormal(1.0, 1.0)))
            with trio.move_on_after(_FIRST_CANCEL_S + _LATER_BY_S * number) as scope:
                await trial.provider.attach_public(intent.tag, server.external_id)
            twin.change(latency=usual)
            await trio.sleep(_SETTLES_WITHIN_S)

            made = {one.id for one in twin.floating_ips() if one.who == mine}
            rows = await trial.provider.find_leftovers()
            found = {row.external_id for row in rows if row.tag == intent.tag}
            assert found == made, f"there is {made}, and its tag finds {found}"
            left_behind += len(made) if scope.cancelled_caught else 0
            given = await trial.provider.attach_public(intent.tag, server.external_id)
            there = {one.id for one in twin.floating_ips() if one.who == mine}
            assert there == {given.external_id}, f"attached again, and there is {there}"
            await trial.gone(ResourceKind.FLOATING_IP, given.external_id, intent.tag)
            await trial.gone(ResourceKind.SERVER, server.external_id, intent.tag)
        assert left_behind, "no cancelled call was carried out, so nothing was shown"


async def _without_a_public_address(trial: Trial) -> tuple[LaunchIntent, Instance]:
    """A server that needs one; skips the test where servers have one of their own."""
    needs(trial, Capability.FLOATING_IPS)
    intent = await trial.intent()
    server = await trial.active(intent)
    assert server.addresses is not None
    if server.addresses.public_ipv4 is not None:
        pytest.skip(f"servers of {trial.config.type} have public addresses of their own")
    assert server.needs_public, "the server does not say that it needs a public address"
    return intent, server
