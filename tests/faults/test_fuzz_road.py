"""Whatever a cloud, or what stands in front of it, answers: an error that says what to do.

No crash but a `CloudError`, no hang, no secret in a text. The answers are drawn at random, most
of them as real ones with something wrong in them.
"""

import contextlib
import json
from collections.abc import Callable
from random import Random
from typing import Any

import httpx
import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.documents import changed, places
from tests.openstack.fake_identity import CATALOG, a_config, running
from trellis.errors import CloudError
from trellis.http import Answer, Call, Headers, Road
from trellis.http.retry_after import LONGEST_S, retry_after
from trellis.openstack import catalog, faults
from trellis.openstack.compute import ServerRow

NOW = 1_800_000_000.0
SECRET = "hunter2"

quick = settings(max_examples=300, deadline=None, derandomize=True)
whole = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["http://[bad", "http://x\u2100y/", "-1", "nan", "1e999", "a\nb", "\u00e9"])
)
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
header_texts = st.text(
    alphabet=st.characters(min_codepoint=32, max_codepoint=255), max_size=60
) | st.sampled_from(
    ["0", "-1", "315360000", "1e999", "nan", "Thu, 01 Jan 1970 00:00:00 GMT", "soon", "5, 7",
     "Fri, 31 Dec 9999 23:59:59 GMT", "0001-01-01T00:00:00+23:59", "2026-01-01T00:00:00 UTC"]
)  # fmt: skip


def encoded(tree: Any) -> bytes:
    return json.dumps(tree).encode()


nested = st.integers(1, 100_000).map(lambda depth: b"[" * depth)
bodies = (
    st.binary(max_size=200)
    | trees.map(encoded)
    | nested
    | st.builds(
        lambda key, member, value: encoded({key: {member: value, "code": 4}}),
        st.sampled_from(["overLimit", "NeutronError", "error", "itemNotFound", "x"]),
        st.sampled_from(["retryAfter", "retryAt", "message", "type", "detail", "title"]),
        trees,
    )
)


class Answering(httpx.AsyncBaseTransport):
    """The same answer whatever is asked."""

    def __init__(self, make: Callable[[], httpx.Response]) -> None:
        self._make = make

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await trio.lowlevel.checkpoint()
        return self._make()


@quick
@given(header=header_texts, date=header_texts, body=bodies)
def test_a_delay_is_a_sensible_number_or_none(header, date, body):
    headers = Headers({"Retry-After": header, "Date": date})

    delay = retry_after(headers, body, now=NOW)

    assert delay is None or 0.0 <= delay <= LONGEST_S


@quick
@given(
    status=st.integers(400, 999),
    body=bodies,
    id=header_texts,
    service=st.sampled_from(["compute", "network", "image", "block-storage", "identity"]),
)
def test_a_refusal_is_an_error_of_one_short_line(status, body, id, service):
    answer = Answer(status=status, body=body, headers={"X-Openstack-Request-Id": id})

    error = faults.error_from(answer, cloud="acme", service=service, call="GET it /x")

    assert isinstance(error, CloudError)
    assert len(str(error)) < 1200
    assert "\n" not in str(error)


@quick
@given(message=st.text(), code=st.integers())
def test_a_fault_of_a_server_is_an_error(message, code):
    assert isinstance(faults.error_from_fault(message, code), CloudError)


@quick
@given(body=bodies)
def test_a_list_that_is_none_is_an_error(body):
    answer = Answer(status=200, body=body)

    with contextlib.suppress(CloudError):
        answer.decode(dict[str, list[ServerRow]])


