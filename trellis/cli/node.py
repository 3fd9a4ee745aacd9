"""``trellis node``: look at nodes, hold them, delete them."""

from typing import Any, Final

import click

from trellis.cli.request import show_explanation
from trellis.cli.shape import Noun
from trellis.cli.ssh import ssh
from trellis.cli.tables import Column, age, field, moment, print_fields, show_data, show_list
from trellis.cli.talk import (
    by_option,
    client,
    complete_names,
    confirm,
    for_each,
    node_id,
    output_option,
)
from trellis.model.node import NodeState

_NODES: Final = (
    Column("ID", field("id")),
    Column("LABEL", field("label"), wraps=True),
    Column("STATE", lambda node: "lost" if node["lost"] else node["state"]),
    Column("PROVIDER", field("provider"), wraps=True),
    Column("AZ", field("az"), wide=True),
    Column("ADDRESS", field("interface_ip"), wraps=True),
    Column("AGE", lambda node: age(node["created_at"])),
    Column("REQUEST", field("allocated_to"), wide=True),
)
_complete = complete_names("nodes")


@click.group(
    cls=Noun,
    examples=[
        "trellis node list --state ready",
        "trellis node explain 0000000042",
        "trellis node ssh 0000000042",
        'trellis node hold 0000000042 --reason "looking at a flaky test"',
    ],
)
def node() -> None:
    """Look at nodes, log in to them, hold them, delete them."""


@node.command(
    "list", examples=["trellis node list --provider ovh-bhs1", "trellis node list --gone -o json"]
)
@click.option("--gone", is_flag=True, help="Those of the last days that are gone.")
@click.option(
    "--state",
    type=click.Choice([state.value for state in NodeState]),
    help="Only those in this state.",
)
@click.option("--label", help="Only those of this label.", shell_complete=complete_names("labels"))
@click.option(
    "--provider",
    help="Only those of this provider.",
    shell_complete=complete_names("providers"),
)
@output_option
def list_(
    gone: bool, state: str | None, label: str | None, provider: str | None, output: str
) -> None:
    """List nodes."""
    with client() as face:
        rows = face.items(
            "nodes", gone=gone, state=state, label=label, provider=provider, limit=1000
        )
    show_list(output, rows, _NODES, empty="There are no such nodes.")


@node.command(examples=["trellis node show 0000000042"])
@click.argument("node", metavar="ID", shell_complete=_complete)
@output_option
def show(node: str, output: str) -> None:
    """Show a node, also one that is gone."""
    with client() as face:
        shown = face.get("nodes", node_id(node))
    if output != "table":
        show_data(output, shown)
    else:
        print_fields(_fields(shown))


@node.command(examples=["trellis node explain 0000000042"])
@click.argument("node", metavar="ID", shell_complete=_complete)
@output_option
def explain(node: str, output: str) -> None:
    """Say what a node waits for, since when and what was tried."""
    with client() as face:
        show_explanation(output, face.get("nodes", node_id(node), "explain"))


@node.command(examples=['trellis node hold 0000000042 --reason "looking at a flaky test"'])
@click.argument("node", metavar="ID", shell_complete=_complete)
@click.option("--reason", default="", help="Why, for others to see.")
@by_option
@output_option
def hold(node: str, reason: str, by: str, output: str) -> None:
    """Keep a node that is in use or used from being deleted."""
    with client() as face:
        held = face.post("nodes", node_id(node), "hold", body={"by": by, "reason": reason})
    if output != "table":
        show_data(output, held)
    else:
        click.echo(held["state"])


@node.command(examples=["trellis node delete 0000000042"])
@click.argument("ids", metavar="ID...", nargs=-1, required=True, shell_complete=_complete)
@click.option("--yes", is_flag=True, help="Do not ask.")
@by_option
@output_option
def delete(ids: tuple[str, ...], yes: bool, by: str, output: str) -> None:
    """Have nodes deleted, whatever they do."""
    confirm(f"Delete {' '.join(ids)}, in use or not?", yes=yes)
    with client() as face:
        for_each(
            ids,
            lambda one: face.delete("nodes", node_id(one), by=by),
            output=output,
            say=field("state"),
        )


node.add_command(ssh)


def _fields(shown: Any) -> dict[str, object]:
    size = shown["resources"]
    return {
        "node": shown["id"],
        "state": shown["state"],
        "lost": "yes: it died under its lease" if shown["lost"] else "",
        "label": shown["label"],
        "request": shown["allocated_to"],
        "provider": shown["provider"],
        "cloud": f"{shown['cloud']} {shown['region']}",
        "zone": shown["az"],
        "server": shown["external_id"],
        "image": f"{shown['image']} ({shown['image_id']})" if shown["image_id"] else "",
        "upload": shown["upload"],
        "hostname": shown["hostname"],
        "address": shown["interface_ip"],
        "public IPv4": shown["public_ipv4"],
        "private IPv4": shown["private_ipv4"],
        "public IPv6": shown["public_ipv6"],
        "login": f"{shown['username'] or ''} {shown['connection_type']} "
        f"port {shown['connection_port']}".strip(),
        "size": f"{size['cores']} cores, {size['ram_mib']} MiB, {size['disk_gib']} GiB disk",
        "created": moment(shown["created_at"]),
        "ready": moment(shown["ready_at"]),
        "host keys": [f"{key} ({shown['host_keys_proof']})" for key in shown["host_keys"]],
    }
