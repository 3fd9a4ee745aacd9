"""The commands that need no running daemon: serve, config, plugin."""

import sys
from pathlib import Path
from typing import Any, Final

import click

from trellis.cli.check import check
from trellis.cli.import_nodepool import import_nodepool
from trellis.cli.plugin_check import check as check_plugin
from trellis.cli.plugin_new import new as new_plugin
from trellis.cli.plugin_record import record as record_plugin
from trellis.cli.plugin_show import show as show_plugin
from trellis.cli.shape import Command, Noun, complain_of, note
from trellis.cli.tables import Column, field, show_data, show_list
from trellis.cli.talk import output_option
from trellis.errors import TrellisError

_PLUGINS: Final = (
    Column("NAME", field("name")),
    Column("VERSION", field("version")),
    Column("STATE", field("state")),
    Column("FROM", field("origin"), wraps=True),
    Column("REGISTERED", field("registered"), wraps=True),
    Column("PROBLEM", field("problem"), wraps=True),
)
_FILE = click.Path(path_type=Path)


@click.command(
    cls=Command, examples=["trellis serve", "trellis serve -c /etc/trellis/trellis.yaml --log-json"]
)
@click.option(
    "-c",
    "--config",
    "path",
    type=_FILE,
    default=Path("trellis.yaml"),
    show_default=True,
    help="The configuration file.",
)
@click.option("--log-json", is_flag=True, help="Log one JSON object a line.")
def serve(path: Path, log_json: bool) -> None:
    """Run the daemon until SIGTERM or Ctrl-C.

    Launches under way go on at the next start. The log goes to stderr.
    """
    from functools import partial

    import trio

    from trellis import daemon
    from trellis.logs import configure_logging

    configure_logging(as_json=log_json)
    # The store's threads get their turn that soon while the loop is busy; by default it is 5 ms.
    sys.setswitchinterval(0.0005)
    failed = False
    try:
        trio.run(partial(daemon.run, path, started=lambda url: note(f"trellis listens at {url}")))
    except* TrellisError as group:
        # A nursery wraps what its tasks raise; each error inside is one to show.
        failed = True
        for error in _leaves(group):
            complain_of(error)
    except* KeyboardInterrupt:
        note("interrupted")
    if failed:
        raise SystemExit(1)


@click.group(cls=Noun, examples=["trellis config check trellis.yaml"])
def config() -> None:
    """Check and show a configuration file."""


config.add_command(check)
config.add_command(import_nodepool)


@config.command(examples=["trellis config show trellis.yaml"])
@click.argument("file", type=_FILE)
@click.option(
    "-o",
    "--output",
    type=click.Choice(["yaml", "json"]),
    default="yaml",
    show_default=True,
    help="How to print it.",
)
def show(file: Path, output: str) -> None:
    """Show a file as Trellis understands it: with every default, without secrets."""
    from trellis.config import as_plain, disabled_plugins, load
    from trellis.plugin_host import load_plugins

    host = load_plugins(disabled_plugins(file))
    loaded = load(file, host.providers, host.image_builders, host.demand_sources)
    for warning in loaded.warnings:
        note(f"warning: {warning}")
    show_data(output, as_plain(loaded.configuration))


@click.group(cls=Noun, examples=["trellis plugin list"])
def plugin() -> None:
    """What installed plugins add."""


@plugin.command("list", examples=["trellis plugin list", "trellis plugin list -o json"])
@output_option
def list_plugins(output: str) -> None:
    """List the plugins, what they register, and why one cannot be used."""
    from trellis.plugin_host import load_plugins

    host = load_plugins()
    rows: list[dict[str, Any]] = [
        {
            "name": info.name,
            "version": info.version,
            "state": info.state.value,
            "origin": info.origin,
            "hooks": list(info.hooks),
            "registered": list(info.registered),
            "problem": info.problem,
            "spi_version": info.spi_version,
        }
        for info in host.plugins()
    ]
    show_list(output, rows, _PLUGINS, empty="There are no plugins.")
    for warning in host.warnings:
        note(f"warning: {warning}")


plugin.add_command(check_plugin)
plugin.add_command(record_plugin)
plugin.add_command(new_plugin)
plugin.add_command(show_plugin)


def _leaves(group: BaseExceptionGroup[TrellisError]) -> list[TrellisError]:
    found: list[TrellisError] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
