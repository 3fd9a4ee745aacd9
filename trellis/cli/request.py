"""``trellis request`` and ``trellis lease``: nodes asked for, kept and given back."""

from typing import Any, Final

import click

from trellis.cli.shape import Noun
from trellis.cli.tables import (
    Column,
    age,
    field,
    moment,
    print_fields,
    print_table,
    show_data,
    show_list,
)
from trellis.cli.talk import (
    client,
    complete_names,
    for_each,
    output_option,
    request_id,
    whoami,
)
from trellis.live.text import soon, summed
from trellis.model.request import RequestState

_SHORT_ID: Final = 8

_NODES: Final = (
    Column("ID", field("id")),
    Column("LABEL", field("label")),
    Column("STATE", lambda node: "lost" if node["lost"] else node["state"]),
    Column("ADDRESS", field("interface_ip")),
    Column("PORT", field("connection_port")),
    Column("USER", field("username")),
    Column("PROVIDER", field("provider"), wide=True),
)
_REQUESTS: Final = (
    # The beginning of an id is enough wherever one is asked for.
    Column("ID", field("id"), narrow=lambda request: request["id"][:_SHORT_ID]),
    Column("STATE", field("state")),
    Column("LABELS", lambda request: summed(request["labels"]), wraps=True),
    Column("REQUESTOR", field("requestor"), wraps=True),
    Column("PRIO", field("priority"), wide=True),
    Column("PROVIDER", field("placed_at"), wide=True),
    Column("AGE", lambda request: age(request["created_at"])),
    Column("READY IN", lambda request: ready_in(request)),
    Column("REASON", field("reason"), wraps=True),
)
_LEASES: Final = (
    Column("REQUEST", field("id")),
    Column("REQUESTOR", field("requestor"), wraps=True),
    Column("SINCE", lambda request: age(request["state_at"])),
    Column("NODES", lambda request: " ".join(request["node_ids"]), wraps=True),
)


@click.group(
    cls=Noun,
    examples=[
        "trellis request create debian-12 --wait",
        "trellis request create debian-12 debian-12 fedora-40 --wait -o json",
        "trellis request explain ID",
    ],
)
def request() -> None:
    """Ask for nodes, wait for them, cancel."""


@request.command(
    examples=[
        "trellis request create debian-12 --wait",
        "trellis request create debian-12 debian-12 --priority 100 --wait --timeout 600",
        "trellis request create debian-12 --metadata job=unit --lease-ttl 7200",
    ]
)
@click.argument("labels", nargs=-1, required=True, shell_complete=complete_names("labels"))
@click.option("--requestor", default=whoami, show_default="your user name", help="Who asks.")
@click.option("--tenant", help="For whom.")
@click.option(
    "--priority",
    type=click.IntRange(0, 999),
    default=200,
    show_default=True,
    help="Lower is served first.",
)
@click.option("--provider", help="The only one to use.", shell_complete=complete_names("providers"))
@click.option(
    "--lease-ttl",
    type=click.IntRange(60, 86400),
    show_default="as configured",
    metavar="SECONDS",
    help="How long the nodes are yours unless you renew.",
)
@click.option("--metadata", multiple=True, metavar="NAME=VALUE", help="A note of yours.")
@click.option("--idempotency-key", help="Makes repeating the command safe, for 24 hours.")
@click.option("--wait", is_flag=True, help="Wait until the nodes are ready.")
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="With --wait: stop waiting after this long; the request goes on.",
)
@output_option
def create(
    labels: tuple[str, ...],
    requestor: str,
    tenant: str | None,
    priority: int,
    provider: str | None,
    lease_ttl: int | None,
    metadata: tuple[str, ...],
    idempotency_key: str | None,
    wait: bool,
    timeout: float | None,
    output: str,
) -> None:
    """Ask for one node a LABEL, all on one provider and zone."""
    from trellis.cli.waiting import submit, wait_for

    body = {
        "labels": labels,
        "requestor": requestor,
        "tenant": tenant,
        "priority": priority,
        "provider": provider,
        "lease_ttl_s": lease_ttl,
        "metadata": dict(_name_value(text) for text in metadata),
    }
    with client() as face:
        made = submit(face, body, idempotency_key)
        if wait:
            made = wait_for(face, made, timeout)
    _show(output, made)
    if made["state"] in ("failed", "cancelled"):
        raise SystemExit(1)


@request.command(
    "list",
    examples=[
        "trellis request list",
        "trellis request list --gone",
        "trellis request list --tenant acme --job tox-py311",
    ],
)
@click.option("--gone", is_flag=True, help="Those of the last days that have ended.")
@click.option(
    "--state",
    type=click.Choice([state.value for state in RequestState]),
    help="Only those in this state.",
)
@click.option("--requestor", help="Only those of this requestor.")
@click.option("--tenant", help="Only those of this tenant.")
@click.option("--pipeline", help="Only those whose metadata names this pipeline.")
@click.option("--job", help="Only those whose metadata names this job.")
@output_option
def list_(
    gone: bool,
    state: str | None,
    requestor: str | None,
    tenant: str | None,
    pipeline: str | None,
    job: str | None,
    output: str,
) -> None:
    """List requests, oldest first."""
    with client() as face:
        rows = face.items(
            "requests",
            gone=gone,
            state=state,
            requestor=requestor,
            tenant=tenant,
            pipeline=pipeline,
            job=job,
            limit=1000,
        )
    show_list(output, rows, _REQUESTS, empty="There are no requests.")


