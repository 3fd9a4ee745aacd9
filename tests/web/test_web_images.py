"""The calls about images: what they show, what they do, and how they refuse."""

import json
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
import trio.testing
from image_fakes import (
    a_build_status,
    a_canary,
    a_place,
    an_image,
    an_upload,
    an_upload_status,
    building,
    uploading,
)

from trellis.model.image import BuildState, Pin
from trellis.model.names import BuildId

T = "/api/v1/images/debian-12"
B7, B8 = "debian-12-0000000007", "debian-12-0000000008"


async def test_image_is_shown_with_its_builds_and_places(client, board):
    """What serves where, since when it was built, and how far the next one is."""
    pin = Pin(build_id=BuildId(B7), by="ann", reason="no surprises", at=1_790_000_000.5)
    place = a_place(uploads=(uploading(), an_upload_status()), pin=pin)
    board.images.put(an_image(builds=(building(), a_build_status()), places=(place,)))

    (image,) = (await client.get("/api/v1/images")).json()["items"]

    assert [one["id"] for one in image["builds"]] == [B8, B7]
    assert image["builds"][0]["phase"] == "install.d"
    assert image["builds"][1]["artifacts"][0]["bytes"] == 2 * 1024**3
    (shown,) = image["places"]
    assert (shown["build_id"], shown["built_at"]) == (B7, "2026-09-21T12:13:20.500000Z")
    assert shown["pin"]["reason"] == "no surprises"
    assert [(one["state"], one["serving"]) for one in shown["uploads"]] == [
        ("uploading", False), ("ready", True),
    ]  # fmt: skip
    assert shown["uploads"][0]["sent"] * 4 == shown["uploads"][0]["bytes"]
    assert (await client.get(T)).json() == image


async def test_canary_is_shown_with_its_figures(client, board):
    """Its own launches beside those of the image before it, and its share."""
    board.images.put(an_image(places=(a_place(uploads=(a_canary(), an_upload_status())),)))

    canary, _ = (await client.get(T)).json()["places"][0]["uploads"]

    assert (canary["standing"], canary["share"]) == ("canary", 0.05)
    assert {k: v for k, v in canary["trial"].items() if k != "since"} == {
        "ready": 2, "failed": 1, "before_ready": 40, "before_failed": 1, "needed": 5,
    }  # fmt: skip


async def test_wish_for_a_build_names_the_build_it_will_be(client, board):
    """So that a client can follow that one."""
    answer = await client.post(f"{T}/builds", json={"by": "ann", "reason": "a new kernel"})

    assert answer.status_code == 202
    assert answer.headers["location"] == f"{T}/builds/{B8}"
    assert board.images.acts == [("build", "debian-12", "ann", "a new kernel")]


@pytest.mark.parametrize(
    ("call", "body", "noted"),
    [
        ("uploads", {}, ("upload", None, "api", "")),
        ("uploads", {"provider": "rax"}, ("upload", "rax", "api", "")),
        ("pause", {"reason": "freeze"}, ("pause", None, "api", "freeze")),
        ("resume", {"provider": "rax", "by": "a"}, ("resume", "rax", "a")),
        ("promote", {"build": B8}, ("promote", None, B8, "api", "")),
        ("rollback", {"provider": "rax", "build": B7}, ("rollback", "rax", B7, "api", "")),
        ("rollback", {"all_providers": True, "build": B7}, ("rollback", None, B7, "api", "")),
        ("pin", {"build": B7, "reason": "r"}, ("pin", B7, None, "api", "r")),
        ("unpin", {"provider": "rax"}, ("unpin", "rax", "api", "")),
    ],
)  # fmt: skip
async def test_word_of_a_person_is_carried_out(client, board, call, body, noted):
    """With who says so and why, at the provider that is named or at all."""
    answer = await client.post(f"{T}/{call}", json=body)

    assert answer.status_code in (200, 202), answer.text
    assert answer.json()["name"] == "debian-12"
    assert board.images.acts == [(noted[0], "debian-12", *noted[1:])]


