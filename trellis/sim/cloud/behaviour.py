"""Behaviour flags: in what a simulated cloud is not stock, each with the row that says so.

A twin of a real cloud (`trellis.sim.clouds`) is a `CloudSpec` with some of these set. They are
written from the project's survey of clouds, never from a plugin: a plugin is tried against them.
"""

from typing import Any

import attrs


def manner(default: Any, *, row: str) -> Any:
    """A field of `Behaviour`.

    Args:
        default: what a stock cloud does.
        row: of the survey of clouds, as ``part 1 §3.1`` or ``Rackspace classic: Neutron``.
    """
    return attrs.field(default=default, metadata={"row": row})


@attrs.frozen(kw_only=True)
class Behaviour:
    """How a simulated cloud deviates from a stock one, beyond what its offer and limits say.

    Attributes:
        scopes_unasked: a v2.0 login that names no tenant is scoped to the project all the same;
            else its token has no project and an empty catalog.
        tenant: the project's id, where it is a number.
        shows_older_products: the catalog has more services of type compute than the one that is
            meant, one of them without a region, and block storage by version 1 only.
        hides_issue: a v2.0 login does not say when its token was issued.
        asks_second_factor: a right password is refused for want of a second factor.
        is_disabled: the account is.
        other_projects: names of projects that the user has beside, in which nothing is activated.
        neutron_is_dead: a network service is in the catalog and nothing answers there.
        lacks_security_groups: who names some in a create is refused.
        lacks_zones: none are shown, and who names one in a create is refused.
        joins_all_networks: a server for which no networks are named is on all of them.
        missing_flavors: region and name of flavors that other regions have.
        metadata_most: so many items of metadata a server may have; more are refused.
        refuses_diskless: a server of a flavor without a disk must boot from a volume.
        volumeless_flavors: patterns of flavors of which a server cannot boot from a volume.
        tells_ram_in_gib: the limits tell what is used of the memory in GiB, and its limit in MiB.
        lists_deleted: full lists show deleted servers for some time.
        gives_access_address: a server has its public address as ``accessIPv4``.
        rackconnect: in what RackConnect's work on a server ends, as ``DEPLOYED``; "" does none.
        rackconnect_s: how long that work takes.
        managed: in what the managed service level's work ends, as ``Complete``; "" does none.
        managed_s: how long that work takes.
        regions_not_activated: they are missing from the catalog of a customer who has not
            activated them.
        shows_dead_ipv6: servers are shown with IPv6 addresses that no guest has.
        says_all_used: the limits say that all the quota is used, whatever is.
        guests_need_config_drive: a guest without a config drive learns no address: it is active
            and never answers.
        names_guests_by_config_drive: a guest without a config drive does not know its name.
        silent_flavors: patterns of flavors with an operating system that has no sshd.
        volumes_in_zones: a volume is in its server's zone, and the zone ``nova`` is none: who
            names no zone gets no volume.
        diskless_regions: in these, no flavor has a disk, and a server that does not boot from a
            volume is refused.
        empty_catalog_is_object: the catalog of a token without a tenant is an empty object, and
            not an empty list.
        has_hp_catalog: services have HP's names and fields, the image service's URL ends in a
            version 1 that must be cut off, and there are services without a region.
        speaks_glance_v1: the image service knows no version 2, and what version 1 shows is had
            from nova alone.
        image_page: so many images are shown at once; links between pages lead to http.
        network_carries: servers beyond so many on a network do not answer.
        floating_shown_after_s: so long nova does not show that a server has a floating IP.
        shows_plain_addresses: nova does not say which address is fixed and which floating.
        floating_ips_lack_descriptions: neutron refuses a description, and passes over a filter
            by one.
        lacks_quota_details: neutron tells its limits, and not what is used of them.
        quota_is_413: nova refuses for want of quota as it does for the rate, with 413; what it
            says of how long to wait is 0.
        unnamed_zone: servers for which no zone is named all land in this one.
        zone_capacity: servers that one zone holds; None is endless.
        import_methods: ways in which images are imported; empty takes files by PUT only.
        imports_by_task: images are made by tasks from objects alone, and PATCH is the one way to
            their properties; create and PUT are refused.
        vhd_creator: a VHD is imported only if it says that this made it.
        image_gib_most: an import of a larger virtual disk fails.
        vendor_properties: prefixes of properties that only the vendor sets.
        waits_for_agent: a server of an image that does not say that it has no agent ends in ERROR.
        boots_formats: servers of images in other formats end in ERROR; empty is all.
        boots_old_qcow2: servers of qcow2 files newer than compat 0.10 never boot.
        qcow2_import_s: a server of a qcow2 image boots so much longer, as it is imported each time.
        clones_images: an image cannot be deleted while a server or a volume of it is there.
        front_mib_most: a front refuses larger bodies, in HTML; None has no such limit.
        files_account: prefix of the account in the file store, before an id of its own.
        object_mib_most: a larger object is refused; it must come in segments.
    """

    scopes_unasked: bool = manner(False, row="Rackspace classic: Tenant")
    tenant: str = manner("", row="Rackspace classic: Tenant")
    shows_older_products: bool = manner(
        False, row="Rackspace classic: Compute entry; Rackspace classic: Block storage"
    )
    hides_issue: bool = manner(False, row="Rackspace classic: Token")
    asks_second_factor: bool = manner(False, row="Rackspace classic: MFA")
    is_disabled: bool = manner(False, row="part 1 §10")
    other_projects: tuple[str, ...] = manner((), row="Rackspace Flex: Project")
    neutron_is_dead: bool = manner(False, row="Rackspace classic: Neutron")
    lacks_security_groups: bool = manner(False, row="Rackspace classic: Security groups")
    lacks_zones: bool = manner(False, row="part 1 §2.3")
    joins_all_networks: bool = manner(False, row="part 1 §3.4")
    missing_flavors: tuple[tuple[str, str], ...] = manner((), row="Rackspace Flex: Flavors")
    metadata_most: int | None = manner(None, row="Rackspace classic: Absolute limits")
    refuses_diskless: bool = manner(False, row="Rackspace classic: Flavors")
    volumeless_flavors: tuple[str, ...] = manner((), row="Rackspace classic: Flavors")
    tells_ram_in_gib: bool = manner(False, row="Rackspace classic: Usage units")
    lists_deleted: bool = manner(False, row="Rackspace classic: Deleted things")
    gives_access_address: bool = manner(False, row="part 1 §3.2")
    rackconnect: str = manner("", row="part 1 §7")
    rackconnect_s: float = manner(90.0, row="part 1 §7")
    managed: str = manner("", row="part 1 §7")
    managed_s: float = manner(120.0, row="part 1 §7")
    regions_not_activated: tuple[str, ...] = manner((), row="OVH Public Cloud: Regions")
    shows_dead_ipv6: bool = manner(False, row="OVH Public Cloud: IPv6")
    says_all_used: bool = manner(False, row="OVH Public Cloud: Quota")
    guests_need_config_drive: bool = manner(
        False, row="Rackspace classic: Guest network; HP Cloud: Config drive"
    )
    names_guests_by_config_drive: bool = manner(False, row="OVH Public Cloud: Config drive")
    silent_flavors: tuple[str, ...] = manner((), row="OVH Public Cloud: Flavors")
    volumes_in_zones: bool = manner(False, row="OVH Public Cloud: AZ")
    diskless_regions: tuple[str, ...] = manner((), row="Vexxhost: Boot from volume")
    empty_catalog_is_object: bool = manner(False, row="HP Cloud: Scope")
    has_hp_catalog: bool = manner(False, row="HP Cloud: Endpoints; HP Cloud: Extra types")
    speaks_glance_v1: bool = manner(False, row="HP Cloud: Image")
    image_page: int | None = manner(None, row="HP Cloud: Image")
    network_carries: int | None = manner(None, row="HP Cloud: Network")
    floating_shown_after_s: float = manner(0.0, row="HP Cloud: Floating IP")
    shows_plain_addresses: bool = manner(False, row="HP Cloud: Floating IP")
    floating_ips_lack_descriptions: bool = manner(False, row="HP Cloud: Releases")
    lacks_quota_details: bool = manner(False, row="HP Cloud: Releases")
    quota_is_413: bool = manner(False, row="part 1 §5.1")
    unnamed_zone: str = manner("", row="HP Cloud: AZ")
    zone_capacity: int | None = manner(None, row="HP Cloud: AZ")
    import_methods: tuple[str, ...] = manner(("glance-direct", "web-download"), row="part 1 §4.1")
    imports_by_task: bool = manner(False, row="part 1 §4.1; Rackspace classic: Image")
    vhd_creator: str = manner("", row="part 1 §4.2; Rackspace classic: VHD making")
    image_gib_most: int | None = manner(None, row="part 1 §4.2; Rackspace classic: Size")
    vendor_properties: tuple[str, ...] = manner((), row="part 1 §4.1; part 1 §4.3")
    waits_for_agent: bool = manner(False, row="part 1 §4.3; Rackspace classic: Image properties")
    boots_formats: tuple[str, ...] = manner((), row="part 1 §4.2")
    boots_old_qcow2: bool = manner(False, row="part 1 §4.2; HP Cloud: Image")
    qcow2_import_s: float = manner(0.0, row="part 1 §4.2; Vexxhost: Image")
    clones_images: bool = manner(False, row="part 1 §4.2")
    front_mib_most: int | None = manner(None, row="part 1 §4.4; Vexxhost: Misc")
    files_account: str = manner("AUTH_", row="Rackspace classic: Tenant")
    object_mib_most: int = manner(5 * 1024, row="part 1 §4.1")


STOCK = Behaviour()
"""A cloud as upstream has it."""