@request.command(examples=["trellis request show ID", "trellis request show ID -o json"])
@click.argument("request", metavar="ID", shell_complete=complete_names("requests"))
@output_option
def show(request: str, output: str) -> None:
    """Show a request, its lease and its nodes."""
    with client() as face:
        _show(output, face.get("requests", request_id(face, request)))


@request.command(examples=["trellis request explain ID", "trellis request explain 200-0000012345"])
@click.argument("request", metavar="ID", shell_complete=complete_names("requests"))
@output_option
def explain(request: str, output: str) -> None:
    """Say what a request waits for, since when, what was tried and who declined.

    ID may also be its tenant or any value of its metadata: with Zuul the id of its node request,
    event or build set, its pipeline or its job. If that fits several, they are listed.
    """
    with client() as face:
        found = request_id(face, request)
        show_explanation(output, face.get("requests", found, "explain"))


@request.command(examples=["trellis request cancel ID"])
@click.argument(
    "ids", metavar="ID...", nargs=-1, required=True, shell_complete=complete_names("requests")
)
@output_option
def cancel(ids: tuple[str, ...], output: str) -> None:
    """End requests; the lease of a fulfilled one is released."""
    with client() as face:
        for_each(
            ids,
            lambda one: face.delete("requests", request_id(face, one, words=False)),
            output=output,
            say=field("state"),
        )


@click.group(
    cls=Noun, examples=["trellis lease list", "trellis lease renew ID", "trellis lease release ID"]
)
def lease() -> None:
    """Keep leased nodes, or give them back."""


@lease.command("list", examples=["trellis lease list"])
@output_option
def list_leases(output: str) -> None:
    """List the requests that hold a lease.

    A lease's id is a secret of its requestor: `trellis request show ID` shows it.
    """
    with client() as face:
        rows = face.items("requests", state="fulfilled", limit=1000)
    show_list(output, rows, _LEASES, empty="There are no leases.")


@lease.command(examples=["trellis lease renew ID"])
@click.argument("lease_id", metavar="ID")
@output_option
def renew(lease_id: str, output: str) -> None:
    """Keep the nodes of a lease for its time to live from now."""
    with client() as face:
        renewed = face.post("leases", lease_id, "renew")
    if output != "table":
        show_data(output, renewed)
    else:
        expires = renewed["expires_at"]
        click.echo(f"expires {expires[:19]}Z" if expires else "does not expire")


@lease.command(examples=["trellis lease release ID"])
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
def release(ids: tuple[str, ...]) -> None:
    """Give the nodes of leases back; they will be deleted."""
    with client() as face:
        for_each(
            ids, lambda one: face.delete("leases", one), output="table", say=lambda _: "released"
        )


def show_explanation(output: str, explanation: Any) -> None:
    """Print why a request or node is as it is."""
    if output != "table":
        show_data(output, explanation)
        return
    print_fields(
        {
            "subject": explanation["subject"],
            "state": explanation["state"],
            "since": moment(explanation["since"]),
            "why": explanation["words"],
            "waits for": explanation["waits_for"],
            "estimate": estimate(explanation),
            "declined": {row["provider"]: row["reason"] for row in explanation["declined"]},
        }
    )
    if explanation.get("console"):  # an older daemon does not tell
        click.echo(f"\nits console ended with:\n{explanation['console']}")
    if explanation["history"]:
        click.echo()
        print_table(explanation["history"], EVENTS)


def ready_in(request: Any) -> str:
    """When a request may be ready, for a cell; "?" where it waits and nobody can tell."""
    if request["state"] not in ("requested", "pending"):
        return ""
    return "?" if request["estimate_s"] is None else soon(request["estimate_s"])


def estimate(shown: Any) -> str:
    """When it may be ready and what that is taken from, or why nobody can tell."""
    basis = shown["estimate_basis"]
    if shown["estimate_s"] is None:
        return f"none: {basis}" if basis else ""
    return f"ready in about {soon(shown['estimate_s'])}: {basis}"


EVENTS: Final = (
    Column("TIME", lambda event: event["at"][:19] + "Z"),
    Column("EVENT", field("type")),
    Column("SUBJECT", field("subject"), wide=True),
    Column("WHY", field("why"), wraps=True),
)


def _show(output: str, shown: Any) -> None:
    if output != "table":
        show_data(output, shown)
        return
    lease = shown["lease"]
    print_fields(
        {
            "request": shown["id"],
            "state": shown["state"],
            "reason": shown["reason"],
            "estimate": estimate(shown),
            "labels": " ".join(shown["labels"]),
            "requestor": shown["requestor"],
            "source": shown["source"],
            "tenant": shown["tenant"],
            "priority": shown["priority"],
            "provider": shown["placed_at"] or shown["provider"],
            "zone": shown["az"],
            "metadata": shown["metadata"],
            "declined": {row["provider"]: row["reason"] for row in shown["declined"]},
            "created": moment(shown["created_at"]),
            "lease": lease and lease["id"],
            "expires": lease and lease["expires_at"] and f"{lease['expires_at'][:19]}Z",
        }
    )
    if shown["nodes"]:
        click.echo()
        print_table(shown["nodes"], _NODES)


def _name_value(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--metadata")
    return name, value
