"""Floating IPs: attached once however often it is asked, found again, and given back."""

import pytest

from trellis.model.node import Resource, ResourceKind
from trellis.spi.provider import Capability, Gone, Instance, InstanceState, LaunchIntent
from trellis.testing.checks.needs import check, needs
from trellis.testing.trial import Trial


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
