"""The conformance tests fail for providers that are wrong, each in its own way, and say how."""

import uuid
from pathlib import Path

import attrs
import pytest

from trellis.errors import (
    AnswerLostError,
    AuthError,
    CloudBrokenError,
    CloudError,
    NoCapacityError,
    QuotaExceededError,
    RejectedError,
    RetryLaterError,
    UnreachableError,
)
from trellis.model.node import ResourceKind
from trellis.model.quota import Resources
from trellis.openstack.quirks import Quirks
from trellis.providers.config import OpenStackProviderConfig
from trellis.providers.openstack import OpenStackProvider
from trellis.sim.cloud import CloudSpec, floating_networks
from trellis.spi.provider import Capability, Gone, InstanceState, PublicAddress
from trellis.spi.registry import ProviderRegistry
from trellis.testing.cassette import CassetteError
from trellis.testing.conformance import ProviderConformance


class ForgetsItsTag(OpenStackProvider):
    def server_request(self, intent, resolved):
        request = super().server_request(intent, resolved)
        kept = {key: value for key, value in request.metadata.items() if "node_id" not in key}
        return attrs.evolve(request, metadata=kept)


class LosesTheOrigin(OpenStackProvider):
    def server_request(self, intent, resolved):
        tag = attrs.evolve(intent.tag, origin="")
        return super().server_request(attrs.evolve(intent, tag=tag), resolved)


class CreatesAgain(OpenStackProvider):
    async def create(self, intent):
        try:
            return await super().create(intent)
        except CloudBrokenError:
            return await super().create(intent)
        except CloudError:
            await self.create_turn()
            return await super().create(intent)


class FindsByNameAlone(OpenStackProvider):
    async def find(self, tag, name):
        rows = await self.compute.servers(name=name)
        facts = await self._network_facts()
        return self.interpret_server(rows[0], facts) if rows else None


class ReadsOnePage(OpenStackProvider):
    async def list(self, since):
        listing = await super().list(since)
        return attrs.evolve(listing, instances=listing.instances[:2])


class SaysGoneTooSoon(OpenStackProvider):
    async def delete_step(self, resource, tag):
        await super().delete_step(resource, tag)
        return Gone.DONE


class NeverDone(OpenStackProvider):
    async def delete_step(self, resource, tag):
        await super().delete_step(resource, tag)
        return Gone.AGAIN


class CannotDeleteWhatIsGone(OpenStackProvider):
    async def delete_step(self, resource, tag):
        gone = await super().delete_step(resource, tag)
        if gone is Gone.DONE and (await self.list(None)).instances:
            raise RejectedError("404: no such server")
        return gone


class HasNoWordForQuota(OpenStackProvider):
    async def create(self, intent):
        try:
            return await super().create(intent)
        except QuotaExceededError as error:
            raise RejectedError(str(error)) from error


class HasNoWordForCapacity(OpenStackProvider):
    def fault(self, row):
        fault = super().fault(row)
        return CloudBrokenError(str(fault)) if isinstance(fault, NoCapacityError) else fault


class GivesUpAtTheFirst401(OpenStackProvider):
    async def limits(self):
        logged_in = (await self.session._account.token()).generation
        reading = await super().limits()
        if (await self.session._account.token()).generation != logged_in:
            raise AuthError("401")
        return reading


class AttachesAnother(OpenStackProvider):
    async def attach_public(self, tag, external_id):
        given = await super().attach_public(tag, external_id)
        facts = await self._network_facts()
        row = await self.network.create_floating_ip(
            network_id=facts.floating,
            port_id=None,
            fixed_address=None,
            description=str(uuid.uuid4()),
        )
        return PublicAddress(external_id=row.id, address=row.floating_ip_address) if row else given


class AttachesUntagged(OpenStackProvider):
    """It marks what it made once it has it, and not before."""

    async def attach_public(self, tag, external_id):
        other = attrs.evolve(tag, deployment="not-yet-known")
        given = await super().attach_public(other, external_id)
        self._mine = {**getattr(self, "_mine", {}), given.external_id: tag}
        return given

    async def find_leftovers(self):
        known = getattr(self, "_mine", {})
        rows = await super().find_leftovers()
        return tuple(attrs.evolve(r, tag=known.get(r.external_id, r.tag)) for r in rows)


class ForgetsThatItNeedsOne(OpenStackProvider):
    def _needs_public(self, row, addresses, facts):
        return False


class HidesItsFloatingIps(OpenStackProvider):
    async def find_leftovers(self):
        rows = await super().find_leftovers()
        return tuple(row for row in rows if row.kind is not ResourceKind.FLOATING_IP)


