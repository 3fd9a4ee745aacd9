"""Ways of HP's cloud that a simulated one can have, each by itself, and its twin."""

import json

import pytest
import trio
from cloud_session import cloud_of, password_login, session_of

from trellis.sim.cloud import Behaviour, IdentityVersions, NetworkSpec, Quota, Request, SimCloud
from trellis.sim.clouds import TWINS

ACCESS_KEY = {
    "apiAccessKeyCredentials": {"accessKey": "SIMACCESSKEY", "secretKey": "sim-secret-key"}
}
ROUTED = (NetworkSpec(name="inner"), NetworkSpec(name="Ext-Net", external=True, attachable=False))


def having(**behaviour):
    """A stock cloud but for this, with a network behind a router."""
    return cloud_of(networks=ROUTED, behaviour=Behaviour(**behaviour))


def tokens(sim, **auth):
    body = json.dumps({"auth": {**ACCESS_KEY, **auth}}).encode()
    answer = sim.handle(Request("POST", "/identity/v2.0/tokens", "", {}, body))
    assert answer.status == 200
    return json.loads(answer.body)["access"]


async def float_on(session, server_id, **more):
    """Give a server a floating IP; returns the answer."""
    (port,) = await listed(session, f"/ports?device_id={server_id}", "ports")
    wanted = {"floating_network_id": session.networks["Ext-Net"], "port_id": port["id"], **more}
    return await session.call("POST", "network", "/floatingips", json={"floatingip": wanted})


async def listed(session, path, key, service="network"):
    return (await session.call("GET", service, path)).json()[key]


class TestIdentity:
    def test_a_catalog_without_a_tenant_is_an_object(self):
        """And a list with one."""
        spec = cloud_of(
            identity=IdentityVersions.V2, behaviour=Behaviour(empty_catalog_is_object=True)
        ).spec
        sim = SimCloud(spec, clock=lambda: 0.0)

        assert tokens(sim)["serviceCatalog"] == {}
        assert isinstance(tokens(sim, tenantName="ci")["serviceCatalog"], list)

    @pytest.mark.parametrize(
        ("root", "image"),
        [
            (None, "http://hpcloud.sim:80/region-a.geo-1/image/v1.0"),
            ("https://hp.example", "https://hp.example:443/region-a.geo-1/image/v1.0"),
            ("http://127.0.0.1:8774", "http://127.0.0.1:8774/region-a.geo-1/image/v1.0"),
        ],
    )
    def test_its_catalog_is_as_hp_showed_it(self, root, image):
        """With a port and a version where they are in the way, and services in no region."""
        sim = SimCloud(TWINS["hpcloud"](), clock=lambda: 0.0, root=root)
        catalog = {row["type"]: row for row in tokens(sim, tenantName="ci")["serviceCatalog"]}

        assert catalog["image"]["endpoints"][0]["publicURL"] == image
        assert catalog["compute"]["name"] == "Compute"
        assert catalog["compute"]["endpoints"][0]["publicURL"].endswith(f"/v2/{sim.project_id}")
        assert {"publicURL2", "versionId"} <= set(catalog["network"]["endpoints"][0])
        assert "region" not in catalog["hpext:dns"]["endpoints"][0]


class TestImages:
    async def test_nova_shows_the_images_too(self, autojump_clock):
        """In a form of its own."""
        async with session_of(cloud_of()) as session:
            (listed_row,) = await listed(session, "/images/detail", "images", "compute")
            shown = await session.call("GET", "compute", f"/images/{listed_row['id']}")
            missing = await session.call("GET", "compute", "/images/none")

        assert (listed_row["name"], listed_row["status"]) == ("tiny", "ACTIVE")
        assert shown.json()["image"] == listed_row
        assert missing.status_code == 404

    def test_glance_v1_knows_no_version_2(self):
        """It answers with the versions that there are; nova shows the images, by pages."""
        images = TWINS["hpcloud"]().images
        behaviour = Behaviour(speaks_glance_v1=True, image_page=1)
        sim = SimCloud(cloud_of(images=images, behaviour=behaviour).spec, clock=lambda: 0.0)
        refused = ask(sim, "/image/v2/images")
        first = ask(sim, "/compute/v2.1/images/detail")
        (link,) = json.loads(first.body)["images_links"]
        second = ask(sim, "/compute/v2.1/images/detail", link["href"].partition("?")[2])

        assert refused.status == 300
        assert link["href"].startswith("http://")
        names = [json.loads(page.body)["images"][0]["name"] for page in (first, second)]
        assert names == [image.name for image in images]


