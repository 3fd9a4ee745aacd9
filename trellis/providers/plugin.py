"""The built-in plugin, and how a cloud that is data only is registered: by everybody's door."""

from trellis.errors import PluginError
from trellis.openstack.profile import CloudProfile
from trellis.providers.config import OpenStackProviderConfig
from trellis.providers.openstack import OpenStackProvider, make_provider
from trellis.spi.config import with_defaults
from trellis.spi.hooks import hookimpl
from trellis.spi.registry import ProviderContext, ProviderRegistry


@hookimpl
def trellis_register_providers(register: ProviderRegistry) -> None:
    """Register the type ``openstack``."""
    register.add("openstack", make_provider, OpenStackProviderConfig)


def register_profile(
    register: ProviderRegistry,
    profile: CloudProfile,
    provider: type[OpenStackProvider] = OpenStackProvider,
) -> None:
    """Register a provider under a profile's name, with its quirks and defaults.

    Args:
        register: what the hook was given.
        profile: the cloud's.
        provider: the class with the methods of the profile's hooks; stock has none.

    Raises:
        PluginError: the profile lacks something, or overrides a method: that takes a class.
    """
    hooks = [quirk.name for quirk in profile.quirks if quirk.name.startswith("hook.")]
    if hooks and provider is OpenStackProvider:
        raise PluginError(
            f"profile {profile.name!r} overrides {', '.join(hooks)}: register a provider class"
        )
    if faults := profile.faults(provider, OpenStackProviderConfig):
        raise PluginError(f"profile {profile.name!r} cannot be used: {'; '.join(faults)}")

    def make(config: OpenStackProviderConfig, context: ProviderContext) -> OpenStackProvider:
        return provider(
            config,
            context.session,
            context.deployment,
            quirks=profile.settings,
            settings=context.settings,
        )

    name = "".join(part.capitalize() for part in profile.name.split("-"))
    configuration = with_defaults(OpenStackProviderConfig, f"{name}Config", profile.defaults)
    register.add(profile.name, make, configuration, profile=profile)
