"""The shape that all commands share: examples first in ``--help``, errors with what to do now."""

import os
from collections.abc import Sequence
from typing import Any

import click

from trellis.errors import ConfigError, TrellisError
from trellis.live.text import printable


def _write_examples(examples: Sequence[str], formatter: click.HelpFormatter) -> None:
    if examples:
        with formatter.section("Examples"):
            for example in examples:
                formatter.write(f"{'':{formatter.current_indent}}{example}\n")
        formatter.write_paragraph()


class Command(click.Command):
    """A command whose help begins with examples."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, then what click writes."""
        _write_examples(self.examples, formatter)
        super().format_help(ctx, formatter)


class Noun(click.Group):
    """A group of commands, one a verb, whose help begins with examples."""

    command_class = Command

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, then what click writes."""
        _write_examples(self.examples, formatter)
        super().format_help(ctx, formatter)


class Root(Noun):
    """The command itself: the one place where errors become words and an exit code."""

    group_class = Noun

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error of ours ends it with 1, what is wrong and what to do."""
        if os.environ.get("NO_COLOR"):
            ctx.color = False
        try:
            return super().invoke(ctx)
        except TrellisError as error:
            complain_of(error)
            ctx.exit(1)


def complain_of(error: TrellisError) -> None:
    """Say on stderr what an error of ours says, and its remedy if it has one."""
    if isinstance(error, ConfigError):
        for fault in error.faults:
            complain(fault)
        return
    complain(f"Error: {error}", remedy=getattr(error, "remedy", ""))


def complain(message: str, *, remedy: str = "") -> None:
    """Say on stderr what is wrong, and what to do now."""
    click.secho(printable(message), fg="red", err=True)
    if remedy:
        click.echo(f"  → {printable(remedy)}", err=True)


def note(message: str) -> None:
    """Say something on stderr that is no data."""
    click.echo(printable(message), err=True)
