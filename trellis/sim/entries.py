"""The ``clouds.yaml`` entry of a simulated cloud, and the provider type that goes with it."""

from typing import Any, Final

import yaml

from trellis.openstack.cloudentry import CloudConfig, Entry
from trellis.plugin_host import PluginHost, built_in_plugins, load_plugins
from trellis.sim.cloud.cloud import SimCloud
from trellis.sim.cloud.spec import CloudSpec, Credentials, IdentityVersions
from trellis.spi.registry import ProviderRegistry

STOCK: Final = "openstack"
"""The provider type of a cloud that is no twin, or whose plugin is not installed."""


def types_of(configuration: str) -> ProviderRegistry:
    """The provider types that a configuration is read with; see `plugins_of`."""
    return plugins_of(configuration).providers


def plugins_of(configuration: str) -> PluginHost:
    """What registers the types that a configuration is read with.

    Those that come with Trellis, if they are all it names: nothing is imported then. Else those
    of all installed plugins too (but for what ``TRELLIS_DISABLED_PLUGINS`` names).

    Args:
        configuration: text of a ``trellis.yaml``; what cannot be read names no types.
    """
    built_in = PluginHost(built_in_plugins())
    registered = (
        ("providers", built_in.providers),
        ("images", built_in.image_builders),
        ("demand-sources", built_in.demand_sources),
    )
    if all(
        types.get(name) is not None
        for section, types in registered
        for name in _named(configuration, section)
    ):
        return built_in
    return load_plugins()


def _named(configuration: str, section: str) -> set[str]:
    try:
        rows = yaml.safe_load(configuration).get(section) or ()
        return {str(row["type"]) for row in rows if "type" in row}
    except (yaml.YAMLError, TypeError, AttributeError):
        return set()  # whoever reads it all says what is wrong with it


def type_of(spec: CloudSpec, types: ProviderRegistry) -> str:
    """The provider type for a cloud: its twin's, if a plugin offers that."""
    found = types.get(spec.twin) if spec.twin is not None else None
    return STOCK if found is None else found.type


def cloud_entry(
    cloud: SimCloud, types: ProviderRegistry, *, password: str | None = None
) -> dict[str, Any]:
    """What stands under a cloud's name in ``clouds.yaml``.

    A twin whose type is there has what a customer of the real cloud writes, and its own address.

    Args:
        types: the provider types there are.
        password: in place of the one that is right.
    """
    spec, auth_type = cloud.spec, ""
    entry: dict[str, Any] = {}
    found = types.get(type_of(spec, types))
    if found is not None and found.profile is not None:
        entry["profile"] = found.profile.name
        auth_type = str(found.profile.entry.get("auth_type", ""))
    if not auth_type:
        v2_only = spec.identity is IdentityVersions.V2
        auth_type = entry["auth_type"] = "v2password" if v2_only else "v3password"
    auth = _credentials(auth_type, spec.credentials)
    if password is not None and "password" in auth:
        auth["password"] = password
    entry["auth"] = {"auth_url": cloud.auth_url, **auth}
    if len(spec.regions) == 1:
        entry["region_name"] = spec.regions[0]
    else:
        entry["regions"] = list(spec.regions)
    return entry


def cloud_config(
    cloud: SimCloud, types: ProviderRegistry, region: str, *, password: str | None = None
) -> CloudConfig:
    """A cloud's entry as the daemon understands it, read from no file.

    Raises:
        ConfigError: the cloud has no such region.
    """
    values = cloud_entry(cloud, types, password=password)
    found = types.get(type_of(cloud.spec, types))
    profile = found.profile.entry if found is not None and found.profile is not None else {}
    return Entry(name=cloud.spec.name, values=values, profile=profile).read(region)


def _credentials(auth_type: str, mine: Credentials) -> dict[str, str]:
    """The part of *mine* that a kind of login takes."""
    if "apikey" in auth_type:
        return {"username": mine.username, "api_key": mine.api_key}
    if "accesskey" in auth_type:
        return {"access_key": mine.access_key, "secret_key": mine.secret_key}
    if "applicationcredential" in auth_type:
        return {
            "application_credential_id": mine.application_credential_id,
            "application_credential_secret": mine.application_credential_secret,
        }
    if auth_type.startswith("v2"):
        old = {"username": mine.username, "password": mine.password}
        return {**old, "tenant_name": mine.project}
    return {
        "username": mine.username,
        "password": mine.password,
        "user_domain_name": mine.user_domain,
        "project_name": mine.project,
        "project_domain_name": mine.project_domain,
    }
