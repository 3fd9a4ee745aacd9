"""The traps of Nodepool's protocol that the project's survey of Zuul lists: each has its test."""

import importlib
import json

import pytest
import structlog
import trio

from tests.zuul.request_stage import the_request_stage, wait_for

HERE = "test_traps"
TRAPS = {
    "integers of 128 bits": ("test_request_life", "test_unknown_keys_come_back_to_the_bit"),
    "the lock is held from take-over to the end": (
        "test_request_life",
        "test_the_lock_is_held_from_the_place_to_the_answer",
    ),
    "writes go by the version that was read": (
        "test_request_faults",
        "test_a_request_written_by_others_before_any_write_is_served_all_the_same",
    ),
    "a request may vanish at any write": (
        "test_request_faults",
        "test_a_request_deleted_before_any_write_leaves_nothing",
    ),
    "nodes first, then the request, then its lock": (
        "test_request_life",
        "test_the_first_writes_are_these_and_no_others",
    ),
    "nodes are ready and unlocked when the request is fulfilled": (
        HERE,
        "test_nodes_are_ready_unlocked_and_allocated_when_the_request_is_fulfilled",
    ),
    "nodes are named in the order of the labels": (
        HERE,
        "test_nodes_are_named_in_the_order_of_the_labels",
    ),
    "no host keys is unchecked SSH": (
        "test_request_life",
        "test_a_node_without_the_host_keys_it_should_have_is_not_handed_out",
    ),
    "failed carries no reason": (HERE, "test_why_a_request_failed_is_logged_with_its_ids"),
    "lock folders are left by everybody": (
        "test_sweeps",
        "test_the_lock_of_a_request_that_is_gone_goes_too",
    ),
    "another registered pool could serve": (
        "test_declines",
        "test_a_request_that_failed_here_goes_back_while_others_may_serve_it",
    ),
    "want of quota is no failure": ("test_declines", "test_want_of_quota_is_no_failure"),
    "an unknown label fails at once": (
        "test_declines",
        "test_a_label_that_nobody_has_fails_at_once_when_all_pools_are_known",
    ),
    "but not in the first seconds": (
        "test_declines",
        "test_a_label_that_nobody_has_does_not_fail_in_the_first_seconds",
    ),
    "the lock of a dead launcher": (HERE, "test_the_lock_of_a_dead_launcher_is_waited_out"),
    "forms of a hold's expiration": (
        "test_node_wire",
        "test_a_hold_lasts_as_long_as_its_expiration_says",
    ),
    "several systems on one tree": (
        "test_request_life",
        "test_several_systems_are_served_on_one_tree",
    ),
}


@pytest.mark.parametrize("trap", sorted(TRAPS))
def test_each_trap_has_its_test(trap):
    module, name = TRAPS[trap]

    assert callable(getattr(importlib.import_module(f"tests.zuul.{module}"), name))


async def test_nodes_are_named_in_the_order_of_the_labels(autojump_clock):
    labels = ["large", "small", "large", "large", "small"]
    async with the_request_stage() as stage, stage.serving():
        request = await stage.ask(*labels)
        answered = await stage.becomes(request, "fulfilled")

        types = []
        for node in answered["nodes"]:
            data, _stat = await stage.session.get(f"/nodepool/nodes/{node}")
            types += json.loads(data)["type"]
    assert labels == types


async def test_nodes_are_ready_unlocked_and_allocated_when_the_request_is_fulfilled(
    autojump_clock,
):
    async with the_request_stage() as stage, stage.serving():
        request = await stage.ask("small", "small")
        answered = await stage.becomes(request, "fulfilled")

        for node in answered["nodes"]:
            data, stat = await stage.session.get(f"/nodepool/nodes/{node}")
            document = json.loads(data)
            assert ("ready", request) == (document["state"], document["allocated_to"])
            assert (0, 0) == (stat.children, stat.cversion)


async def test_why_a_request_failed_is_logged_with_its_ids(autojump_clock):
    async with the_request_stage() as stage, stage.serving():
        stage.port.failing = {"small"}
        await trio.sleep(20)
        with structlog.testing.capture_logs() as events:
            request = await stage.ask("small")
            await stage.becomes(request, "failed")
            unknown = await stage.ask("never-there")
            await stage.becomes(unknown, "failed")

    said = [one for one in events if one["event"] == "zuul_request_failed"]
    assert [
        (request, "event0", "no launch succeeds"),
        (unknown, "event1", "there is no label 'never-there'"),
    ] == [(one["zuul_request"], one["zuul_event"], one["why"]) for one in said]


async def test_the_lock_of_a_dead_launcher_is_waited_out(autojump_clock):
    """Until its session ends; then the request is anybody's again, and Trellis serves it."""
    async with the_request_stage() as stage, stage.serving():
        stage.port.place_s = 5.0
        await trio.sleep(15)
        async with stage.another("nodepool") as dead:
            request = await stage.ask("small")
            await wait_for(lambda: bool(stage.port.submitted))
            assert await stage.lock(request, dead)
            await stage.write(request, state="pending")
            stage.zookeeper.abandon(
                next(s for s in stage.zookeeper.sessions if s.who == "nodepool")
            )
            await trio.sleep(5)
            assert "pending" == await stage.state(request)

            await stage.becomes(request, "fulfilled", within_s=120)
