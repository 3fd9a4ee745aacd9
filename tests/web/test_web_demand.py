"""Demand sources on the REST face, and requests found by words of others."""

import attrs
from face_fakes import a_source

from trellis.model.request import Ask
from trellis.model.status import SourceState


async def asked(port, **metadata) -> str:
    ask = Ask(labels=("debian-12",), requestor="zuul", tenant="acme", metadata=metadata)
    return (await port.submit(ask)).id


async def test_sources_are_listed_with_how_they_fare(client, board):
    board.sources["old"] = a_source(
        name="old", type="", state=SourceState.DROPPED, since=None, reason="configured no longer"
    )

    first, second = (await client.get("/api/v1/demand-sources")).json()["items"]

    assert first == {
        "name": "zuul",
        "type": "zuul",
        "state": "running",
        "since": "2026-09-21T14:13:20.500000Z",
        "reason": "",
        "requests": {"requested": 2, "fulfilled": 5},
        "crashes": 0,
    }
    assert (second["state"], second["since"]) == ("dropped", None)


async def test_the_status_names_them_too(client, board):
    board.sources["zuul"] = attrs.evolve(
        board.sources["zuul"], state=SourceState.TROUBLED, reason="no ZooKeeper answers"
    )

    (source,) = (await client.get("/api/v1/status")).json()["demand_sources"]

    assert (source["state"], source["reason"]) == ("troubled", "no ZooKeeper answers")


async def test_what_a_dropped_one_left_is_ended_by_a_persons_word(client, board):
    board.sources["zuul"] = attrs.evolve(board.sources["zuul"], state=SourceState.DROPPED)

    answer = await client.post("/api/v1/demand-sources/zuul/end", json={"by": "ada"})

    assert (answer.status_code, answer.json()) == (200, {"requests": 7})
    assert board.acts == [("end", "zuul", "ada")]


async def test_that_of_one_in_the_configuration_is_refused(client):
    answer = await client.post("/api/v1/demand-sources/zuul/end", json={})

    assert (answer.status_code, answer.json()["remedy"]) == (422, "take it out")


async def test_requests_are_found_by_words_of_their_metadata(client, port):
    wanted = await asked(port, zuul_request="100-0000000007", zuul_job="tox")
    other = await asked(port, zuul_request="100-0000000008", zuul_job="tox")

    async def found(word):
        answer = await client.get("/api/v1/requests/find", params={"word": word})
        return [row["id"] for row in answer.json()["items"]]

    assert await found("100-0000000007") == [wanted]
    assert await found("tox") == [other, wanted]
    assert await found("nothing") == []
    assert (await client.get("/api/v1/requests/find")).status_code == 400


async def test_explanation_of_a_word_is_of_the_one_request_that_has_it(client, port):
    await asked(port, zuul_request="100-0000000007")

    answer = await client.get("/api/v1/requests/100-0000000007/explain")

    assert answer.status_code == 200


async def test_of_several_the_answer_names_them(client, port):
    one, two = await asked(port, zuul_job="tox"), await asked(port, zuul_job="tox")

    answer = await client.get("/api/v1/requests/tox/explain")

    assert answer.status_code == 422
    assert one in answer.json()["detail"]
    assert two in answer.json()["detail"]


async def test_of_none_it_is_not_there(client):
    assert (await client.get("/api/v1/requests/tox/explain")).status_code == 404


async def test_lists_are_narrowed_to_a_pipeline_or_a_job(client, port):
    check = await asked(port, zuul_pipeline="check", zuul_job="tox")
    gate = await asked(port, pipeline="gate", job="tox")

    async def listed(**params):
        answer = await client.get("/api/v1/requests", params=params)
        return [row["id"] for row in answer.json()["items"]]

    assert await listed(pipeline="check") == [check]
    assert await listed(job="tox") == [check, gate]
    assert await listed(tenant="acme", pipeline="gate") == [gate]
    assert await listed(tenant="other") == []
