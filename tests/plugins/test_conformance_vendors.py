"""The clouds that are data only pass the conformance tests, each on a cloud of its topology."""

from trellis_vendors import plugin

from trellis.sim.cloud import CloudSpec, FlavorSpec, Lognormal, NetworkSpec, floating_networks
from trellis.testing.conformance import ProviderConformance


def routed(external: str) -> tuple[NetworkSpec, ...]:
    """A private network, and an external one of this name for floating IPs."""
    return (NetworkSpec(name="net"), NetworkSpec(name=external, external=True, attachable=False))


class TestOpenMetal(ProviderConformance):
    """A zone that is shown fails."""

    type = "openmetal"
    plugin = plugin
    twin = CloudSpec(name="openmetal", zones=("nova-local", "nova"))


class TestOsuosl(ProviderConformance):
    """Servers boot slowly."""

    type = "osuosl"
    plugin = plugin
    twin = CloudSpec(name="osuosl", guest=Lognormal(240.0, 420.0))


class TestCleura(ProviderConformance):
    """Floating IPs from a network that the configuration names by default."""

    type = "cleura"
    plugin = plugin
    twin = CloudSpec(
        name="cleura",
        regions=("Kna1", "Sto2", "Fra1"),
        zones=("nova-local", "nova"),
        networks=routed("ext-net"),
    )


class TestInfomaniak(ProviderConformance):
    """Flavors have no disk, so servers boot from volumes; floating IPs."""

    type = "infomaniak"
    plugin = plugin
    twin = CloudSpec(
        name="infomaniak",
        regions=("dc3-a", "dc4-a"),
        networks=routed("ext-floating1"),
        flavors=(FlavorSpec(name="a2-ram4-disk0", cores=2, ram_mib=4096, disk_gib=0),),
    )


class TestJetstream2(ProviderConformance):
    """Programs have application credentials only."""

    type = "jetstream2"
    plugin = plugin
    twin = CloudSpec(name="jetstream2", regions=("IU",), networks=floating_networks())


class TestOtc(ProviderConformance):
    """One identity service a region."""

    type = "otc"
    plugin = plugin
    twin = CloudSpec(name="otc", regions=("eu-de", "eu-nl"), networks=floating_networks())


class TestElastx(ProviderConformance):
    """Floating IPs."""

    type = "elastx"
    plugin = plugin
    twin = CloudSpec(
        name="elastx",
        regions=("se-sto",),
        zones=("sto1", "sto2", "sto3"),
        networks=floating_networks(),
    )


class TestCatalyst(ProviderConformance):
    """Floating IPs from a network that the configuration names by default."""

    type = "catalyst"
    plugin = plugin
    twin = CloudSpec(
        name="catalyst", regions=("nz-por-1", "nz-hlz-1"), networks=routed("public-net")
    )


TESTED = [
    cls
    for cls in list(globals().values())
    if isinstance(cls, type) and issubclass(cls, ProviderConformance) and cls.type
]


def test_every_vendor_is_tested():
    """A new profile needs a twin here."""
    assert {cls.type for cls in TESTED} == {profile.name for profile in plugin.PROFILES}
