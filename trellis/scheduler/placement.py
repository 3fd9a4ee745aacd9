"""Where a request can go: all its nodes on one provider and in one zone, or not at all."""

from collections.abc import Iterable, Mapping, Sequence

import attrs

from trellis.model.node import Node
from trellis.model.quota import Resources, instances, total
from trellis.model.request import Ask, NodeRequest
from trellis.scheduler.answers import Fit, Offered
from trellis.scheduler.decisions import Launch, Place
from trellis.scheduler.preference import Preference, priority_of
from trellis.scheduler.room import Room
from trellis.scheduler.snapshot import PoolView, ProviderView, Snapshot
from trellis.spi.provider import Offer

Judged = Sequence[tuple[ProviderView, str]]
"""Providers, and why each cannot be considered for a request now; "" where it can be, if it
offers the labels."""


def offers_of(provider: ProviderView, labels: tuple[str, ...], room: Room) -> Offered | str:
    """What a provider offers for labels, or the label that nobody there has."""
    known, about = room.answers(provider).offered, (provider.name, labels)
    if (found := known.get(about)) is None:
        found = known[about] = _offers_of(provider, labels)
    return found


def _offers_of(provider: ProviderView, labels: tuple[str, ...]) -> Offered | str:
    everywhere = {label: _pools_offers(provider, label) for label in labels}
    for label, offers in everywhere.items():
        if not offers:
            lacks = [pool.missing[label] for pool in provider.pools if label in pool.missing]
            return f"{label}: {lacks[0]}" if lacks else f"does not offer {label}"
    zones = [{zone for offer in offers for zone in offer.zones} for offers in everywhere.values()]
    named = [those for those in zones if those]
    return Offered(
        offers=tuple(everywhere[label][0] for label in labels),
        # A label that names no zone goes anywhere; with no zone in common there is no place.
        zones=tuple(sorted(set.intersection(*named))) if named else (None,),
        alike=all(
            set(offer.zones) == those
            for offers, those in zip(everywhere.values(), zones, strict=True)
            for offer in offers
        ),
    )


def _pools_offers(provider: ProviderView, label: str) -> list[Offer]:
    return [pool.offers[label] for pool in provider.pools if label in pool.offers]


def judged(request: NodeRequest, snapshot: Snapshot, room: Room) -> Judged:
    """Each provider, and why it cannot be considered for *request* now, whatever it offers."""
    wanted = request.ask.provider
    preferred = request.ask.prefers
    if preferred is not None and why_not_preferred(request, snapshot, room):
        preferred = None
    declined = {d.provider: d.reason for d in reversed(request.declined) if d.holds(snapshot.now)}
    found = []
    for provider in room.providers:
        name = provider.name
        if wanted is not None and wanted != name:
            found.append((provider, f"the request insists on provider {wanted}"))
        elif preferred is not None and preferred != name:
            found.append((provider, f"the request prefers provider {preferred}"))
        else:
            # One that is closed may not know yet what it offers.
            found.append((provider, declined.get(name) or provider.closed))
    return found


def why_not_preferred(request: NodeRequest, snapshot: Snapshot, room: Room) -> str:
    """Why the provider that a request prefers is dropped for now; "" if it is to serve it.

    Where it is only full, the request waits for it as others do.
    """
    ask, name = request.ask, request.ask.prefers
    provider = snapshot.providers.get(name or "")
    if provider is None or provider.dropped:
        return "there is none of this name"
    if ask.provider is not None and ask.provider != name:
        return f"the request insists on provider {ask.provider}"
    declined = [d.reason for d in request.declined if d.provider == name and d.holds(snapshot.now)]
    if out := next(
        filter(None, (*declined, provider.closed, provider.paused, provider.barred)), ""
    ):
        return out
    offered = offers_of(provider, ask.labels, room)
    if isinstance(offered, str):
        return offered
    if never := room.could_ever(provider, ask.labels, ask.tenant):
        return never
    for label in ask.labels:
        # For how long nobody knows, and what is ready there may be taken all the same.
        if all(_is_shut(pool, label) for pool in provider.pools if label in pool.offers):
            return f"its limits of 0 let no {label} be launched"
    held = room.withheld(provider, ask.labels)
    return "" if held is None else held.reason


@attrs.frozen
class Choice:
    """The best way to serve a request, and what it was chosen from.

    Attributes:
        rivals: the other ways there were, one a provider.
        refusals: by provider, why there was none.
        dropped: why the provider that the request prefers was out of the question, if it was.
    """

    fit: Fit
    rivals: Sequence[Fit]
    refusals: Mapping[str, str]
    dropped: str = ""


