"""What operators see and may do: the reading and acting side that the web face calls.

`trellis.spi.demand.DemandPort` is the other side, for those who want nodes.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Generic, Literal, Protocol, TypeVar

import attrs

from trellis.control.images.board import ImageBoard
from trellis.model.breaker import BreakerStatus
from trellis.model.names import NodeId
from trellis.model.node import Node, NodeState
from trellis.model.overview import Overview
from trellis.model.records import Event
from trellis.model.request import NodeRequest, RequestState
from trellis.model.status import (
    BudgetStatus,
    LabelStatus,
    Leak,
    Outlook,
    PlannedStep,
    ProviderStatus,
    QuotaStatus,
    SourceStatus,
    TenantStatus,
)

T_co = TypeVar("T_co", covariant=True)


@attrs.frozen(kw_only=True)
class Page(Generic[T_co]):
    """One stretch of a list.

    Attributes:
        next: what to pass as *after* for the stretch that follows; None at the end. Opaque.
    """

    items: tuple[T_co, ...]
    next: str | None = None


@attrs.frozen(kw_only=True)
class Reset:
    """A gap in the event stream: what was shown before may have missed changes.

    Attributes:
        id: the stream goes on after this event id.
        why: what made the gap, in words.
    """

    id: int
    why: str


@attrs.frozen(kw_only=True)
class Sample:
    """One figure of a measure.

    Attributes:
        suffix: "" or, for a histogram, ``_bucket``, ``_sum``, ``_count``.
        labels: by name; a bucket has ``le``.
    """

    value: float
    labels: Mapping[str, str] = attrs.field(factory=dict)
    suffix: str = ""


@attrs.frozen(kw_only=True)
class Measure:
    """A figure that is kept as things happen and cannot be read off the records.

    Attributes:
        name: with the unit and without ``_total``: ``trellis_launch_seconds``.
        help: one sentence.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    samples: tuple[Sample, ...]