async def test_build_and_upload_are_deleted_by_their_ids(client, board):
    """An upload's id has a dot in it."""
    upload = an_upload()
    one = await client.delete(f"{T}/builds/{B7}", params={"by": "ann"})
    other = await client.delete(f"{T}/uploads/{upload.id}")

    assert (one.status_code, other.status_code) == (200, 200)
    assert board.images.acts == [
        ("delete-build", "debian-12", B7, "ann"),
        ("delete-upload", "debian-12", upload.id, "api"),
    ]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/api/v1/images/nope", None, 404),
        ("GET", f"{T}/builds/nope", None, 404),
        ("GET", f"{T}/builds/nope/log", None, 404),
        ("GET", f"{T}/builds/nope/log?follow=true", None, 404),
        ("GET", f"{T}/builds/{B7}/log?lines=-1", None, 400),
        ("DELETE", f"{T}/uploads/nope", None, 404),
        ("POST", f"{T}/rollback", {"provider": "ovh-bhs1"}, 422),
        ("POST", f"{T}/rollback", {}, 422),
        ("POST", f"{T}/rollback", {"provider": "ovh-bhs1", "all_providers": True}, 422),
        ("POST", f"{T}/pin", {}, 400),
        ("POST", f"{T}/pause", {"providr": "x"}, 400),
    ],
    ids=lambda value: str(value),
)
async def test_refusal_is_a_problem_with_a_remedy(client, board, method, path, body, status):
    """And nothing was done."""
    answer = await client.request(method, path, json=body)

    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["remedy"]
    assert board.images.acts == []


async def test_log_is_text_whole_or_its_last_lines(client):
    """As `tail` would show it."""
    whole = await client.get(f"{T}/builds/{B7}/log")
    last = await client.get(f"{T}/builds/{B7}/log?lines=2")
    none = await client.get(f"{T}/builds/{B7}/log?lines=0")

    assert whole.headers["content-type"] == "text/plain; charset=utf-8"
    assert whole.text == "line one\nline two\nline three\n"
    assert (last.text, none.text) == ("line two\nline three\n", "")


def events(text):
    """The server-sent events of a body."""
    found = []
    for part in text.split("\n\n"):
        fields = dict(x.split(": ", 1) for x in part.splitlines() if not x.startswith(":"))
        if fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


async def test_followed_log_ends_with_how_the_build_ended(client, board, nursery, autojump_clock):
    """Lines as they come; the stream ends by itself, and nobody follows any more."""
    board.images.put(an_image(builds=(building(),)))

    async def build():
        await trio.testing.wait_all_tasks_blocked()
        board.images.write("line four")
        await trio.testing.wait_all_tasks_blocked()
        ended = attrs.evolve(building().build, state=BuildState.FAILED, fault="no space")
        failed = a_build_status(ended, words="failed: no space")
        board.images.put(an_image(builds=(failed,)))

    nursery.start_soon(build)
    answer = await client.get(f"{T}/builds/{B8}/log?follow=true&lines=1")

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert events(answer.text) == [
        ("line", {"text": "line three"}),
        ("line", {"text": "line four"}),
        ("end", {"state": "failed", "words": "failed: no space"}),
    ]
    assert board.images.followers == 0


@asynccontextmanager
async def followed(loopback):
    """A connection that follows the log, at its third line."""
    host, port = loopback.url.removeprefix("http://").split(":")
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        head = f"GET {T}/builds/{B8}/log?follow=true HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n"
        await stream.send_all(head.encode())
        read = b""
        while b"line three" not in read:
            read += await stream.receive_some()
        yield stream


async def test_follower_who_leaves_is_let_go(loopback, board):
    """Its reader of the log is closed with it."""
    board.images.put(an_image(builds=(building(),)))

    async with followed(loopback):
        there = board.images.followers
    with trio.fail_after(10):
        await board.images.left.wait()

    assert (there, board.images.followers) == (1, 0)


async def test_face_that_closes_ends_those_who_follow(loopback, board):
    """As with the stream of events; nothing is said of an end of the build."""
    board.images.put(an_image(builds=(building(),)))

    async with followed(loopback) as stream:
        loopback.stop.set()
        rest = b""
        with trio.fail_after(10):
            async for part in stream:
                rest += part

    assert b"event: end" not in rest
    assert board.images.followers == 0
