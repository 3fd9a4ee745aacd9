"""``trellis config check``: everything that is wrong with a file, and with the clouds it names."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trellis.cli.shape import Command, complain, note
from trellis.cli.tables import show_data
from trellis.cli.talk import output_option
from trellis.errors import ConfigError

if TYPE_CHECKING:
    from trellis.config import Configuration
    from trellis.spi.registry import ProviderRegistry


@click.command(
    cls=Command,
    examples=[
        "trellis config check trellis.yaml",
        "trellis config check trellis.yaml --offline -o json",
    ],
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--offline",
    is_flag=True,
    help="Look at the file alone, not whether clouds.yaml has the clouds and regions it names.",
)
@output_option
def check(file: Path, offline: bool, output: str) -> None:
    """Say everything that is wrong with a file, each with its line; starts nothing, calls nobody.

    The clouds and regions of its providers are looked for in clouds.yaml, as the daemon would
    find it from here.
    """
    faults, warnings = look(file, offline=offline)
    if output != "table":
        shown = {"file": str(file), "ok": not faults, "faults": faults, "warnings": warnings}
        show_data(output, shown)
    else:
        for warning in warnings:
            note(f"warning: {warning}")
        for fault in faults:
            complain(fault)
        if not faults:
            click.echo(f"{file}: ok")
    if faults:
        raise SystemExit(1)


def look(file: Path, *, offline: bool) -> tuple[list[str], list[str]]:
    """The faults and the warnings of a file, in its order."""
    from trellis.config import disabled_plugins, load
    from trellis.plugin_host import load_plugins

    host = load_plugins(disabled_plugins(file))
    registry = host.providers
    try:
        loaded = load(file, registry, host.image_builders, host.demand_sources)
    except ConfigError as error:
        return list(error.faults), []
    faults = [] if offline else _cloud_faults(file, loaded.configuration, registry)
    return faults, list(loaded.warnings)


def _cloud_faults(
    file: Path, configuration: "Configuration", registry: "ProviderRegistry"
) -> list[str]:
    """What clouds.yaml lacks of what the providers name."""
    from trellis.openstack.clouds import read_clouds

    if not configuration.providers:
        return []
    profiles = {name: profile.entry for name, profile in registry.profiles().items()}
    try:
        clouds = read_clouds(profiles=profiles)
    except ConfigError as error:
        return list(error.faults)
    faults = []
    for number, provider in enumerate(configuration.providers):
        for key, region in (("cloud", None), ("region-name", provider.region_name)):
            try:
                profile = registry.profile_name(provider.type)
                clouds.get(provider.cloud, region, profile=profile)
            except ConfigError as error:
                place = _place(file, number, key)
                faults += [f"{place}: {fault}" for fault in error.faults]
                break
    return faults


def _place(file: Path, number: int, key: str) -> str:
    """Where a provider names its cloud or region: ``file:line:column: path``."""
    from trellis.config.document import Mapping, Sequence
    from trellis.config.loading import read_tree

    tree: Any = read_tree(file)[0]
    providers = tree.get("providers")
    entry = providers.items[number] if isinstance(providers, Sequence) else None
    value = entry.get(key) if isinstance(entry, Mapping) else None
    mark = (value or entry or tree).mark
    return f"{file}:{mark.line + 1}:{mark.column + 1}: providers.{number}.{key}"
