"""An account: one login for all, its renewal, its failures."""

import contextlib
import logging

import httpx
import pytest
import trio
from fake_identity import a_config, running

from trellis.errors import (
    AnswerLostError,
    AuthError,
    CloudBrokenError,
    CloudError,
    ConfigError,
    MisconfiguredError,
    RetryLaterError,
    UnreachableError,
)
from trellis.openstack.auth import Standing


async def test_login_gives_token_project_and_catalog(autojump_clock):
    """What a session needs is in the access, the token not in its repr."""
    async with running() as at:
        access = await at.account.token()

    assert (access.token, access.project_id, access.user_id) == ("token-1", "p1", "u1")
    assert access.catalog[0].url == "http://compute.test/v2.1"
    assert "token-1" not in repr(access)


@pytest.mark.parametrize(
    ("auth_type", "auth"),
    [
        ("password", {"username": "ci", "user_domain_id": "default", "password": "hunter2"}),
        ("v3applicationcredential", {"application_credential_id": "a"}),
        ("v3token", {"token": "hunter2"}),
        ("token", {"token": "hunter2"}),
    ],
)
async def test_every_common_auth_type_logs_in(autojump_clock, auth_type, auth):
    """The generic ones discover the version first."""
    if auth_type == "v3applicationcredential":
        auth = {**auth, "application_credential_secret": "hunter2"}
    else:
        auth = {**auth, "project_id": "p1"}
    versioned = auth_type.startswith("v3")
    auth["auth_url"] = "http://identity.test/v3" if versioned else "http://identity.test"

    async with running(a_config(auth_type=auth_type, auth=auth)) as at:
        access = await at.account.token()

    assert access.token == "token-1"


async def test_v2_login_gives_the_same_access(autojump_clock):
    """Rackspace still speaks v2: tenant, token in the body, three URLs in a catalog row."""
    config = a_config(
        auth_type="v2password",
        auth={
            "auth_url": "http://identity.test/v2.0",
            "username": "ci",
            "password": "hunter2",
            "tenant_id": "0012",
        },
    )
    row = {"region": "DFW", "publicURL": "http://dfw.test/v2/0012", "internalURL": "http://s.test"}
    body = {
        "token": {
            "id": "v2-token",
            "expires": "2026-01-02T00:00:00Z",
            "tenant": {"id": "0012", "name": "0012"},
        },
        "user": {"id": "u1", "name": "ci", "roles": []},
        "serviceCatalog": [
            {"type": "compute", "name": "cloudServersOpenStack", "endpoints": [row]}
        ],
    }
    async with running(config) as at:
        at.cloud.instead = httpx.Response(200, json={"access": body})
        access = await at.account.token()

    assert (access.token, access.project_id) == ("v2-token", "0012")
    found = [(one.interface, one.region, one.url) for one in access.catalog]
    assert ("public", "DFW", "http://dfw.test/v2/0012") in found
    assert len(found) == 2


async def test_waiters_share_one_login(autojump_clock):
    """Two hundred tasks without token: one authentication."""
    async with running() as at:
        at.cloud.login_takes_s = 2.0
        async with trio.open_nursery() as nursery:
            for _ in range(200):
                nursery.start_soon(at.account.token)

        assert at.cloud.logins == 1


async def test_waiters_share_the_failure_and_its_backoff(autojump_clock):
    """A wrong password makes one login in 5 s, then one in 10 s, however many ask."""
    failures: list[CloudError] = []
    async with running(a_config("wrong")) as at:

        async def ask() -> None:
            with trio.move_on_after(14.0):
                while True:
                    try:
                        await at.account.token()
                    except AuthError as error:
                        failures.append(error)
                    await trio.sleep(0.1)

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(ask)

        assert at.cloud.logins == 2
        assert len(failures) > 1000
        assert len({id(error) for error in failures}) == len(failures)


async def test_backoff_grows_to_five_minutes(autojump_clock):
    """Keystone locks accounts: a day of a wrong password is not a day of logins."""
    async with running(a_config("wrong")) as at:
        with trio.move_on_after(86_400):
            while True:
                with pytest.raises(AuthError):
                    await at.account.token()
                await trio.sleep(20.0)

        assert 270 <= at.cloud.logins <= 295


async def test_nobody_asking_means_no_login(autojump_clock):
    """A back-off that ends logs nobody in by itself."""
    async with running(a_config("wrong")) as at:
        with pytest.raises(AuthError):
            await at.account.token()
        await trio.sleep(3600)

        assert at.cloud.logins == 1


async def test_cancelled_waiter_leaves_the_login_to_the_others(autojump_clock):
    """The first who asked may go; the login goes on."""
    async with running() as at:
        at.cloud.login_takes_s = 5.0
        with trio.move_on_after(1.0):
            await at.account.token()

        access = await at.account.token()

        assert access.token == "token-1"
        assert trio.current_time() == pytest.approx(5.0)


