"""What the face answers with, field by field as documented at ``/openapi.json``.

Requests and nodes; operators' views are in `trellis.web.operator_answers`.
"""

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

Time = Annotated[datetime, Meta(tz=True, description="UTC, ISO 8601 with Z.")]
Next = Annotated[
    str | None,
    Meta(description="Pass it as `after` for the rest of the list; null at the end. Opaque."),
]

EstimateS = Annotated[
    float | None,
    Meta(
        description="Seconds from now until it is ready, as likely less as more; null where "
        "nobody can tell, as while it has no place."
    ),
]
EstimateBasis = Annotated[
    str, Meta(description='What the estimate is taken from, or why there is none; "" at the end.')
]


class Fault(Struct, frozen=True):
    """One thing that is wrong with what was sent."""

    path: Annotated[str, Meta(description="Where: `labels[2]`, or the name of the parameter.")]
    message: Annotated[str, Meta(description="What is wrong there.")]


class Problem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a call was not carried out (RFC 9457), and what to do now."""

    type: Annotated[str, Meta(description="What kind of problem; made for programs to compare.")]
    title: Annotated[str, Meta(description="The same in words; equal for all of a kind.")]
    status: Annotated[int, Meta(description="The HTTP status.")]
    detail: Annotated[str, Meta(description="What is wrong this time.")]
    remedy: Annotated[str, Meta(description="What the caller can do about it.")]
    errors: Annotated[
        tuple[Fault, ...], Meta(description="Each fault of the input, if it is at fault.")
    ] = ()


class ResourcesAnswer(Struct, frozen=True, kw_only=True):
    """The size of a node."""

    cores: Annotated[int, Meta(description="Virtual CPUs.")]
    ram_mib: Annotated[int, Meta(description="Memory in MiB.")]
    disk_gib: Annotated[int, Meta(description="Root disk in GiB.")]


class NodeAnswer(Struct, frozen=True, kw_only=True):
    """One machine, which is one attempt, from the decision to launch it until it is gone."""

    id: Annotated[str, Meta(description="Ten digits, never used twice.")]
    label: Annotated[str, Meta(description="The label it was launched for.")]
    state: Annotated[
        str,
        Meta(description="building, ready, in-use, used, hold, failed, aborted, deleting or gone."),
    ]
    provider: Annotated[str, Meta(description="The provider it is at.")]
    cloud: Annotated[str, Meta(description="The cloud of that provider, as in clouds.yaml.")]
    region: Annotated[str, Meta(description="The region of that cloud.")]
    az: Annotated[str | None, Meta(description="Availability zone, if one is known.")]
    external_id: Annotated[str | None, Meta(description="The cloud's id of its server.")]
    hostname: Annotated[str, Meta(description="The server's name.")]
    interface_ip: Annotated[str | None, Meta(description="The address to reach it at.")]
    public_ipv4: Annotated[str | None, Meta(description="Its public IPv4 address.")]
    private_ipv4: Annotated[str | None, Meta(description="Its private IPv4 address.")]
    public_ipv6: Annotated[str | None, Meta(description="Its public IPv6 address.")]
    connection_type: Annotated[str, Meta(description="How to log in: ssh, winrm, …")]
    connection_port: Annotated[int, Meta(description="The port to log in at.")]
    username: Annotated[str | None, Meta(description="The user to log in as.")]
    python_path: Annotated[str, Meta(description="Ansible's ansible_python_interpreter.")]
    shell_type: Annotated[str | None, Meta(description="Ansible's ansible_shell_type.")]
    host_keys: Annotated[tuple[str, ...], Meta(description="SSH host keys, each as `type base64`.")]
    host_keys_proof: Annotated[
        str,
        Meta(
            description="How far to trust host_keys. scanned: read over the network at the first "
            "contact; none: there are none."
        ),
    ]
    resources: Annotated[ResourcesAnswer, Meta(description="Its size.")]
    created_at: Annotated[Time, Meta(description="When it was decided upon. UTC.")]
    ready_at: Annotated[Time | None, Meta(description="When it became ready. UTC.")]
    allocated_to: Annotated[
        str | None, Meta(description="The request it is launched or reserved for, or serves.")
    ]
    lost: Annotated[bool, Meta(description="It died under its lease.")]
    image: Annotated[str, Meta(description="Name of the image it boots from, in the cloud.")]
    image_id: Annotated[str, Meta(description="The cloud's id of that image.")]
    upload: Annotated[
        str | None,
        Meta(
            description="Id of the upload that image is, which begins with its build's; null if "
            "it was not built here, is gone, or in the answer of a request."
        ),
    ] = None


class NodePage(Struct, frozen=True):
    """A stretch of the list of nodes."""

    items: Annotated[tuple[NodeAnswer, ...], Meta(description="In rising order of id.")]
    next: Next = None


class LeaseAnswer(Struct, frozen=True, kw_only=True):
    """The right to the nodes of a request. Its id is a secret: who knows it may end it."""

    id: Annotated[
        str, Meta(description="For renewing and releasing; shown in its request's answer only.")
    ]
    expires_at: Annotated[
        Time | None, Meta(description="When it ends unless renewed. UTC; null is never.")
    ]
    ttl_s: Annotated[int, Meta(description="Seconds that a renewal adds from its moment on.")]


class RenewedAnswer(Struct, frozen=True, kw_only=True):
    """A lease after its renewal."""

    request_id: Annotated[str, Meta(description="The request it answers.")]
    expires_at: Annotated[
        Time | None, Meta(description="When it ends unless renewed again. UTC; null is never.")
    ]
    ttl_s: Annotated[int, Meta(description="Seconds that a renewal adds from its moment on.")]
    nodes: Annotated[tuple[str, ...], Meta(description="Ids of its nodes.")]


class DeclinedAnswer(Struct, frozen=True, kw_only=True):
    """A provider that could not serve a request."""

    provider: Annotated[str, Meta(description="Its name.")]
    reason: Annotated[str, Meta(description="Why it could not.")]
    at: Annotated[Time, Meta(description="When that was found. UTC.")]
    until: Annotated[
        Time | None, Meta(description="When it may be tried again. UTC; null is not any more.")
    ]


class RequestSummary(Struct, frozen=True, kw_only=True):
    """A request in a list: all but its lease and the details of its nodes."""

    id: Annotated[str, Meta(description="128 random bits in hexadecimal.")]
    state: Annotated[
        str, Meta(description="requested, pending, fulfilled, failed, cancelled or closed.")
    ]
    labels: Annotated[tuple[str, ...], Meta(description="The label of each node wanted.")]
    requestor: Annotated[str, Meta(description="Who asked.")]
    tenant: Annotated[str | None, Meta(description="For whom the requestor asked.")]
    priority: Annotated[int, Meta(description="Lower is served first.")]
    created_at: Annotated[Time, Meta(description="When it was filed. UTC.")]
    state_at: Annotated[Time, Meta(description="Since when it is in this state. UTC.")]
    placed_at: Annotated[
        str | None, Meta(description="The provider its nodes are made at, once that is decided.")
    ]
    reason: Annotated[str | None, Meta(description="What it waits for, or why it failed.")]
    estimate_s: EstimateS
    node_ids: Annotated[
        tuple[str, ...], Meta(description="Its nodes, once fulfilled, in the order of labels.")
    ]
    metadata: Annotated[dict[str, str], Meta(description="The requestor's own notes.")]
    source: Annotated[
        str | None, Meta(description="The demand source that asks; null is this interface.")
    ]


class RequestPage(Struct, frozen=True):
    """A stretch of the list of requests."""

    items: Annotated[tuple[RequestSummary, ...], Meta(description="Oldest first.")]
    next: Next = None


class RequestAnswer(Struct, frozen=True, kw_only=True):
    """An ask for nodes and what has become of it."""

    id: Annotated[str, Meta(description="128 random bits in hexadecimal.")]
    state: Annotated[
        str, Meta(description="requested, pending, fulfilled, failed, cancelled or closed.")
    ]
    labels: Annotated[tuple[str, ...], Meta(description="The label of each node wanted.")]
    requestor: Annotated[str, Meta(description="Who asked.")]
    tenant: Annotated[str | None, Meta(description="For whom the requestor asked.")]
    priority: Annotated[int, Meta(description="Lower is served first.")]
    provider: Annotated[str | None, Meta(description="The only provider that was asked for.")]
    lease_ttl_s: Annotated[
        int | None,
        Meta(description="Seconds that its lease lasts; as configured if it did not say."),
    ]
    metadata: Annotated[dict[str, str], Meta(description="The requestor's own notes.")]
    source: Annotated[
        str | None, Meta(description="The demand source that asks; null is this interface.")
    ]
    created_at: Annotated[Time, Meta(description="When it was filed. UTC.")]
    state_at: Annotated[Time, Meta(description="Since when it is in this state. UTC.")]
    placed_at: Annotated[
        str | None, Meta(description="The provider its nodes are made at, once that is decided.")
    ]
    az: Annotated[str | None, Meta(description="The availability zone they are made in.")]
    declined: Annotated[
        tuple[DeclinedAnswer, ...], Meta(description="Providers given up for it, and why.")
    ]
    reason: Annotated[str | None, Meta(description="What it waits for, or why it failed.")]
    estimate_s: EstimateS
    estimate_basis: EstimateBasis
    lease: Annotated[
        LeaseAnswer | None, Meta(description="The right to its nodes, while it is fulfilled.")
    ]
    nodes: Annotated[
        tuple[NodeAnswer, ...],
        Meta(description="Its nodes in the order of labels, while it is fulfilled."),
    ]
