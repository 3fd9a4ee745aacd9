"""Labels, providers and quota: what can be had, from where, and how much of it."""

from typing import Final

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import RawBody

from trellis.web.bodies import DrainBody, MoveBody, NoBody, PauseBody
from trellis.web.desk import Desk
from trellis.web.operator_answers import (
    BudgetAnswer,
    LabelPage,
    ProviderAnswer,
    ProviderPage,
    QuotaPage,
    TenantPage,
)
from trellis.web.operator_views import (
    label_answer,
    provider_answer,
    quota_answer,
    tenant_answer,
)
from trellis.web.reading import read, read_optional
from trellis.web.routes.params import ProviderPath


@get("/labels")
async def list_labels(desk: NamedDependency[Desk]) -> LabelPage:
    """List the labels, who offers them, and their nodes by state."""
    return LabelPage(tuple(label_answer(label) for label in desk.board.labels()))


@get("/providers")
async def list_providers(desk: NamedDependency[Desk]) -> ProviderPage:
    """List the providers, and whether and why each can or cannot be used."""
    return ProviderPage(tuple(provider_answer(provider) for provider in desk.board.providers()))


@get("/providers/{name:str}")
async def show_provider(name: ProviderPath, desk: NamedDependency[Desk]) -> ProviderAnswer:
    """Show one provider."""
    return provider_answer(desk.board.provider(name))


@post("/providers/{name:str}/pause", status_code=200)
async def pause_provider(
    name: ProviderPath, desk: NamedDependency[Desk], body: RawBody
) -> ProviderAnswer:
    """Stop launches at a provider; its nodes live on. Survives a restart of the daemon."""
    word = read_optional(PauseBody, body)
    return provider_answer(await desk.board.pause(name, word.by, word.reason, word.for_s))


@post("/providers/{name:str}/resume", status_code=200)
async def resume_provider(
    name: ProviderPath, desk: NamedDependency[Desk], body: RawBody
) -> ProviderAnswer:
    """Let a paused or drained provider launch again. Fine on one that does."""
    read_optional(NoBody, body)
    return provider_answer(await desk.board.resume(name))


@post("/providers/{name:str}/drain", status_code=200)
async def drain_provider(
    name: ProviderPath, desk: NamedDependency[Desk], body: RawBody
) -> ProviderAnswer:
    """Stop launches at a provider and delete its idle nodes; leased and held ones stay."""
    word = read_optional(DrainBody, body)
    return provider_answer(await desk.board.drain(name, word.by, word.reason))


@post("/providers/{name:str}/accept-move", status_code=200)
async def accept_move(
    name: ProviderPath, desk: NamedDependency[Desk], body: RawBody
) -> ProviderAnswer:
    """Record that a cloud has moved: its nodes are to be found where the credentials lead now.

    For a provider that is unavailable because the project changed. Refused if the credentials
    lead elsewhere than to the endpoint and project that are named.
    """
    word = read(MoveBody, body)
    return provider_answer(
        await desk.board.accept_move(name, word.endpoint, word.project_id, word.by)
    )


@get("/quota")
async def list_quota(desk: NamedDependency[Desk]) -> QuotaPage:
    """List the quota of every project: its limits, our share, and others'."""
    budget = desk.board.budget()
    return QuotaPage(
        tuple(quota_answer(quota) for quota in desk.board.quota()),
        launches=BudgetAnswer(limit=budget.limit, used=budget.used),
    )


@get("/tenants")
async def list_tenants(desk: NamedDependency[Desk]) -> TenantPage:
    """List the tenants: what each holds, what it may, and how many of its requests wait."""
    return TenantPage(tuple(tenant_answer(tenant) for tenant in desk.board.tenants()))


HANDLERS: Final = (
    list_labels, list_providers, show_provider, pause_provider, resume_provider, drain_provider,
    accept_move, list_quota, list_tenants,
)  # fmt: skip