async def test_token_is_renewed_before_it_ends(autojump_clock):
    """Nobody waits for a renewal: the token changes five minutes before its end."""
    async with running() as at:
        await at.account.token()
        await trio.sleep(3299)
        before = at.cloud.logins
        await trio.sleep(2)

        assert (before, at.cloud.logins) == (1, 2)
        at.cloud.login_takes_s = 1e6
        assert (await at.account.token()).token == "token-2"


async def test_failed_renewal_keeps_the_token_that_works(autojump_clock):
    """Identity being down is nobody's trouble until the token ends."""
    async with running() as at:
        first = await at.account.token()
        at.cloud.instead = httpx.ConnectError("refused")
        await trio.sleep(3500)

        assert await at.account.token() is first
        assert "no connection" in at.account.state.reason
        assert at.account.state.standing is Standing.AVAILABLE

        await trio.sleep(101)
        with pytest.raises(UnreachableError):
            await at.account.token()
        assert at.account.state.standing is Standing.FAILING


async def test_recovery_clears_the_failure(autojump_clock):
    """After the back-off the next who asks is served."""
    async with running() as at:
        at.cloud.instead = httpx.Response(503)
        with pytest.raises(CloudBrokenError):
            await at.account.token()
        at.cloud.instead = None
        await trio.sleep(5.0)

        await at.account.token()

        assert at.account.state.standing is Standing.AVAILABLE
        assert at.account.state.reason == ""


async def test_stale_token_is_replaced_once(autojump_clock):
    """Many report the same token: one login."""
    async with running() as at:
        stale = await at.account.token()
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(at.account.token, stale)

        assert at.cloud.logins == 2
        assert (await at.account.token(stale)).token == "token-2"


async def test_services_that_refuse_fresh_tokens_cause_no_login_storm(autojump_clock):
    """A broken token check at the cloud: after one more login the back-off holds."""
    async with running() as at:
        for _ in range(100):
            with contextlib.suppress(AuthError):
                await at.account.token(stale=await at.account.token())

        assert at.cloud.logins == 2
        assert "its identity service has just given" in at.account.state.reason


async def test_refused_credentials_are_read_again(autojump_clock):
    """An operator corrects secure.yaml: the next login uses it, without a restart."""
    reads: list[int] = []

    def reload():
        reads.append(1)
        return a_config("hunter2")

    async with running(a_config("wrong"), reload=reload) as at:
        access = await at.account.token()

        assert access.project_id == "p1"
        assert at.account.config == a_config("hunter2")
        assert (len(reads), at.cloud.refused) == (1, 1)


@pytest.mark.parametrize("config", [None, a_config("wrong")])
async def test_unchanged_credentials_are_not_tried_again(autojump_clock, config):
    """Reading the same again is no reason to log in again."""
    async with running(a_config("wrong"), reload=lambda: config) as at:
        with pytest.raises(AuthError):
            await at.account.token()

        assert at.cloud.logins == 1


async def test_unreadable_configuration_leaves_the_failure_as_it_is(autojump_clock):
    """A file that is half written at that moment ends nothing."""

    def reload():
        raise ConfigError(["clouds.yaml:1:1: no YAML"])

    async with running(a_config("wrong"), reload=reload) as at:
        with pytest.raises(AuthError):
            await at.account.token()


@pytest.mark.parametrize(
    ("instead", "kind", "said"),
    [
        (httpx.Response(401, json={"error": {}}), AuthError, "refuses the credentials"),
        (httpx.Response(403, json={"error": {}}), AuthError, "refuses the credentials"),
        (httpx.Response(404), MisconfiguredError, "auth_url"),
        (httpx.Response(400, json={"error": {}}), MisconfiguredError, "domains and project"),
        (httpx.Response(500), CloudBrokenError, "fails"),
        (httpx.Response(201, html="<html>Hi</html>"), CloudBrokenError, "web page"),
        (httpx.Response(201, json={"token": {}}), CloudBrokenError, "no token"),
        (httpx.Response(201, json=[1]), CloudBrokenError, "no token"),
        (httpx.Response(429, headers={"Retry-After": "9"}), RetryLaterError, "rate of logins"),
        (httpx.Response(302, headers={"Location": "http://x.test/"}), MisconfiguredError, "x.test"),
        (httpx.ConnectError("no"), UnreachableError, "no connection"),
        (httpx.ReadError("no"), AnswerLostError, "lost"),
    ],
)
async def test_each_trouble_has_its_type(autojump_clock, instead, kind, said):
    """Each error names the cloud's entry or what to do, and no secret."""
    async with running() as at:
        at.cloud.instead = instead
        with pytest.raises(kind, match=said) as caught:
            await at.account.token()

    assert str(caught.value).startswith("acme: ")
    assert "hunter2" not in str(caught.value)


async def test_a_password_like_a_key_is_nothing_special_at_keystone_v3(autojump_clock):
    """Keys of vendors' own were a matter of v2.0."""
    async with running(a_config("0123456789abcdef0123456789abcdef")) as at:
        with pytest.raises(AuthError) as caught:
            await at.account.token()

    assert "looks like" not in str(caught.value)


