"""Answers of a cloud's services with something wrong in them: an error that says so, or nothing.

A recorded answer is spoilt at one place, and the provider asked for all it is ever asked.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.documents import changed, places
from tests.providers.canned import (
    SAMPLES,
    SERVER,
    STOCK,
    TAG,
    CannedSession,
    a_provider,
    a_row,
    a_thing,
    an_intent,
)
from trellis.errors import CloudError
from trellis.model.node import ResourceKind
from trellis.providers.openstack import OpenStackProvider

FLOATING = SAMPLES["list floating ips"]["floatingips"]
REPLIES: dict[str, Any] = {
    **STOCK,
    "GET compute /servers/detail": {"servers": [a_row()]},
    "GET compute /servers/{id}": {"server": a_row()},
    "GET network /floatingips": {"floatingips": FLOATING},
    "DELETE network /ports/{id}": (204, None),
}
SPOILT = tuple(sorted(name for name, reply in REPLIES.items() if isinstance(reply, dict | tuple)))

Ask = Callable[[OpenStackProvider], Awaitable[object]]
ASKED: dict[str, Ask] = {
    "inventory": lambda p: p.inventory(),
    "limits": lambda p: p.limits(),
    "list": lambda p: p.list(None),
    "list of changes": lambda p: p.list("2026-07-29T00:00:00Z"),
    "get": lambda p: p.get(SERVER),
    "find": lambda p: p.find(TAG, "ci-42"),
    "create": lambda p: p.create(an_intent()),
    "attach": lambda p: p.attach_public(TAG, SERVER),
    "leftovers": lambda p: p.find_leftovers(),
    "delete": lambda p: p.delete_step(a_thing(ResourceKind.SERVER, SERVER), TAG),
    "delete of a floating IP": lambda p: p.delete_step(a_thing(ResourceKind.FLOATING_IP), TAG),
    "delete of one in doubt": lambda p: p.delete_step(a_thing(ResourceKind.FLOATING_IP, None), TAG),
    "delete of a port": lambda p: p.delete_step(a_thing(ResourceKind.PORT), TAG),
}

values = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | st.sampled_from(["", "::", "999.1.1.1", "9999-99-99", "-1", "\x00", "2026", "http://["])
    | st.sampled_from([[], {}, [None], {"a": None}, [[]], [1], ["x"]])
)


@st.composite
def replies(draw: st.DrawFn) -> dict[str, Any]:
    """The recorded answers, one of them with a fault."""
    name = draw(st.sampled_from(SPOILT))
    reply = REPLIES[name]
    status, body = reply if isinstance(reply, tuple) else (200, reply)
    path = draw(st.sampled_from(places(body)))
    missing = draw(st.booleans()) and bool(path)
    body = changed(body, path, ... if missing else draw(values))
    return {**REPLIES, name: (status, body)}


@pytest.mark.parametrize("asked", ASKED)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(given=replies())
def test_a_spoilt_answer_is_an_error_or_is_borne(asked, given):
    async def main() -> None:
        session = CannedSession(replies=given)
        provider = a_provider(session)
        with trio.fail_after(60):  # noqa: ASYNC912
            try:
                await ASKED[asked](provider)
            except CloudError as error:
                known.append(error)
        assert len(session.made) < 100, "it asks without end"

    known: list[CloudError] = []
    trio.run(main)
    assert all(str(error) for error in known)