class ClaimsChangesItCannotSee(OpenStackProvider):
    async def list(self, since):
        listing = await super().list(since)
        there = [row for row in listing.instances if row.state is not InstanceState.GONE]
        return attrs.evolve(listing, instances=tuple(there))


class SaysThatAllIsFull(OpenStackProvider):
    async def list(self, since):
        return attrs.evolve(await super().list(since), full=True)


class DeletesWhileItLooks(OpenStackProvider):
    async def find_leftovers(self):
        for row in (await self.list(None)).instances:
            if row.tag is not None:
                await self.compute.delete_server(row.external_id)
        return ()


class TagsWhatIsNotOurs(OpenStackProvider):
    def interpret_server(self, row, facts):
        from trellis.spi.provider import Tag

        seen = super().interpret_server(row, facts)
        tag = seen.tag or Tag(deployment=self.deployment, node_id="0000000001")
        return attrs.evolve(seen, tag=tag)


class OffersWhatIsNotThere(OpenStackProvider):
    async def inventory(self):
        found = await super().inventory()
        (offer,) = found.offers.values()
        absent = {key: attrs.evolve(offer, label=key[1]) for key in found.missing}
        return attrs.evolve(found, offers={**found.offers, **absent}, missing={})


class CountsBelowZero(OpenStackProvider):
    async def limits(self):
        reading = await super().limits()
        return attrs.evolve(reading, used=reading.used - Resources(cores=100))


class RaisesWhatIsNoCloudError(OpenStackProvider):
    async def get(self, external_id):
        try:
            return await super().get(external_id)
        except CloudError as error:
            raise RuntimeError("it does not answer") from error


class MakesTwoCallsOfOne(OpenStackProvider):
    async def create(self, intent):
        server_id = await super().create(intent)
        await self.compute.console_log(server_id, 1)
        return server_id


class TellsItsSecrets(OpenStackProvider):
    async def home(self):
        try:
            return await super().home()
        except AuthError as error:
            raise AuthError(f"{error}: sim-password was refused") from error


class CapableInWords(OpenStackProvider):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.capabilities = {"floating-ips"}


class RenamesIt(OpenStackProvider):
    def server_request(self, intent, resolved):
        return attrs.evolve(super().server_request(intent, resolved), name="mine")


class CannotDeleteABuildingOne(OpenStackProvider):
    async def delete_step(self, resource, tag):
        seen = await self.get(resource.external_id)
        if seen.state is InstanceState.BUILDING:
            raise RejectedError("wait until it is active")
        return await super().delete_step(resource, tag)


class HasNoConsole(OpenStackProvider):
    async def console_log(self, external_id, lines):
        return None


class DoubtsWhatNeverWent(OpenStackProvider):
    async def create(self, intent):
        try:
            return await super().create(intent)
        except UnreachableError as error:
            raise AnswerLostError(str(error)) from error


class RemembersThemAll(OpenStackProvider):
    async def list(self, since):
        listing = await super().list(since)
        known = getattr(self, "_seen", {})
        self._seen = {**known, **{row.external_id: row for row in listing.instances}}
        return attrs.evolve(listing, instances=tuple(self._seen.values()))

    async def get(self, external_id):
        await self.list(None)
        return await super().get(external_id)


class BlamesTheCloud(OpenStackProvider):
    def fault(self, row):
        return NoCapacityError("no room")


class LeavesWhatIsInDoubt(OpenStackProvider):
    async def delete_step(self, resource, tag):
        if resource.external_id is None:
            return Gone.DONE
        return await super().delete_step(resource, tag)


class IsNotAtHome(OpenStackProvider):
    async def list(self, since):
        listing = await super().list(since)
        return attrs.evolve(listing, home=attrs.evolve(listing.home, region="elsewhere"))


class LeadsAstray(OpenStackProvider):
    async def attach_public(self, tag, external_id):
        return attrs.evolve(await super().attach_public(tag, external_id), address="192.0.2.1")


class SaysThatAllAreChanges(OpenStackProvider):
    quirks = Quirks(ignores_changes_since=True)

    async def list(self, since):
        return attrs.evolve(await super().list(since), full=since is None)


class HasNoWordForRates(OpenStackProvider):
    async def create(self, intent):
        try:
            return await super().create(intent)
        except RetryLaterError as error:
            raise RejectedError(f"too fast: {error}") from error


class HidesItsVolumes(OpenStackProvider):
    async def find_leftovers(self):
        rows = await super().find_leftovers()
        return tuple(row for row in rows if row.kind is not ResourceKind.VOLUME)


