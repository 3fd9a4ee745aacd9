"""``trellis plugin show``: what one plugin adds, and all that it knows of its clouds."""

import difflib
from typing import TYPE_CHECKING, Any, Final

import click

from trellis.cli.shape import Command
from trellis.cli.tables import Column, field, print_fields, print_table, show_data
from trellis.cli.talk import output_option
from trellis.errors import PluginError

if TYPE_CHECKING:
    from trellis.openstack.profile import CloudProfile, Quirk
    from trellis.plugin_host import PluginHost, PluginInfo

_QUIRKS: Final = (
    Column("QUIRK", lambda quirk: "=".join(filter(None, (quirk["name"], quirk["value"])))),
    Column("THIS CLOUD", field("does"), wraps=True),
    Column("STOCK", field("stock"), wraps=True),
    Column("SOURCE", lambda quirk: f"{quirk['evidence']} ({quirk['sure']})", wraps=True),
    Column("ERA", field("era")),
    Column("TO SEE IT AGAIN", field("check"), wide=True, wraps=True),
)


@click.command(
    cls=Command, examples=["trellis plugin show vendors", "trellis plugin show ovh -o json"]
)
@click.argument("name")
@output_option
def show(name: str, output: str) -> None:
    """Show a plugin: its hooks, its types, and the profiles of its clouds with every quirk.

    NAME is that of a plugin, or of a provider type; a type's own cloud is then shown alone.
    """
    from trellis.plugin_host import load_plugins

    host = load_plugins()
    info, only = _find(host, name)
    data = _data(host, info, only)
    if output != "table":
        show_data(output, data)
        return
    print_fields({key: value for key, value in data.items() if key != "clouds"})
    for cloud in data["clouds"]:
        click.echo()
        print_fields({key: value for key, value in cloud.items() if key != "quirks"})
        if cloud.get("quirks"):
            click.echo()
            print_table(cloud["quirks"], _QUIRKS)


def _find(host: "PluginHost", name: str) -> "tuple[PluginInfo, str | None]":
    """The plugin of this name, or the one that registers a provider type of this name."""
    plugins: dict[str, PluginInfo] = {}
    for info in host.plugins():
        plugins.setdefault(info.name, info)
    if name in plugins:
        return plugins[name], None
    if registration := host.providers.get(name):
        return plugins[registration.plugin], name
    known = dict.fromkeys([*plugins, *host.providers.types()])
    close = difflib.get_close_matches(name, known, 3)
    hint = f"did you mean {' or '.join(close)}?" if close else f"there is: {', '.join(known)}"
    raise PluginError(f"there is no plugin or provider type {name}; {hint}")


def _data(host: "PluginHost", info: "PluginInfo", only: str | None) -> dict[str, Any]:
    mine = [one for one in host.providers.registrations() if one.plugin == info.name]
    return {
        "name": info.name,
        "version": info.version,
        "origin": info.origin,
        "state": info.state.value,
        "problem": info.problem,
        "spi_version": info.spi_version,
        "hooks": list(info.hooks),
        "registered": list(info.registered),
        "clouds": [
            {"type": one.type, "configuration": one.configuration_class.__name__}
            | ({} if one.profile is None else _cloud(one.profile))
            for one in mine
            if only in (None, one.type)
        ],
    }


def _cloud(profile: "CloudProfile") -> dict[str, Any]:
    return {
        "profile": profile.name,
        "title": profile.title,
        "status": profile.status,
        "regions": list(profile.regions),
        "needed": list(profile.needed),
        "quirks": [_quirk(quirk) for quirk in profile.quirks],
    }


def _quirk(quirk: "Quirk") -> dict[str, str]:
    from trellis.accounts import quirk_status

    status = quirk_status(quirk)
    return {
        "name": status.name,
        "value": status.value,
        "section": quirk.dimension,
        "does": status.does,
        "stock": status.stock,
        "evidence": status.evidence,
        "sure": status.sure,
        "era": status.era,
        "check": status.check,
    }