class Board(Protocol):
    """Everything that is shown, and the few things an operator may do.

    Attributes:
        images: the same for images.

    Methods that are not async answer from memory at once. Every method that changes something
    returns when the change is durable; one that is cancelled may or may not have taken effect.
    """

    images: ImageBoard

    async def nodes(
        self,
        *,
        gone: bool = False,
        state: NodeState | None = None,
        label: str | None = None,
        provider: str | None = None,
        limit: int = 200,
        after: str | None = None,
    ) -> Page[Node]:
        """List nodes in rising order of id; with *gone* those of the history instead.

        Args:
            after: the `Page.next` of the stretch before.

        Raises:
            RefusedError: *after* is not something this list ever gave.
        """
        ...

    async def node(self, node_id: NodeId) -> Node:
        """One node, also one of the history.

        Raises:
            UnknownIdError: there is none.
        """
        ...

    async def delete_node(self, node_id: NodeId, by: str) -> Node:
        """Have a node deleted by a person's word, whatever it does; it is *deleting* afterwards.

        Fine on one that is being deleted or gone.

        Raises:
            UnknownIdError: there is none.
        """
        ...

    async def requests(
        self,
        *,
        gone: bool = False,
        state: RequestState | None = None,
        requestor: str | None = None,
        tenant: str | None = None,
        pipeline: str | None = None,
        job: str | None = None,
        limit: int = 200,
        after: str | None = None,
    ) -> Page[NodeRequest]:
        """List requests, oldest first; with *gone* those of the history instead.

        Args:
            pipeline, job: as their metadata say, ``zuul_pipeline`` or ``pipeline``, and so on.
            after: the `Page.next` of the stretch before.

        Raises:
            RefusedError: *after* is not something this list ever gave.
        """
        ...

    async def find_requests(self, word: str, most: int) -> tuple[NodeRequest, ...]:
        """Find requests by id, tenant or a value of their metadata: live ones, then ended ones.

        Args:
            word: the whole of it, as ``zuul_request`` or ``zuul_build_set`` has it.
            most: at most so many, of the live the newest, of the ended those that ended last.
        """
        ...

    def demand_sources(self) -> tuple[SourceStatus, ...]:
        """Every demand source of the configuration, then those dropped that still hold something.

        The REST face is not among them.
        """
        ...

    async def end_demand(self, name: str, by: str) -> int:
        """End all that a demand source which is configured no longer asked for; say how many.

        Raises:
            UnknownIdError: there is no such source.
            RefusedError: it is configured: its requests are its own to end.
        """
        ...

    def overdue(self) -> Mapping[str, int]:
        """How many requests and nodes were older than ``alarm-age`` at the last look.

        By kind: ``request`` or ``node``. It is looked for each minute.
        """
        ...

    def request_counts(self) -> Mapping[RequestState, int]:
        """How many requests there are by state, the history left out."""
        ...

    def outlook(self, request: NodeRequest) -> Outlook:
        """What a request waits for and when it may be ready; cheap enough for a whole list."""
        ...

    def labels(self) -> tuple[LabelStatus, ...]:
        """Every configured label, in the order of the configuration."""
        ...

    def providers(self) -> tuple[ProviderStatus, ...]:
        """Every provider, those that drain after their removal included."""
        ...

    def provider(self, name: str) -> ProviderStatus:
        """One provider.

        Raises:
            UnknownIdError: there is none of this name (with near matches).
        """
        ...

    async def pause(self, name: str, by: str, reason: str, for_s: float | None) -> ProviderStatus:
        """Stop launches at a provider, for *for_s* seconds from now or until it is resumed.

        Raises:
            UnknownIdError: there is none of this name.
        """
        ...

    async def resume(self, name: str) -> ProviderStatus:
        """Let a provider launch again. Fine on one that is not paused.

        Raises:
            UnknownIdError: there is none of this name.
        """
        ...

    async def drain(self, name: str, by: str, reason: str) -> ProviderStatus:
        """Stop launches at a provider and delete its idle nodes, until it is resumed.

        Raises:
            UnknownIdError: there is none of this name.
        """
        ...

    async def accept_move(
        self, name: str, endpoint: str, project_id: str | None, by: str
    ) -> ProviderStatus:
        """Take a person's word that a cloud has moved: its nodes are to be found there now.

        Args:
            endpoint: the compute endpoint to which the credentials lead now.
            project_id: the project they lead to, if that is another one too: what was in the
                old one is taken for gone.

        Raises:
            UnknownIdError: there is none of this name.
            RefusedError: the credentials lead elsewhere, or to another project unasked.
        """
        ...

    def api_calls(self) -> Mapping[str, Mapping[str, int]]:
        """Calls since the start by cloud and kind, those of each account counted once.

        An account has one count, which `ProviderStatus.api_calls` of each of its providers is.
        """
        ...

    def quota(self) -> tuple[QuotaStatus, ...]:
        """The quota of every project and region, as Trellis reckons with it."""
        ...

    def tenants(self) -> tuple[TenantStatus, ...]:
        """The tenants of the configuration, then others that hold something or wait."""
        ...

    def budget(self) -> BudgetStatus:
        """How much of this minute's launch budget is used."""
        ...

    def breakers(self) -> tuple[BreakerStatus, ...]:
        """Every breaker that is not closed: what is left alone after failures, and for how long."""
        ...

    async def reset_breaker(self, breaker_id: str, by: str, reason: str) -> None:
        """Close a breaker by a person's word: launches go on at once. Its event says who and why.

        Raises:
            UnknownIdError: there is none of this id that is not closed.
        """
        ...

    def leaks(self) -> tuple[Leak, ...]:
        """What carries our tag and is claimed by no record."""
        ...

    async def delete_leak(self, leak_id: str) -> Leak:
        """Confirm that a leak is ours and may be deleted; the cleanup does it.

        Raises:
            UnknownIdError: there is none.
            AlreadyDoneError: a record claims it now.
        """
        ...

    async def adopt_leak(self, leak_id: str) -> Leak:
        """Confirm that a thing whose node id was never issued here is ours all the same.

        Raises:
            UnknownIdError: there is none.
            AlreadyDoneError: it is adopted, or a record claims it now.
        """
        ...

    def plan(self) -> tuple[PlannedStep, ...]:
        """What the scheduler would do now and what it would leave, each with its reason."""
        ...

    def overview(self, most: int) -> Overview:
        """The state of everything now, in one piece, with at most *most* of each list in it."""
        ...

    def last_event(self) -> int:
        """Id of the newest event, 0 before the first."""
        ...

    def events(self, after: int) -> AsyncIterator[Event | Reset]:
        """Follow the events with ids above *after*, in commit order, without an end.

        Yields a `Reset` first where *after* is older than what is kept (a day) or newer than
        anything there was, and whenever the reader was too slow for the bounded buffer behind
        this. What is returned is used by one reader, which calls its ``aclose`` if it has one.
        """
        ...

    def ready(self) -> tuple[bool, str]:
        """Whether requests can be served now, and what stands in the way."""
        ...

    def measures(self) -> tuple[Measure, ...]:
        """Counters and histograms of control; what records say is not repeated in them."""
        ...
