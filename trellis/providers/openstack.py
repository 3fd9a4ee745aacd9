"""The stock OpenStack provider: the methods of the SPI as calls to nova, neutron and others."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from typing import Any, Final

import attrs
import structlog
import trio

from trellis.errors import (
    CloudBrokenError,
    CloudError,
    MisconfiguredError,
    NotFoundError,
    RejectedError,
    StaleOfferError,
)
from trellis.http.message import Verb
from trellis.model.node import Addresses, Home, Resource, ResourceKind
from trellis.model.quota import QuotaReading, Resources
from trellis.openstack.compute import Compute, FlavorRow, ServerRequest, ServerRow
from trellis.openstack.faults import error_from_fault
from trellis.openstack.image import Image
from trellis.openstack.network import Network
from trellis.openstack.nova_images import NovaImages
from trellis.openstack.quirks import STOCK, Quirks
from trellis.openstack.session import Session
from trellis.openstack.volume import BlockStorage
from trellis.providers.addresses import choose_addresses
from trellis.providers.config import OpenStackLabelConfig, OpenStackProviderConfig
from trellis.providers.deletion import delete_port, delete_server, delete_volume
from trellis.providers.floating import FloatingIps, ports_left_behind
from trellis.providers.homes import AtHome
from trellis.providers.images import OpenStackImages, chosen
from trellis.providers.inventory import Resolved, Resolver, boots_from_volume
from trellis.providers.limits import read_limits
from trellis.providers.lookup import choose_flavor
from trellis.providers.networks import NetworkFacts, read_networks
from trellis.providers.readiness import after_active
from trellis.providers.rows import (
    METADATA_MOST,
    OUR_METADATA,
    TAG_POOL,
    TAG_PROVIDER,
    earlier,
    seconds_of,
    server_tag,
    state_of,
    tag_of,
)
from trellis.providers.shown import ShownRows
from trellis.providers.spread import TAG_NETWORK, NetworkSpread
from trellis.providers.volumes import Volumes
from trellis.spi.image import ImageStore
from trellis.spi.provider import (
    Capability,
    Gone,
    Instance,
    InstanceState,
    Inventory,
    LaunchIntent,
    Leftover,
    Listing,
    PublicAddress,
    Tag,
)
from trellis.spi.registry import ProviderContext

log = structlog.get_logger()

MOST_DELETED: Final = 5000
"""So many rows of servers that are gone are remembered, at least."""
SINCE_MARGIN_S: Final = 5.0
"""Incremental lists are asked from this long before the newest row (rule 3 of the design)."""


class OpenStackProvider:
    """One region of one account, as a stock OpenStack cloud.

    A cloud that differs sets `quirks`; one that differs in ways no quirk has, overrides
    `server_request`, `interpret_server`, `addresses` or `fault`.

    Args:
        config: the provider's part of the configuration.
        session: the account's road to the region.
        deployment: goes on the tag of everything made.
        quirks: in place of the class's own.
        settings: of the cloud's entry in ``clouds.yaml``; how images get there is among them.
    """

    quirks: Quirks = STOCK
    images: ImageStore | None

    def __init__(
        self,
        config: OpenStackProviderConfig,
        session: Session,
        deployment: str,
        *,
        quirks: Quirks | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.config, self.deployment = config, deployment
        self.session = session
        if quirks is not None:
            self.quirks = quirks
        self._place = AtHome(session)
        self.compute = Compute(session, self.quirks.compute_microversion, config.api_timeout)
        self.network = Network(session, config.api_timeout, self.quirks.lacks_quota_details)
        images = NovaImages if self.quirks.reads_images_through_nova else Image
        self.image = images(session, config.api_timeout)
        self.images = self.image_store(settings or {})
        self._facts: NetworkFacts | None = None
        self._reading = trio.Lock()
        self._found: dict[tuple[str, str], Resolved] | None = None
        self._floats_by_pool = {pool.name: pool.auto_floating_ip for pool in config.pools}
        self._lists_in_full = self.quirks.ignores_changes_since
        self._stamps: dict[str, str] = {}
        self._stamps_before: dict[str, str] = {}
        self._floating = FloatingIps(
            self.network,
            session.cloud,
            delete_may_lie=self.quirks.floating_ip_delete_may_lie,
            described=not self.quirks.floating_ips_lack_descriptions,
        )
        self._shown = ShownRows(self.interpret_server, self._floating.address_of)
        most = self.quirks.servers_per_network
        self._spread = None if most is None else NetworkSpread(most, session.cloud)
        usual = self.quirks.boots_from_volume
        self._volume_boot = usual if usual is not None and usual.holds(session.region) else None
        labels = [label for pool in config.pools for label in pool.labels]
        self.volumes = Volumes(
            BlockStorage(session, config.api_timeout),
            any(boots_from_volume(label, self._volume_boot) for label in labels),
            config.name,
        )
        capabilities = set()
        if not self.quirks.ignores_changes_since:
            capabilities.add(Capability.CHANGES_SINCE)
        if self._wants_floating:
            capabilities.add(Capability.FLOATING_IPS)
        self.capabilities = frozenset(capabilities)

    def image_store(self, settings: Mapping[str, Any]) -> ImageStore | None:
        """Where images are uploaded; None would be a cloud that takes none. A hook."""
        how = chosen(self.config, settings, self.quirks)
        return OpenStackImages(self.session, how, self._place, self.config.api_timeout)

    @property
    def _wants_floating(self) -> bool:
        offered = not self.quirks.gives_public_addresses and not self.quirks.lacks_neutron
        return offered and any(self._floats_by_pool.values())

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Hold nothing: the account has its own task, and connections are the road's."""
        yield

    async def home(self) -> Home:
        """Project, region and compute endpoint of the present token."""
        return await self._place.home()

    # --------------------------------------------------------------------- what there is

    async def inventory(self) -> Inventory:
        """Resolve every configured label; ids that have changed are taken up."""
        home = await self.home()
        async with self._reading:
            facts = self._facts = await self._read_facts()
        await self.volumes.look()
        resolver = Resolver(
            config=self.config,
            quirks=self.quirks,
            compute=self.compute,
            image=self.image,
            network=self.network,
            facts=facts,
            project_id=home.project_id,
            select_flavor=self.select_flavor,
            volume_boot=self._volume_boot,
            lacks_volumes=self.volumes.lacking,
            takes_images=self.images is not None,
        )
        await resolver.run()
        self._found = resolver.found
        return Inventory(
            offers={key: found.offer for key, found in resolver.found.items()},
            missing=resolver.missing,
            home=home,
        )

    def select_flavor(self, label: OpenStackLabelConfig, flavors: Sequence[FlavorRow]) -> FlavorRow:
        """The flavor of a label: by its exact name, or the smallest with ``min-ram``. A hook.

        Raises:
            MissingError: there is none; the text says what comes near.
        """
        return choose_flavor(
            flavors,
            name=label.flavor_name,
            min_ram=label.min_ram,
            passed_over=self.quirks.passed_over_flavors,
        )

    async def limits(self) -> QuotaReading:
        """Nova's limits, neutron's quota, and cinder's where volumes are wanted."""
        network = None if self.quirks.lacks_neutron else self.network
        project_id = (await self.home()).project_id
        storage = await self.volumes.service()
        reading = await read_limits(self.compute, network, storage, project_id)
        if self.quirks.miscounts_use:
            # Ours are on record, and what others use the cloud's refusals teach.
            reading = attrs.evolve(reading, used=Resources())
        return reading if self._spread is None else self._within_networks(reading)

    def _within_networks(self, reading: QuotaReading) -> QuotaReading:
        """The same quota, of no more servers than the networks of all labels together carry."""
        found = [resolved.networks for resolved in (self._found or {}).values()]
        if self._spread is None or not found or not all(found):
            return reading
        carried = self._spread.most * len({id for networks in found for id in networks})
        limits = reading.limits
        if limits.instances is not None and limits.instances <= carried:
            return reading
        return attrs.evolve(reading, limits=attrs.evolve(limits, instances=carried))

    async def _network_facts(self) -> NetworkFacts:
        """What is known of the networks, read at the first need and with each inventory."""
        if self._facts is None:
            # After a restart many launches ask at once: one reads for all.
            async with self._reading:
                if self._facts is None:
                    self._facts = await self._read_facts()
        return self._facts

    async def _read_facts(self) -> NetworkFacts:
        if self.quirks.lacks_neutron:
            return NetworkFacts()
        try:
            return await read_networks(
                self.network,
                floating_wanted=self._wants_floating,
                configured=self.config.floating_network,
            )
        except MisconfiguredError as error:
            log.info("network_service_unusable", provider=self.config.name, error=str(error))
            return NetworkFacts()

    # -------------------------------------------------------------------------- making

    async def create_turn(self) -> None:
        """Wait for the turn of one ``POST /servers`` and take it.

        Where servers are spread over networks, those there are listed once before the first.
        """
        if self._spread is not None:
            await self._look_at_networks(self._spread)
        await self.session.turn("compute", Verb.CREATE)

    async def create(self, intent: LaunchIntent) -> str:
        """Send the one POST that makes a server and return its id; its turn was taken before."""
        resolved = await self._resolved(intent)
        if self._spread is not None and resolved.networks:
            server_id = await self._create_on_one(intent, resolved, self._spread)
        else:
            request = self.server_request(intent, resolved)
            server_id = await self.compute.create_server(request, turn_taken=True)
        if resolved.offer.shape.resources.floating_ips:
            self._floating.server_made(server_id)
        return server_id

    async def _create_on_one(
        self, intent: LaunchIntent, resolved: Resolved, spread: NetworkSpread
    ) -> str:
        """Make the server on one of its networks, and write into it on which."""
        await self._look_at_networks(spread)
        names = {row.id: row.name for row in (await self._network_facts()).networks}
        with spread.one_of(resolved.networks, names) as network:
            request = self.server_request(intent, attrs.evolve(resolved, networks=(network,)))
            tagged = {**request.metadata, TAG_NETWORK: network}
            request = attrs.evolve(request, metadata=tagged)
            server_id = await self.compute.create_server(request, turn_taken=True)
            spread.made(server_id, network)
        return server_id

    async def _look_at_networks(self, spread: NetworkSpread) -> None:
        """Learn which servers are on which network, unless a list has shown it already."""
        if spread.known:
            return
        async with self._reading:
            if not spread.known:
                spread.saw(await self.compute.servers(), full=True)

    async def _resolved(self, intent: LaunchIntent) -> Resolved:
        if self._found is None:
            await self.inventory()
        found = (self._found or {}).get((intent.pool, intent.label))
        if found is None:
            raise StaleOfferError(
                f"label {intent.label!r} of pool {intent.pool!r} is not configured, or the cloud "
                "lacks what it needs",
                cloud=self.session.cloud,
                call="POST compute /servers",
            )
        if not intent.shape.image_id:
            raise StaleOfferError(
                f"image {intent.shape.image_name!r} has no upload here that a server could be "
                "made from",
                cloud=self.session.cloud,
                call="POST compute /servers",
            )
        return found

    def server_request(self, intent: LaunchIntent, resolved: Resolved) -> ServerRequest:
        """What the server of an intent is created from; a hook for clouds that differ."""
        label = self.config.find_label(intent.pool, intent.label)
        assert label is not None
        config_drive = label.config_drive
        size = intent.shape.resources
        return ServerRequest(
            name=intent.name,
            volume_gib=size.volume_gib if size.volumes else None,
            flavor_id=intent.shape.flavor_id,
            image_id=intent.shape.image_id,
            networks=resolved.networks,
            security_groups=resolved.security_groups,
            zone=None if self.quirks.hides_zones else intent.az,
            key_name=label.key_name,
            user_data=label.userdata,
            config_drive=self.quirks.needs_config_drive if config_drive is None else config_drive,
            metadata={
                **label.instance_properties,
                **self._notes(intent, len(label.instance_properties)),
                **server_tag(intent.tag),
                TAG_PROVIDER: self.config.name,
                TAG_POOL: intent.pool,
            },
        )

    def _notes(self, intent: LaunchIntent, own: int) -> dict[str, str]:
        """What an intent says beside its tag, as far as the cloud takes more items."""
        ours = OUR_METADATA + (self.quirks.servers_per_network is not None)
        room = (self.quirks.metadata_most or METADATA_MOST) - ours - own
        return dict(islice(intent.metadata.items(), max(0, room)))

    async def attach_public(self, tag: Tag, external_id: str) -> PublicAddress:
        """Give the server a floating IP by one POST; may be repeated."""
        floating_id = await self._floating.attach(tag, external_id, await self._network_facts())
        address = self._floating.address_of(external_id)
        if address is None:
            raise CloudBrokenError(
                f"floating IP {floating_id} has no address", cloud=self.session.cloud
            )
        return PublicAddress(external_id=floating_id, address=address)

    # ------------------------------------------------------------------------- looking

    async def find(self, tag: Tag, name: str) -> Instance | None:
        """Look for the server of this tag by its name; names of strangers may be the same."""
        facts = await self._network_facts()
        rows = [row for row in await self.compute.servers(name=name) if tag_of(row) == tag]
        standing = [row for row in rows if state_of(row) is not InstanceState.GONE]
        found = next(iter(standing or rows), None)
        return None if found is None else self.interpret_server(found, facts)

    async def get(self, external_id: str) -> Instance:
        """Look at one server; a 404 is GONE only if the project stayed the same meanwhile."""
        facts = await self._network_facts()
        try:
            row = await self._place.call(lambda: self.compute.server(external_id))
        except NotFoundError:
            self._server_gone(external_id)
            return Instance(external_id=external_id, name="", state=InstanceState.GONE)
        return self.interpret_server(row, facts)

    async def find_foreign(self, name: str, metadata: Mapping[str, str]) -> tuple[str, ...]:
        """Look for servers of this name and metadata that no Trellis has tagged."""
        rows = await self.compute.servers(name=name)
        return tuple(
            row.id
            for row in rows
            if row.name == name
            and metadata.items() <= row.metadata.items()
            and tag_of(row) is None
            and state_of(row) is not InstanceState.GONE
        )

    async def public_of(self, external_id: str) -> tuple[PublicAddress, ...]:
        """The floating IPs on a server's ports that no Trellis has tagged."""
        if self.quirks.lacks_neutron or not (await self._network_facts()).usable:
            return ()
        return await self._floating.foreign_of(external_id)

    async def list(self, since: str | None) -> Listing:
        """List servers, all or those changed since 5 s before the newest row of *since*.

        An answer that shows what did not change comes from a cloud that ignores the question:
        it is a full list, and only full ones are asked for from then on; so they are where the
        question is refused. The newest row is the newest of those that differ from what was
        shown before: a cloud's clock may be set back, and its old rows stay in the future then.
        """
        facts = await self._network_facts()
        asked = None if since is None or self._lists_in_full else earlier(since, SINCE_MARGIN_S)
        try:
            rows = await self.compute.servers(changes_since=asked)
        except RejectedError as error:
            if asked is None:
                raise
            self._lists_in_full = True
            log.warning("changes_since_refused", provider=self.config.name, error=str(error))
            rows = await self.compute.servers()
        if asked is not None and any(row.updated and row.updated < asked for row in rows):
            self._lists_in_full = True
            log.warning("changes_since_ignored", provider=self.config.name)
        full = asked is None or self._lists_in_full
        if self._spread is not None:
            self._spread.saw(rows, full=full)
        return Listing(
            instances=self._shown.read(rows, facts),
            newest=self._newest_change(rows, full=full) or since,
            home=await self.home(),
            full=full,
        )

    def _newest_change(self, rows: Sequence[ServerRow], *, full: bool) -> str | None:
        """The newest stamp of the rows that were not shown before as they are now."""
        known, before = self._stamps, self._stamps_before
        shown = {row.id: row.updated for row in rows if row.updated}
        changed = [
            stamp for id, stamp in shown.items() if stamp not in (known.get(id), before.get(id))
        ]
        if full and len(known) > len(shown) + MOST_DELETED:
            # What is deleted is shown among changes only: it is forgotten some time later.
            self._stamps_before, self._stamps = known, shown
        else:
            known.update(shown)
        return max(changed, default=None)

    def interpret_server(self, row: ServerRow, facts: NetworkFacts) -> Instance:
        """Read one row in the core's words; a hook for clouds that differ.

        What it gives must follow from the row, *facts* and the floating IPs given: a row that the
        next list shows the same is not read again.

        Strangers' rows are not looked at closely: nothing is ever done about them. Rows of
        deleted servers have lost their metadata, and with it the tag (seen with nova 34).
        """
        state, tag = state_of(row), tag_of(row)
        if state is InstanceState.GONE:
            self._server_gone(row.id)
        if tag is None or state is InstanceState.GONE:
            name, updated = row.name or "", row.updated or ""
            return Instance(external_id=row.id, name=name, state=state, tag=tag, updated=updated)
        fault = self.fault(row) if state is InstanceState.ERROR else None
        if state is InstanceState.ACTIVE and self.quirks.ready_waits:
            state, why = after_active(row.metadata, self.quirks.ready_waits)
            fault = CloudBrokenError(why, cloud=self.session.cloud) if why else None
        addresses = self.addresses(row, facts)
        return Instance(
            external_id=row.id,
            name=row.name or "",
            state=state,
            fault=fault,
            addresses=addresses,
            needs_public=addresses is not None and self._needs_public(row, addresses, facts),
            az=row.zone or None,
            tag=tag,
            updated=row.updated or "",
            created_at=seconds_of(row.created),
            volumes=tuple([volume.id for volume in row.volumes]) if row.volumes else (),
        )

    def addresses(self, row: ServerRow, facts: NetworkFacts) -> Addresses | None:
        """Sort out a server's addresses; a hook for clouds that differ."""
        addresses = choose_addresses(row, self.quirks, facts.external_names)
        given = self._floating.address_of(row.id)
        if given is None or addresses is None or addresses.public_ipv4 is not None:
            return addresses
        # Nova shows a floating IP some time after neutron gave it (quirks 3.1: HP, minutes).
        return attrs.evolve(addresses, interface_ip=given, public_ipv4=given)

    def fault(self, row: ServerRow) -> CloudError | None:
        """Why a server is in ERROR; None while the cloud does not say. A hook."""
        if row.fault is None:
            return None
        return error_from_fault(row.fault.message or "", row.fault.code, cloud=self.session.cloud)

    def _needs_public(self, row: ServerRow, addresses: Addresses, facts: NetworkFacts) -> bool:
        pool = row.metadata.get(TAG_POOL, "")
        return (
            addresses.public_ipv4 is None
            and addresses.private_ipv4 is not None
            and facts.floating is not None
            and not self.quirks.gives_public_addresses
            and not self.quirks.reaches_only_ipv6
            and self._floats_by_pool.get(pool, False)
        )

    async def console_log(self, external_id: str, lines: int) -> str:
        """The end of a server's console, or "" where there is none."""
        return await self.compute.console_log(external_id, lines)

    # ------------------------------------------------------------------------ deleting

    async def find_leftovers(self) -> tuple[Leftover, ...]:
        """Floating IPs with a tag of Trellis, and ports and volumes whose server may be gone.

        Nova deletes the ports and volumes it made, but not always. A port that is DOWN names its
        server, which alone says whose it is; of a volume only its id does, by what was recorded
        when it was attached. Keypairs are not made.
        """
        volumes = await self.volumes.leftovers()
        if self.quirks.lacks_neutron or not (await self._network_facts()).usable:
            return volumes
        floating: tuple[Leftover, ...] = ()
        if not self.quirks.gives_public_addresses:
            floating = await self._floating.leftovers(await self._owners(self._may_float))
        return (*floating, *await ports_left_behind(self.network), *volumes)

    async def _owners(
        self, counts: Callable[[ServerRow], bool] = lambda _: True
    ) -> Mapping[str, Tag]:
        """The tags of servers, where floating IPs carry none and are known by their server's."""
        if self._floating.described:
            return {}
        rows = filter(counts, await self.compute.servers())
        return {row.id: tag for row in rows if (tag := tag_of(row)) is not None}

    def _may_float(self, row: ServerRow) -> bool:
        """Whether its floating IP can be ours: one on a server that was to have none is not."""
        return self._floats_by_pool.get(row.metadata.get(TAG_POOL, ""), True)

    async def delete_step(self, resource: Resource, tag: Tag) -> Gone:
        """Tell the cloud to delete one thing, or see that it is gone.

        Of a thing in doubt, floating IPs of its tag are deleted, and DONE means only that there
        is none *now*; a server in doubt must be looked for with `find`.

        Raises:
            RejectedError: a kind this provider never makes, or a server in doubt.
        """
        external_id = resource.external_id
        match resource.kind:
            case ResourceKind.SERVER if external_id is not None:
                return await self._place.call(lambda: self._delete_server(external_id))
            case ResourceKind.FLOATING_IP if external_id is not None:
                return await self._place.call(lambda: self._floating.delete(external_id))
            case ResourceKind.FLOATING_IP:
                return await self._place.call(lambda: self._delete_floating_of(tag))
            case ResourceKind.PORT if external_id is not None:
                return await self._place.call(lambda: delete_port(self.network, external_id))
            case ResourceKind.VOLUME if external_id is not None:
                return await self._place.call(
                    lambda: delete_volume(self.volumes.storage, external_id)
                )
            case _:
                raise RejectedError(
                    f"there is no way to delete a {resource.kind.value} without its id"
                    if external_id is None
                    else f"this provider makes no {resource.kind.value}s and deletes none",
                    cloud=self.session.cloud,
                )

    async def _delete_server(self, server_id: str) -> Gone:
        gone = await delete_server(self.compute, server_id)
        if gone is Gone.DONE:
            self._server_gone(server_id)
        return gone

    def _server_gone(self, server_id: str) -> None:
        self._floating.server_gone(server_id)
        if self._spread is not None:
            self._spread.gone(server_id)

    async def _delete_floating_of(self, tag: Tag) -> Gone:
        owners = await self._owners()
        return await self._floating.delete_of(tag, [id for id in owners if owners[id] == tag])


def make_provider(config: OpenStackProviderConfig, context: ProviderContext) -> OpenStackProvider:
    """Make the stock provider of a configuration, with the quirks of its type; does no I/O."""
    quirks = None if context.profile is None else context.profile.settings
    return OpenStackProvider(
        config, context.session, context.deployment, quirks=quirks, settings=context.settings
    )