def _is_shut(pool: PoolView, label: str) -> bool:
    limits = pool.limits
    return 0 in (limits.instances, limits.cores, limits.ram_mib, pool.label_limits.get(label))


def best_place(
    request: NodeRequest,
    providers: Judged,
    snapshot: Snapshot,
    room: Room,
    preference: Preference,
) -> Choice | dict[str, str]:
    """The best way to serve *request* now; or, by provider, why there is none."""
    fits: list[Fit] = []
    refusals: dict[str, str] = {}
    tenant, labels = request.ask.tenant, request.ask.labels
    wanted, claims = room.wanted(labels), room.claims
    own = claims.tenant_short(tenant, instances(len(labels)))
    for provider, out in providers:
        name = provider.name
        if out:
            refusals[name] = out
            continue
        if own:
            offered = offers_of(provider, labels, room)
            refusals[name] = offered if isinstance(offered, str) else own
            continue
        known, about = room.answers(provider).fits, ((name, wanted), request.ask.reuse)
        if (found := known.get(about)) is None:
            found = known[about] = _fit_on(request.ask, provider, snapshot, room)
        if isinstance(found, str):
            refusals[name] = found
        elif too_much := claims.tenant_short(tenant, found.size):
            refusals[name] = too_much
        else:
            fits.append(found)
    if not fits:
        return refusals
    best = fits[0] if len(fits) == 1 else min(fits, key=preference.key)
    dropped = "" if request.ask.prefers is None else why_not_preferred(request, snapshot, room)
    return Choice(best, [fit for fit in fits if fit is not best], refusals, dropped)


def place_of(request: NodeRequest, choice: Choice, preference: Preference) -> Place:
    """The decision to serve *request* like that; made before the room for it is taken."""
    fit = choice.fit
    reason = preference.words(fit, choice.rivals, choice.refusals)
    if choice.dropped:
        reason = f"{reason}; not {request.ask.prefers}, which it prefers: {choice.dropped}"
    return Place(
        request=request,
        provider=fit.provider,
        az=fit.az,
        take=fit.take,
        launch=tuple(
            Launch(
                provider=fit.provider,
                offer=offer,
                az=fit.az,
                slot=slot,
                replaces=None,
                reason=f"for request {request.id}",
            )
            for slot, offer in zip(fit.slots, fit.offers, strict=True)
        ),
        reason=reason,
    )


def _fit_on(ask: Ask, provider: ProviderView, snapshot: Snapshot, room: Room) -> Fit | str:
    """Have an ask served on this provider, in its best zone, or say why that cannot be."""
    labels = ask.labels
    offered = offers_of(provider, labels, room)
    if isinstance(offered, str):
        return offered
    reason = "its labels have no zone in common here"
    first = ""
    best: tuple[tuple[int, int], str | None, dict[int, Node], list[Offer]] | None = None
    alike = offered.alike and not any(pool.spots_held for pool in provider.pools)
    tried = set()
    for az in _by_nodes(offered.zones, provider, room):
        take = _ready_nodes(labels, provider, az, snapshot, room) if ask.reuse else {}
        slots = tuple(slot for slot in range(len(labels)) if slot not in take)
        if alike and slots in tried:
            continue  # what is launched in one zone can as well be in the other
        tried.add(slots)
        chosen = room.choose_pools(provider, [labels[slot] for slot in slots], az)
        if isinstance(chosen, str):
            first = first or chosen
            continue
        # Pools of one provider may be in other zones, and some are to be used before others.
        rank = len(slots), priority_of(provider, chosen)
        if best is None or rank < best[0]:
            best = rank, az, take, chosen
    if best is None:
        return first or reason
    (_, priority), az, take, chosen = best
    return Fit(
        provider=provider.name,
        az=az,
        take=tuple(take.items()),
        slots=tuple(slot for slot in range(len(labels)) if slot not in take),
        offers=tuple(chosen),
        size=size_of(take.values(), chosen),
        priority=priority,
    )


def size_of(nodes: Iterable[Node], offers: Iterable[Offer]) -> Resources:
    """What these nodes and offers come to together."""
    there = total(node.shape.resources for node in nodes)
    return total((there, *(offer.shape.resources for offer in offers)))


def _by_nodes(
    zones: Sequence[str | None], provider: ProviderView, room: Room
) -> Sequence[str | None]:
    """The zones with the fewest nodes of ours first."""
    if len(zones) < 2:
        return zones
    return sorted(zones, key=lambda z: (room.zone_nodes(provider, z), z or ""))


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