class LeavesAnUntaggedServer(OpenStackProvider):
    """What it made is known once the answer is there, and not if it is cancelled before."""

    async def create(self, intent):
        other = attrs.evolve(intent.tag, deployment="not-yet-known")
        server_id = await super().create(attrs.evolve(intent, tag=other))
        self._known = {**getattr(self, "_known", {}), server_id: intent.tag}
        return server_id

    def interpret_server(self, row, facts):
        seen = super().interpret_server(row, facts)
        return attrs.evolve(seen, tag=getattr(self, "_known", {}).get(row.id, seen.tag))


@attrs.frozen(kw_only=True)
class Config(OpenStackProviderConfig):
    pass


ROUTED = CloudSpec(name="teeth", networks=floating_networks())
DIRECT = CloudSpec(name="teeth")
CASSETTES = Path(__file__).parents[2] / "cassettes"

WRONG = [
    (RenamesIt, "test_server_becomes_active_with_addresses", "named 'mine', and not 'tr"),
    (ForgetsItsTag, "test_tag_survives_a_round_trip", "get shows None"),
    (ForgetsItsTag, "test_lost_answer_is_found_again", "is not found by its tag"),
    (LosesTheOrigin, "test_tag_survives_a_round_trip", "get shows"),
    (CreatesAgain, "test_lost_answer_is_found_again", "made 2 servers"),
    (FindsByNameAlone, "test_other_tags_are_not_found", "finds the server of"),
    (ReadsOnePage, "test_list_is_followed_to_its_end", "servers are not in the list"),
    (SaysGoneTooSoon, "test_delete_may_be_repeated", "said to be gone, and is"),
    (NeverDone, "test_delete_may_be_repeated", "is not gone after"),
    (CannotDeleteWhatIsGone, "test_unknown_server_is_gone", "404: no such server"),
    (HasNoWordForQuota, "test_refusal_for_quota_is_typed", "Quota exceeded"),
    (HasNoWordForCapacity, "test_want_of_capacity_is_typed", "the fault is CloudBrokenError"),
    (GivesUpAtTheFirst401, "test_token_that_ends_is_renewed_unseen", "401"),
    (AttachesAnother, "test_floating_ip_is_attached_once", "asked twice, it has"),
    (AttachesUntagged, "test_cancelled_attach_leaves_nothing_unclaimed", "its tag finds"),
    (ForgetsThatItNeedsOne, "test_floating_ip_is_attached_once", "does not say that it needs"),
    (HidesItsFloatingIps, "test_floating_ip_is_found_and_given_back", r"left of the node is \[\]"),
    (ClaimsChangesItCannotSee, "test_changes_are_listed_since", "never shown as gone"),
    (SaysThatAllIsFull, "test_changes_are_listed_since", "a list of changes says that it is full"),
    (DeletesWhileItLooks, "test_queries_change_nothing", "a question changed something: DELETE"),
    (TagsWhatIsNotOurs, "test_strangers_are_not_ours", "somebody else carry a tag"),
    (OffersWhatIsNotThere, "test_inventory_resolves_what_is_there", "no cloud has is offered"),
    (CountsBelowZero, "test_limits_are_readable", "what is used of cores is -"),
    (RaisesWhatIsNoCloudError, "test_dead_cloud_is_a_cloud_error", "it does not answer"),
    (MakesTwoCallsOfOne, "test_create_is_one_call", "a create made 2 calls"),
    (TellsItsSecrets, "test_refused_login_is_an_auth_error", "the error tells a secret"),
    (CapableInWords, "test_capabilities_are_told", "not a frozenset"),
    (CannotDeleteABuildingOne, "test_building_server_can_be_deleted", "wait until it is active"),
    (HasNoConsole, "test_console_is_text", "the console is None"),
    (DoubtsWhatNeverWent, "test_create_that_reaches_nobody_made_nothing", "refused"),
    (RemembersThemAll, "test_deleted_server_leaves_the_list", "the list shows a server that is"),
    (BlamesTheCloud, "test_failed_build_is_an_error", "the fault is NoCapacityError"),
    (LeavesWhatIsInDoubt, "test_floating_ip_in_doubt_is_deleted_by_its_tag", "and left is"),
    (IsNotAtHome, "test_home_is_that_of_every_answer", "the list was read at another home"),
    (LeadsAstray, "test_server_can_be_reached", "nobody answers at 192.0.2.1:22"),
    (SaysThatAllAreChanges, "test_without_changes_every_list_is_full", "not said that the list"),
    (HasNoWordForRates, "test_rate_limit_is_typed", "too fast"),
    (HidesItsVolumes, "test_volume_left_behind_is_found_and_deleted", "is not found"),
    (LeavesAnUntaggedServer, "test_cancelled_create_leaves_nothing_unclaimed", "its tag finds"),
]


