"""``trellis demand``: the demand sources, how they fare, and an end of what one left behind."""

from typing import Final

import click

from trellis.cli.shape import Noun
from trellis.cli.tables import Column, age, counts, field, show_data, show_list
from trellis.cli.talk import by_option, client, complete_names, confirm, output_option

_SOURCES: Final = (
    Column("NAME", field("name")),
    Column("TYPE", field("type"), wide=True),
    Column("STATE", field("state")),
    Column("SINCE", lambda source: age(source["since"]) if source["since"] else ""),
    Column("REQUESTS", lambda source: counts(source["requests"]), wraps=True),
    Column("CRASHES", field("crashes"), wide=True),
    Column("REASON", field("reason"), wraps=True),
)


@click.group(cls=Noun, examples=["trellis demand list", "trellis demand end zuul --yes"])
def demand() -> None:
    """Who asks for nodes, beside `trellis request` and the REST interface."""


@demand.command("list", examples=["trellis demand list"])
@output_option
def list_(output: str) -> None:
    """List the demand sources: how each fares, and what it has asked for."""
    with client() as face:
        show_list(
            output, face.items("demand-sources"), _SOURCES, empty="No demand source is configured."
        )


@demand.command(examples=["trellis demand end zuul --yes"])
@click.argument("name", shell_complete=complete_names("demand-sources"))
@click.option("--yes", is_flag=True, help="Do not ask.")
@by_option
@output_option
def end(name: str, yes: bool, by: str, output: str) -> None:
    """End all that a source which is configured no longer asked for.

    Its requests that wait are cancelled, the nodes of the others are deleted.
    """
    confirm(f"End all that {name} asked for, and delete its nodes?", yes=yes)
    with client() as face:
        ended = face.post("demand-sources", name, "end", body={"by": by})
    if output != "table":
        show_data(output, ended)
    else:
        click.echo(f"{ended['requests']} requests ended")
