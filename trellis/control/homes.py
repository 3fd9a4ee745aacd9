"""Whether a provider's credentials still lead to the cloud that its records speak of (rule 2).

A 404 or an empty list of another project says nothing about our nodes. So while the two differ
nothing is launched, deleted or concluded, until the configuration leads home again or a person
says that the cloud has moved.
"""

from collections.abc import Iterable

import attrs

from trellis.control.health import PROJECT_CHANGED
from trellis.errors import RefusedError
from trellis.model.image import Upload
from trellis.model.node import Home, Node
from trellis.model.records import Change


def foreign(records: Iterable[Node | Upload], home: Home, *, provider: str, cloud: str) -> str:
    """Why this is not the place that the records speak of; "" if it is.

    Args:
        records: nodes and uploads of the provider.
        home: where the present token's calls go.
        provider: its name.
        cloud: the entry of clouds.yaml it uses.
    """
    for one in records:
        if one.home is None or one.home == home:
            continue
        what = "upload" if isinstance(one, Upload) else "node"
        same = one.home.project_id == home.project_id
        option = "" if same else f" --project {home.project_id}"
        return (
            f"{PROJECT_CHANGED}: {what} {one.id} is recorded in project {one.home.project_id} at "
            f"{one.home.endpoint}, the credentials lead to {home.project_id} at {home.endpoint}. "
            f"Nothing is concluded about its {what}s: correct the entry {cloud} in clouds.yaml, or "
            + ("" if same else "give the new project a provider of its own, or ")
            + "if it is the same cloud that has moved "
            f"'trellis provider accept {provider} --endpoint {home.endpoint}{option}'"
        )
    return ""


def moved(
    records: Iterable[Node | Upload],
    home: Home,
    *,
    provider: str,
    endpoint: str,
    project_id: str | None,
    by: str,
) -> list[Change]:
    """What to record when a person says that the cloud has moved.

    Args:
        records: the provider's nodes and uploads, as they are on record now.
        home: where the present token's calls go, as the account knows it.
        endpoint: the compute endpoint that the person means.
        project_id: the project that the person means, where that is another one too.
        by: who says so.

    Raises:
        RefusedError: it is not what the credentials lead to, or the project is another one and
            the person has not named it.
    """
    look = f"'trellis provider show {provider}' says where they lead now"
    if endpoint.rstrip("/") != home.endpoint.rstrip("/"):
        raise RefusedError(
            f"the credentials of {provider} lead to {home.endpoint}, not to {endpoint}",
            remedy=look,
        )
    if project_id not in (None, home.project_id):
        raise RefusedError(
            f"the credentials of {provider} lead to project {home.project_id}, not to {project_id}",
            remedy=look,
        )
    strays = [one for one in records if one.home is not None and one.home != home]
    others = {one.home.project_id for one in strays if one.home} - {home.project_id}
    if others and project_id is None:
        raise RefusedError(
            f"the project is another one too: what is left in {', '.join(sorted(others))} would "
            "be taken for gone, and never be deleted",
            remedy="correct clouds.yaml; only if the old project is no more, repeat it with "
            f"--project {home.project_id}",
        )
    why = f"{by}: the cloud has moved to {home.endpoint}, project {home.project_id}"
    return [Change(one, attrs.evolve(one, home=home), why=why) for one in strays]
