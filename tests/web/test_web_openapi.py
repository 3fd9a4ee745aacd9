"""The description of the face says all there is to say."""

import re
from typing import Any

import pytest


@pytest.fixture
async def described(client) -> Any:
    return (await client.get("/openapi.json")).json()


async def test_every_field_is_described(described):
    """OpenAPI 3.1 with a description for each field of each shape, and for each parameter."""
    fields = [
        (name, field, kind)
        for name, schema in described["components"]["schemas"].items()
        for field, kind in schema.get("properties", {}).items()
    ]
    parameters = [
        (path, parameter["name"], parameter)
        for path, methods in described["paths"].items()
        for call in methods.values()
        for parameter in call.get("parameters", ())
    ]

    assert described["openapi"].startswith("3.1")
    assert len(fields) > 100
    assert [entry[:2] for entry in fields + parameters if not entry[2].get("description")] == []


async def test_every_reference_leads_somewhere(described):
    """No $ref dangles."""
    refs = set(re.findall(r"#/components/schemas/([\w.]+)", str(described)))

    assert refs <= set(described["components"]["schemas"])


async def test_every_call_is_described_with_its_body_and_refusals(described):
    """Each call has a summary of its own, a unique name, and problems for its refusals."""
    calls = [
        (method, call)
        for methods in described["paths"].values()
        for method, call in methods.items()
    ]

    names = [call["operationId"] for _, call in calls]
    assert len(names) == len(set(names)) == 50
    for method, call in calls:
        assert call["summary"]
        assert "application/problem+json" in call["responses"]["default"]["content"]
        if method in ("post", "patch"):
            assert "requestBody" in call, call["operationId"]


async def test_bounds_of_a_request_are_described(described):
    """A client can be generated that never sends what is refused."""
    labels = described["components"]["schemas"]["AskBody"]["properties"]["labels"]

    assert (labels["minItems"], labels["maxItems"], labels["items"]["maxLength"]) == (1, 100, 255)
    assert described["components"]["schemas"]["AskBody"]["additionalProperties"] is False