@quick
@given(
    status=st.integers(200, 599),
    headers=st.dictionaries(
        st.sampled_from(["Location", "Content-Encoding", "Content-Type", "Retry-After", "Date"]),
        header_texts | st.sampled_from(["http://[bad", "gzip", "//[::1", "https://a:b@c/"]),
    ),
    body=bodies,
    method=st.sampled_from(["GET", "POST"]),
)
def test_an_answer_or_an_error_comes_of_every_call(status, headers, body, method):
    async def main() -> None:
        began = trio.current_time()

        class Body(httpx.AsyncByteStream):
            async def __aiter__(self):
                await trio.lowlevel.checkpoint()
                yield body

        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        wires = Answering(lambda: httpx.Response(status, headers=raw, stream=Body()))
        road = Road("acme", wires, random=Random(1), wall=lambda: NOW)
        call = Call(
            service="compute", method=method, url="http://a.test/x", path_label="/x", budget_s=5.0
        )
        with contextlib.suppress(CloudError):
            await road.send(call)
        assert trio.current_time() - began <= 5.0

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def good_token() -> dict[str, Any]:
    return {
        "methods": ["password"],
        "user": {"id": "u1", "name": "ci", "domain": {"id": "default", "name": "Default"}},
        "project": {"id": "p1", "name": "ci", "domain": {"id": "default", "name": "Default"}},
        "catalog": json.loads(json.dumps(CATALOG)),
        "issued_at": "2026-01-01T00:00:00.000000Z",
        "expires_at": "2026-01-01T01:00:00.000000Z",
        "audit_ids": ["a"],
        "roles": [{"id": "r", "name": "member"}],
    }


PLACES = [place for place in places(good_token()) if place]


tokens = st.builds(
    lambda path, instead: encoded({"token": changed(good_token(), path, instead)}),
    st.sampled_from(PLACES),
    trees,
)


@whole
@given(
    body=tokens | bodies,
    value=header_texts | st.just("token-1"),
    status=st.sampled_from([200, 201, 201, 201, 300, 400, 401, 403, 404, 413, 429, 500]),
)
def test_a_login_gives_a_token_or_an_error(body, value, status):
    """And a session that has it makes a call or says what is wrong with the catalog."""

    async def main() -> None:
        async with running(a_config(SECRET)) as at:
            raw = [(b"X-Subject-Token", value.encode("latin-1"))]
            at.cloud.instead = httpx.Response(status, headers=raw, content=body)
            with trio.fail_after(200):  # noqa: ASYNC912
                with contextlib.suppress(CloudError):
                    await at.session.request("compute", "GET", "/servers", label="/servers")
            assert SECRET not in at.account.state.reason
            assert at.account.state.standing.value != "logging-in", "the account's task has died"

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


services = st.lists(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["compute", "volumev3"]) | scalars},
        optional={
            "name": scalars,
            "endpoints": st.lists(
                st.fixed_dictionaries(
                    {},
                    optional={
                        "url": scalars | st.sampled_from(["http://a/v2", "http://a", "/x"]),
                        "interface": scalars | st.sampled_from(["public", "publicURL"]),
                        "region_id": scalars | st.just("R1"),
                        "region_name": scalars,
                    },
                ),
                max_size=3,
            ),
        },
    ),
    max_size=3,
)


@quick
@given(found=services, region=st.sampled_from(["", "R1"]), override=header_texts | st.just(""))
def test_a_catalog_gives_a_url_or_an_error(found, region, override):
    rows = catalog.read_catalog(found)

    for service in ("compute", "block-storage"):
        with contextlib.suppress(CloudError):
            url = catalog.endpoint(
                rows, service, region=region, overrides={"compute_endpoint_override": override}
            )
            assert isinstance(url, str)


@pytest.mark.parametrize("value", ["caf\u00e9", "a b", "", "x" * 70_000, "a\tb"])
async def test_a_token_that_fits_into_no_header_is_no_token(autojump_clock, value):
    """It would fail in each call, and there be quoted."""
    async with running() as at:
        raw = [(b"X-Subject-Token", value.encode("latin-1"))]
        at.cloud.instead = httpx.Response(
            201, headers=raw, content=encoded({"token": good_token()})
        )
        with pytest.raises(CloudError, match="no token"):
            await at.account.token()
