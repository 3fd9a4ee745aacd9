"""Where a request can go: all its nodes on one provider and in one zone, or not at all."""

from collections.abc import Iterable, Iterator, Sequence

import attrs

from trellis.model.node import Node
from trellis.model.quota import Resources
from trellis.model.request import NodeRequest
from trellis.scheduler.decisions import Launch, Place
from trellis.scheduler.room import Room
from trellis.scheduler.snapshot import ProviderView, Snapshot
from trellis.spi.provider import Offer


@attrs.frozen
class Placing:
    """One way to serve a request, not yet taken."""

    place: Place
    offers: tuple[Offer, ...]
    score: tuple[int, float, str]


def offers_of(provider: ProviderView, labels: Sequence[str]) -> list[Offer] | str:
    """One offer for each label, of whichever pool has it, or the label that nobody has."""
    found = []
    for label in labels:
        for pool in provider.pools:
            if label in pool.offers:
                found.append(pool.offers[label])
                break
        else:
            lacks = [pool.missing[label] for pool in provider.pools if label in pool.missing]
            return f"{label}: {lacks[0]}" if lacks else f"does not offer {label}"
    return found


def out_of_question(request: NodeRequest, provider: ProviderView, now: float) -> str:
    """Why this provider cannot be considered for this request now; "" if it can."""
    wanted = request.ask.provider
    if wanted is not None and wanted != provider.name:
        return f"the request insists on provider {wanted}"
    for declined in request.declined:
        if declined.provider == provider.name and declined.holds(now):
            return declined.reason
    if provider.closed:
        return provider.closed  # it may not know yet what it offers
    offered = offers_of(provider, request.ask.labels)
    return offered if isinstance(offered, str) else ""


def best_place(request: NodeRequest, snapshot: Snapshot, room: Room) -> Placing | dict[str, str]:
    """The best way to serve *request* now; or, by provider, why there is none.

    Fewest launches first (a ready node beats a new one), then the most quota left.
    """
    best: Placing | None = None
    refusals: dict[str, str] = {}
    tenant, count = request.ask.tenant, len(request.ask.labels)
    own = room.claims.tenant_short(tenant, Resources(instances=count))
    for name in sorted(snapshot.providers):
        provider = snapshot.providers[name]
        if reason := out_of_question(request, provider, snapshot.now):
            refusals[name] = reason
            continue
        if own:
            refusals[name] = own
            continue
        found = place_on(request, provider, snapshot, room)
        if isinstance(found, str):
            refusals[name] = found
        elif best is None or found.score < best.score:
            best = found
    return best if best is not None else refusals


def place_on(
    request: NodeRequest, provider: ProviderView, snapshot: Snapshot, room: Room
) -> Placing | str:
    """Serve *request* on this provider, in its best zone, or say why that cannot be."""
    labels = request.ask.labels
    offered = offers_of(provider, labels)
    if isinstance(offered, str):
        return offered
    reason = "its labels have no zone in common here"
    first = ""
    best: tuple[int, str | None, dict[int, Node], list[Offer]] | None = None
    for az in _zones(offered, provider, room):
        take = _ready_nodes(labels, provider, az, snapshot, room)
        missing = [labels[slot] for slot in range(len(labels)) if slot not in take]
        chosen = room.choose_pools(provider, missing, az)
        if isinstance(chosen, str):
            first = first or chosen
        elif best is None or len(missing) < best[0]:
            best = len(missing), az, take, chosen
    if best is None:
        return first or reason
    _, az, take, chosen = best
    if own := room.claims.tenant_short(request.ask.tenant, size_of(take.values(), chosen)):
        return own
    slots = [slot for slot in range(len(labels)) if slot not in take]
    place = Place(
        request=request,
        provider=provider.name,
        az=az,
        take=tuple(take.items()),
        launch=tuple(
            Launch(
                provider=provider.name,
                offer=offer,
                az=az,
                slot=slot,
                replaces=None,
                reason=f"for request {request.id}",
            )
            for slot, offer in zip(slots, chosen, strict=True)
        ),
        reason=f"{provider.name}: {len(take)} ready, {len(slots)} to launch",
    )
    return Placing(place, tuple(chosen), (len(slots), room.fullness(provider), provider.name))


def size_of(nodes: Iterable[Node], offers: Iterable[Offer]) -> Resources:
    """What these nodes and offers come to together."""
    total = sum((node.shape.resources for node in nodes), Resources())
    return sum((offer.shape.resources for offer in offers), total)


def _zones(offered: Sequence[Offer], provider: ProviderView, room: Room) -> Iterator[str | None]:
    """The zones all of these offers share, those with the fewest nodes of ours first."""
    labels = {offer.label for offer in offered}
    of_label = [
        {z for pool in provider.pools if x in pool.offers for z in pool.offers[x].zones}
        for x in sorted(labels)
    ]
    if not any(of_label):
        yield None
        return
    # A label that names no zone goes anywhere; with no zone in common there is no place.
    zones = sorted(set.intersection(*(named for named in of_label if named)))
    yield from sorted(zones, key=lambda z: (room.zone_nodes(provider, z), z))


def _ready_nodes(
    labels: Sequence[str],
    provider: ProviderView,
    az: str | None,
    snapshot: Snapshot,
    room: Room,
) -> dict[int, Node]:
    """Idle nodes for these slots; one alone is at home anywhere, a set has to meet in *az*.

    One whose label has been configured otherwise meanwhile serves where there is no other.
    """
    found: dict[int, Node] = {}
    meeting: str | None = None
    for slot, label in enumerate(labels):
        second_best: Node | None = None
        for node in snapshot.idle.get((provider.name, label), {}).values():
            spoken_for = node.id in room.taken or any(n is node for n in found.values())
            if spoken_for or (len(labels) > 1 and node.az != (az or meeting or node.az)):
                continue
            if snapshot.outdated(node):
                second_best = second_best or node
                continue
            found[slot] = node
            break
        else:
            if second_best is not None:
                found[slot] = second_best
        if slot in found:
            meeting = found[slot].az
    return found
