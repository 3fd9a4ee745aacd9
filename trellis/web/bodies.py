"""What callers may send, with every bound; one declaration decodes, refuses and documents.

msgspec structs and not attrs classes: these refuse unknown keys, and their `Meta` becomes the
OpenAPI description.
"""

from typing import Annotated, Final

from msgspec import Meta, Struct

MAX_BODY: Final = 1024 * 1024
"""Bytes of a request body; no sensible one comes near."""

MAX_LABELS: Final = 100
_PRINTABLE: Final = r"^[^\x00-\x1f\x7f]+$"

Name = Annotated[str, Meta(min_length=1, max_length=255, pattern=_PRINTABLE)]
Text = Annotated[str, Meta(max_length=1000)]
MetadataValue = Annotated[str, Meta(max_length=255)]
"""255 is what Nova takes as the value of a server's metadata."""

By = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=255,
        pattern=_PRINTABLE,
        description="Who does this, as it shall be shown to others.",
    ),
]
Reason = Annotated[str, Meta(max_length=1000, description="Why, as it shall be shown to others.")]


class AskBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An ask for one or more nodes, fulfilled whole, on one provider and zone, or not at all."""

    labels: Annotated[
        tuple[Name, ...],
        Meta(
            min_length=1,
            max_length=MAX_LABELS,
            description="The label of each node that is wanted; one may appear several times.",
            examples=[["debian-12", "debian-12"]],
        ),
    ]
    requestor: Annotated[
        Name, Meta(description="Who asks, as it shall be shown to others.", examples=["ci"])
    ]
    tenant: Annotated[
        Name | None, Meta(description="For whom the requestor asks, where it has several users.")
    ] = None
    priority: Annotated[
        int,
        Meta(ge=0, le=999, description="Lower is served first; within one, the oldest first."),
    ] = 200
    provider: Annotated[
        Name | None, Meta(description="The only provider to take the nodes from.")
    ] = None
    lease_ttl_s: Annotated[
        Annotated[int, Meta(ge=60, le=86400)] | None,
        Meta(
            description="Seconds that the lease lasts unless it is renewed; then its nodes "
            "are deleted. As configured (`lease-ttl`) if left out.",
        ),
    ] = None
    metadata: Annotated[
        dict[Name, MetadataValue],
        Meta(max_length=64, description="The requestor's own notes, kept and shown as they are."),
    ] = {}
    idempotency_key: Annotated[
        Name | None,
        Meta(
            description="Makes repeating the call safe: for 24 h the same requestor, key and body "
            "get the same request; another body is refused with 409."
        ),
    ] = None


class PriorityBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A change to a request that still waits."""

    priority: Annotated[int, Meta(ge=0, le=999, description="Lower is served first.")]


class NoBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing: the call says it all."""


class HoldBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person's word that a node shall not be deleted."""

    by: By = "api"
    reason: Reason = ""


class PauseBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person's word that a provider shall launch nothing."""

    by: By = "api"
    reason: Reason = ""
    for_s: Annotated[
        Annotated[float, Meta(gt=0, le=3_153_600_000)] | None,
        Meta(description="Seconds until launches go on by themselves; null is until resumed."),
    ] = None


class MoveBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person's word that a cloud has moved to where the credentials lead now."""

    endpoint: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=2000,
            description="The compute endpoint, as the provider's reason names it.",
        ),
    ]
    project_id: Annotated[
        Annotated[str, Meta(max_length=200)] | None,
        Meta(
            description="The new project, if it is another one: what is left in the old one is "
            "taken for gone."
        ),
    ] = None
    by: By = "api"


class ResetBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person's word that what failed is mended."""

    by: By = "api"
    reason: Reason = ""


class EndBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person's word that nobody waits for what a demand source asked for any more."""

    by: By = "api"


class DrainBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person's word that a provider shall be emptied of idle nodes and launch nothing."""

    by: By = "api"
    reason: Reason = ""