async def test_rate_limited_login_carries_the_delay(autojump_clock):
    async with running() as at:
        at.cloud.instead = httpx.Response(429, headers={"Retry-After": "9"})
        with pytest.raises(RetryLaterError) as caught:
            await at.account.token()

    assert caught.value.after_s == 9.0


async def test_login_without_project_is_misconfigured(autojump_clock):
    """An unscoped token can launch nothing."""
    async with running() as at:
        at.cloud.project = None
        with pytest.raises(MisconfiguredError, match="belongs to no project"):
            await at.account.token()


async def test_empty_catalog_is_misconfigured(autojump_clock):
    async with running() as at:
        at.cloud.catalog = []
        with pytest.raises(MisconfiguredError, match="catalog is empty"):
            await at.account.token()


async def test_hung_identity_service_fails_within_its_deadline(autojump_clock):
    """A login that never ends would stall the account unseen."""
    async with running() as at:
        at.cloud.login_takes_s = float("inf")
        with trio.fail_after(91), pytest.raises(AnswerLostError):
            await at.account.token()


async def test_options_that_do_not_fit_name_the_entry(autojump_clock):
    """And quote none of their values."""
    config = a_config(auth={"auth_url": "http://identity.test/v3", "nonsense": "hunter2"})
    async with running(config) as at:
        with pytest.raises(MisconfiguredError, match=r"nonsense.*entry acme") as caught:
            await at.account.token()

    assert "hunter2" not in str(caught.value)


async def test_login_logs_no_token_and_no_password(autojump_clock, caplog):
    """Whatever level the program logs at, keystoneauth1 does not write the answer's body."""
    caplog.set_level(logging.DEBUG)
    async with running() as at:
        await at.account.token()

    assert "token-1" not in caplog.text
    assert "hunter2" not in caplog.text
    assert "compute.test" not in caplog.text


class TestAChangedFile:
    """The operator corrects a password while the account sits out its back-off."""

    async def test_a_corrected_password_does_not_wait_for_the_back_off(self, autojump_clock):
        """However long the wrong one has been tried, the right one is tried at once."""
        written = a_config("wrong")
        async with running(a_config("wrong"), reload=lambda: written) as at:
            with trio.move_on_after(3600):
                while True:
                    with pytest.raises(AuthError):
                        await at.account.token()
                    await trio.sleep(20.0)
            written, began = a_config("hunter2"), trio.current_time()

            assert at.account.reconsider()
            access = await at.account.token()

            assert access.project_id == "p1"
            assert trio.current_time() == began
            assert at.account.state.reason == ""

    async def test_the_same_password_again_is_not_tried(self, autojump_clock):
        """A file that was touched, or changed elsewhere, makes no login: Keystone counts them."""
        async with running(a_config("wrong"), reload=lambda: a_config("wrong")) as at:
            with pytest.raises(AuthError):
                await at.account.token()

            assert not at.account.reconsider()
            with pytest.raises(AuthError):
                await at.account.token()

            assert at.cloud.logins == 1

    async def test_another_wrong_one_costs_one_login(self, autojump_clock):
        """And the back-off begins anew with 5 s."""
        written = a_config("wrong")
        async with running(a_config("wrong"), reload=lambda: written) as at:
            for _ in range(3):
                with pytest.raises(AuthError):
                    await at.account.token()
                await trio.sleep(300.0)
            before, written = at.cloud.logins, a_config("wrong too")

            at.account.reconsider()
            with pytest.raises(AuthError):
                await at.account.token()
            await trio.sleep(4.9)
            with pytest.raises(AuthError):
                await at.account.token()

            assert at.cloud.logins == before + 1

    async def test_what_works_is_left_alone(self, autojump_clock):
        """A password that is not valid at the cloud yet must not replace one that is."""
        written = a_config("hunter2")
        async with running(reload=lambda: written) as at:
            access = await at.account.token()
            written = a_config("not yet")

            assert not at.account.reconsider()
            assert await at.account.token() is access
            assert at.account.config == a_config()

    async def test_a_change_during_a_refused_login_is_tried_right_after_it(self, autojump_clock):
        """The one under way ends by its old password, and the next one follows at once."""
        written = a_config("wrong")
        async with running(a_config("wrong"), reload=lambda: written) as at:
            with pytest.raises(AuthError):
                await at.account.token()
            await trio.sleep(6.0)
            at.cloud.login_takes_s = 2.0
            async with trio.open_nursery() as nursery:
                nursery.start_soon(at.account.token)
                await trio.sleep(1.0)
                written = a_config("hunter2")
                assert at.account.reconsider()

            assert trio.current_time() == pytest.approx(10.0)

    async def test_a_failing_renewal_is_tried_at_once_with_the_new_one(self, autojump_clock):
        """The token in hand is used meanwhile."""
        written = a_config()
        async with running(reload=lambda: written) as at:
            first = await at.account.token()
            at.cloud.password = "rotated"
            await trio.sleep(3590.0)
            assert await at.account.token() is first
            written = a_config("rotated")

            at.account.reconsider()
            await trio.sleep(0.1)

            assert (await at.account.token()).generation > first.generation
            assert at.account.state.reason == ""
