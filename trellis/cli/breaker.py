"""``trellis breaker``: what is left alone after failures, and when it is tried again."""

from typing import Any, Final

import click

from trellis.cli.shape import Noun
from trellis.cli.tables import Column, age, field, show_list
from trellis.cli.talk import by_option, client, complete_names, for_each, output_option
from trellis.live.text import duration


def _next(breaker: Any) -> str:
    if breaker["probe"] is not None:
        return f"node {breaker['probe']} now"
    wait_s = breaker["next_probe_s"]
    return f"in {duration(wait_s)}" if wait_s else "the next launch"


_BREAKERS: Final = (
    Column("ID", field("id")),
    Column("ABOUT", field("subject"), wraps=True),
    Column("STATE", field("state")),
    Column("SINCE", lambda breaker: age(breaker["since"])),
    Column("FAILED", field("failures")),
    Column("PROBE", _next, wraps=True),
    Column("REASON", field("reason"), wraps=True),
)


@click.group(
    cls=Noun,
    examples=["trellis breaker list", 'trellis breaker reset ID --reason "the image is mended"'],
)
def breaker() -> None:
    """What is left alone after failures in a row, and when it is tried again."""


@breaker.command("list", examples=["trellis breaker list"])
@output_option
def list_(output: str) -> None:
    """List the breakers that are not closed."""
    with client() as face:
        show_list(output, face.items("breakers"), _BREAKERS, empty="All breakers are closed.")


@breaker.command(examples=['trellis breaker reset ID --reason "the image is mended"'])
@click.argument(
    "ids", metavar="ID...", nargs=-1, required=True, shell_complete=complete_names("breakers")
)
@click.option("--reason", default="", help="Why, for others to see.")
@by_option
@output_option
def reset(ids: tuple[str, ...], reason: str, by: str, output: str) -> None:
    """Close breakers: launches go on at once, all that wait."""
    body = {"by": by, "reason": reason}
    with client() as face:
        for_each(
            ids,
            lambda one: face.post("breakers", one, "reset", body=body),
            output=output,
            say=lambda _: "closed",
        )