def ask(sim, path, query=""):
    """A call with a token."""
    login = json.dumps(password_login(sim.spec)).encode()
    answer = sim.handle(Request("POST", "/identity/v3/auth/tokens", "", {}, login))
    token = {"x-auth-token": answer.headers["X-Subject-Token"]}
    return sim.handle(Request("GET", f"/RegionOne{path}", query, token))


class TestFloatingIps:
    async def test_nova_shows_it_late_and_unmarked(self, autojump_clock):
        """Under the private network's name; it works at once."""
        cloud = having(floating_shown_after_s=60.0, shows_plain_addresses=True)
        async with session_of(cloud) as session:
            server_id = await session.create_active()
            made = (await float_on(session, server_id)).json()["floatingip"]
            early = (await session.show(server_id))["addresses"]
            works = cloud.has_address(made["floating_ip_address"])
            await trio.sleep(61.0)
            late = (await session.show(server_id))["addresses"]

        assert works
        assert [list(row) for row in early["inner"]] == [["version", "addr"]]
        assert [row["addr"] for row in late["inner"]][1:] == [made["floating_ip_address"]]

    async def test_neutron_takes_no_description(self, autojump_clock):
        """It refuses one, shows none, and passes over a filter by one."""
        async with session_of(having(floating_ips_lack_descriptions=True)) as session:
            server_id = await session.create_active()
            refused = await float_on(session, server_id, description="ours")
            made = await float_on(session, server_id)
            rows = await listed(session, "/floatingips?description=another", "floatingips")

        assert refused.status_code == 400
        assert "Unrecognized attribute(s) 'description'" in refused.text
        assert [row["id"] for row in rows] == [made.json()["floatingip"]["id"]]
        assert "description" not in rows[0]

    async def test_neutron_tells_limits_only(self, autojump_clock):
        """What is used of them, it does not know how to say."""
        async with session_of(having(lacks_quota_details=True)) as session:
            path = f"/quotas/{session.cloud.project_id}"
            detailed = await session.call("GET", "network", f"{path}/details")
            limits = await listed(session, path, "quota")

        assert detailed.status_code == 404
        assert limits["port"] == 500


class TestServers:
    @pytest.mark.parametrize(("config_drive", "answers"), [(False, False), (True, True)])
    async def test_a_guest_without_a_config_drive_never_answers(
        self, config_drive, answers, autojump_clock
    ):
        """It is active all the same."""
        async with session_of(having(guests_need_config_drive=True)) as session:
            await session.create_active(config_drive=config_drive)
            await trio.sleep(600.0)
            (server,) = session.cloud.servers()

        assert server.reachable is answers

    async def test_a_network_carries_so_many_only(self, autojump_clock):
        """What is too much for it does not answer; what is less does."""
        async with session_of(having(network_carries=2)) as session:
            for name in ("a", "b", "c"):
                await session.create_active(name)
            await trio.sleep(60.0)

            assert [one.reachable for one in session.cloud.servers()] == [True, True, False]

    async def test_servers_without_a_zone_pile_up_in_one(self, autojump_clock):
        """Which is full some day, while the others are empty."""
        behaviour = Behaviour(unnamed_zone="az1", zone_capacity=1)
        cloud = cloud_of(zones=("az1", "az2"), behaviour=behaviour)
        async with session_of(cloud) as session:
            first, second = await session.create("a"), await session.create("b")
            named = await session.create("c", availability_zone="az2")
            await trio.sleep(20.0)
            rows = [await session.show(id) for id in (first, second, named)]

        assert [row["status"] for row in rows] == ["ACTIVE", "ERROR", "ACTIVE"]
        assert [row["OS-EXT-AZ:availability_zone"] for row in rows[::2]] == ["az1", "az2"]
        assert "No valid host" in rows[1]["fault"]["message"]

    async def test_a_want_of_quota_is_413(self, autojump_clock):
        """With nothing to wait for."""
        cloud = cloud_of(quota=Quota(instances=0), behaviour=Behaviour(quota_is_413=True))
        async with session_of(cloud) as session:
            refused = await session.call("POST", "compute", "/servers", json=session.body())

        assert (refused.status_code, refused.headers["retry-after"]) == (413, "0")
        assert "Quota exceeded for instances" in refused.json()["overLimit"]["message"]
