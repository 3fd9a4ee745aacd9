"""Options and helpers of the commands that talk to the daemon."""

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from trellis.cli.shape import complain
from trellis.errors import TrellisError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from trellis.http.face import FaceClient

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_URL = "http://127.0.0.1:8480"


def client() -> "FaceClient":
    """A client of the daemon at TRELLIS_URL; use it with ``with``."""
    from trellis.http.face import FaceClient

    return FaceClient(
        os.environ.get("TRELLIS_URL") or DEFAULT_URL, os.environ.get("TRELLIS_TOKEN") or None
    )


def output_option(command: F) -> F:
    """Add ``-o``, which every command that prints data has."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(["table", "json", "yaml"]),
        default="table",
        show_default=True,
        help="How to print the data.",
    )(command)


def by_option(command: F) -> F:
    """Add ``--by``: who gives the word."""
    return click.option(
        "--by", default=whoami, show_default="your user name", help="Who does this."
    )(command)


def whoami() -> str:
    """The user's name, for others to see who did something."""
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "cli"


def confirm(question: str, *, yes: bool) -> None:
    """Ask a person before something that cannot be undone; scripts are not asked."""
    if not yes and sys.stdin.isatty():
        click.confirm(question, abort=True, err=True)


def for_each(ids: tuple[str, ...], act: Callable[[str], None]) -> None:
    """Do it for each id; one that fails is told, the others are done, and the exit code is 1."""
    failed = False
    for one in ids:
        try:
            act(one)
        except TrellisError as error:
            complain(f"{one}: {error}", remedy=getattr(error, "remedy", ""))
            failed = True
    if failed:
        raise SystemExit(1)


def complete_names(noun: str) -> Callable[..., "list[CompletionItem]"]:
    """Completion that asks the daemon for names; without one there is none."""

    def complete(
        _ctx: click.Context, _param: click.Parameter, incomplete: str
    ) -> "list[CompletionItem]":
        from click.shell_completion import CompletionItem

        try:
            with client() as face:
                items = face.items(noun)
        except TrellisError:
            return []
        names = [item.get("name") or item["id"] for item in items]
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]

    return complete
