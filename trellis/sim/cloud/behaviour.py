"""Behaviour flags: in what a simulated cloud is not stock, each with the row that says so.

A twin of a real cloud (`trellis.sim.clouds`) is a `CloudSpec` with some of these set. They are
written from the project's survey of clouds, never from a plugin: a plugin is tried against them.
"""

from typing import Any

import attrs


def manner(default: Any, *, row: str) -> Any:
    """A field of `Behaviour`.

    Args:
        default: what a stock cloud does.
        row: of the survey of clouds, as ``part 1 §3.1`` or ``Rackspace classic: Neutron``.
    """
    return attrs.field(default=default, metadata={"row": row})


@attrs.frozen(kw_only=True)
class Behaviour:
    """How a simulated cloud deviates from a stock one, beyond what its offer and limits say.

    Attributes:
        scopes_unasked: a v2.0 login that names no tenant is scoped to the project all the same;
            else its token has no project and an empty catalog.
    """

    scopes_unasked: bool = manner(False, row="Rackspace classic: Tenant")


STOCK = Behaviour()
"""A cloud as upstream has it."""