def conformance_of(cls, spec):
    """The kit on the twin of one class of provider."""
    types = ProviderRegistry()
    types.add("teeth", lambda c, x: cls(c, x.session, x.deployment), Config)

    class OfThis(ProviderConformance):
        type = "teeth"
        twin = spec

        def types(self):
            return types

    return OfThis()


def checks():
    """The names of all tests of the kit."""
    return sorted(name for name in dir(ProviderConformance) if name.startswith("test_"))


async def run(kit, name, folder, clock):
    """One test of the kit, with the tidying up that follows it."""
    if "volume" in name:
        kit.__class__.label = {"boot-from-volume": True, "volume-size": 10}
    more = {"trial_connects": True} if name == "test_server_can_be_reached" else {}
    async with kit.on_twin(folder) as trial:
        trial.patience_s = 300.0
        await getattr(kit, name)(clock, trial, **more)


def only(error, match):
    """That error, however deep in groups."""
    return pytest.RaisesGroup(pytest.RaisesExc(error, match=match), flatten_subgroups=True)


@pytest.mark.parametrize(
    ("cls", "name", "words"),
    [pytest.param(*row, id=f"{row[0].__name__}-{row[1].removeprefix('test_')}") for row in WRONG],
)
async def test_a_wrong_provider_fails(cls, name, words, tmp_path, autojump_clock):
    """With what is wrong with it, in words; and the right one passes the same test."""
    with only(Exception, words):
        await run(conformance_of(cls, ROUTED), name, tmp_path, autojump_clock)

    right = type("Right", (OpenStackProvider,), {"quirks": cls.quirks})
    await run(conformance_of(right, ROUTED), name, tmp_path, autojump_clock)


async def test_what_is_left_behind_fails_at_the_end(tmp_path, autojump_clock):
    """A test may pass and leave a server: the tidying up must then be able to delete it."""
    kit = conformance_of(NeverDone, DIRECT)

    with only(AssertionError, "is not gone after"):
        await run(kit, "test_create_is_one_call", tmp_path, autojump_clock)


async def test_a_server_that_nobody_claims_fails_at_the_end(tmp_path, autojump_clock):
    """One that carries no tag is left in the cloud for ever."""
    kit = conformance_of(ForgetsItsTag, DIRECT)

    with only(AssertionError, "left in the cloud: server tr0000000001"):
        await run(kit, "test_create_is_one_call", tmp_path, autojump_clock)


class AsksOnceMore(OpenStackProvider):
    async def create(self, intent):
        await self.limits()
        return await super().create(intent)


@pytest.mark.parametrize(("cls", "passes"), [(OpenStackProvider, True), (AsksOnceMore, False)])
async def test_a_provider_that_asks_something_else_fails_on_its_cassettes(
    cls, passes, tmp_path, autojump_clock
):
    """And one that asks what was recorded passes."""
    recorded = (CASSETTES / "rackspaceflex/compute/launch.yaml").read_text()
    copy = tmp_path / "launch.yaml"
    copy.write_text(recorded.replace('"type": "rackspaceflex"', '"type": "teeth"'))
    kit = conformance_of(cls, DIRECT)

    if passes:
        await kit.test_cassette_is_told_again(autojump_clock, copy)
        return
    with pytest.raises(CassetteError, match=r"not recorded: GET .*/limits"):
        await kit.test_cassette_is_told_again(autojump_clock, copy)


def test_every_test_of_the_kit_is_shown_to_fail():
    """One that cannot would say nothing."""
    assert set(checks()) == {name for _, name, _ in WRONG} | {"test_cassette_is_told_again"}


async def test_a_skip_says_which_capability_is_missing(tmp_path, autojump_clock):
    """Here floating IPs, where servers are on an external network and none is wanted."""
    kit = conformance_of(OpenStackProvider, DIRECT)
    kit.__class__.pool = {"auto-floating-ip": False}

    async with kit.on_twin(tmp_path) as trial:
        assert Capability.FLOATING_IPS not in trial.provider.capabilities
        with pytest.raises(pytest.skip.Exception, match="teeth lacks the capability floating-ips"):
            await kit.test_floating_ip_is_attached_once(autojump_clock, trial)
