"""What Rackspace's twins do as the survey of clouds says: each behaviour, call by call."""

import json
from typing import Any

import attrs
import pytest

from trellis.sim.cloud import Request, Response, SimCloud
from trellis.sim.cloud.aftercare import MANAGED, RACKCONNECT
from trellis.sim.cloud.spec import CloudSpec, fixed
from trellis.sim.clouds import TWINS
from trellis.sim.clouds.rackspace import rackspace
from trellis.sim.clouds.rackspaceflex import rackspaceflex

PUBLIC, SERVICE = "00000000-0000-0000-0000-000000000000", "11111111-1111-1111-1111-111111111111"
API_KEY = "RAX-KSKEY:apiKeyCredentials"


class Customer:
    """Somebody with an account at a cloud whose clock he moves."""

    def __init__(self, spec: CloudSpec, **ways: Any) -> None:
        behaviour = attrs.evolve(spec.behaviour, **ways)
        spec = attrs.evolve(spec, boot=fixed(10.0), guest=fixed(3.0), delete=fixed(2.0))
        self.at = 0.0
        self.cloud = SimCloud(attrs.evolve(spec, behaviour=behaviour), clock=lambda: self.at)
        self.token = ""
        self.region = spec.regions[0]

    def ask(self, method: str, path: str, body: Any = None) -> Response:
        """One call."""
        raw = b"" if body is None else json.dumps(body).encode()
        path, _, query = path.partition("?")
        request = Request(method, path, query, {"x-auth-token": self.token}, raw)
        return self.cloud.handle(request)

    def nova(self, method: str, path: str, body: Any = None) -> Response:
        """One call to the compute service of his region."""
        return self.ask(method, f"/{self.region}/compute/v2.1{path}", body)

    def log_in_v2(self, **auth: Any) -> Response:
        """A login at Keystone v2.0, by his API key unless it is said otherwise."""
        mine = self.cloud.spec.credentials
        by_key = {API_KEY: {"username": mine.username, "apiKey": mine.api_key}}
        answer = self.ask("POST", "/identity/v2.0/tokens", {"auth": auth or by_key})
        if answer.status == 200:
            self.token = of(answer)["access"]["token"]["id"]
        return answer

    def create(self, flavor: str = "8 GB Performance", **fields: Any) -> Response:
        """Ask for a server."""
        flavors = {row["name"]: row["id"] for row in of(self.nova("GET", "/flavors"))["flavors"]}
        images = of(self.ask("GET", f"/{self.region}/image/v2/images"))["images"]
        server = {"name": "n", "flavorRef": flavors[flavor], "imageRef": images[0]["id"]}
        server = {**server, "config_drive": True, **fields}
        return self.nova("POST", "/servers", {"server": server})

    def server(self) -> dict[str, Any]:
        """The only server there is."""
        (row,) = of(self.nova("GET", "/servers/detail"))["servers"]
        return dict(row)


def of(answer: Response) -> Any:
    """The body."""
    return json.loads(answer.body)


def customer(**ways: Any) -> Customer:
    """One of classic Rackspace, logged in."""
    found = Customer(rackspace(), **ways)
    assert found.log_in_v2().status == 200
    return found


def test_both_are_among_the_twins():
    """By the names of their provider types."""
    assert TWINS["rackspace"]() == rackspace()
    assert TWINS["rackspaceflex"]() == rackspaceflex()


class TestIdentity:
    def test_a_login_without_tenant_leads_to_the_tenant_that_is_a_number(self):
        """Whether by key or by password."""
        mine = Customer(rackspace())
        secret = mine.cloud.spec.credentials
        password = {"username": secret.username, "password": secret.password}

        for auth in ({}, {"passwordCredentials": password}):
            token = of(mine.log_in_v2(**auth))["access"]["token"]
            assert token["tenant"]["id"] == "700001"
            assert "issued_at" not in token

    def test_three_services_are_of_type_compute(self):
        """First the first generation, which has no region; the one that is meant comes last."""
        mine = Customer(rackspace())
        catalog = of(mine.log_in_v2())["access"]["serviceCatalog"]
        servers = [service for service in catalog if service["type"] == "compute"]

        assert [service["name"] for service in servers] == [
            "cloudServers",
            "cloudServersPreprod",
            "cloudServersOpenStack",
        ]
        assert "region" not in servers[0]["endpoints"][0]
        for service, status in zip(servers, (404, 404, 200), strict=True):
            path = service["endpoints"][0]["publicURL"].removeprefix(mine.cloud.root)
            assert mine.ask("GET", f"{path}/servers/detail").status == status

    def test_block_storage_is_shown_by_version_1_and_answers_by_version_2(self):
        """At the same host."""
        mine = Customer(rackspace())
        catalog = of(mine.log_in_v2())["access"]["serviceCatalog"]
        (volume,) = [service for service in catalog if service["type"] == "volume"]
        path = volume["endpoints"][0]["publicURL"].removeprefix(mine.cloud.root)

        assert mine.ask("GET", f"{path}/limits").status == 404
        assert mine.ask("GET", f"{path.replace('/v1/', '/v2/')}/limits").status == 200

    def test_keystone_v3_is_not_there(self):
        """Its path is unknown."""
        assert Customer(rackspace()).ask("POST", "/identity/v3/auth/tokens", {}).status == 404

    def test_a_second_factor_is_asked_for_with_a_right_password_only(self):
        """A wrong one is just refused; the key needs none."""
        mine = Customer(rackspace(), asks_second_factor=True)
        name, password = "trellis-ci", mine.cloud.spec.credentials.password
        right = mine.log_in_v2(passwordCredentials={"username": name, "password": password})
        wrong = mine.log_in_v2(passwordCredentials={"username": name, "password": "wrong"})

        assert (right.status, wrong.status) == (401, 401)
        assert right.headers["WWW-Authenticate"].startswith("OS-MF sessionId=")
        assert "WWW-Authenticate" not in wrong.headers
        assert mine.log_in_v2().status == 200

    def test_a_disabled_account_is_told_so(self):
        """Whatever it brings."""
        answer = Customer(rackspace(), is_disabled=True).log_in_v2()

        assert (answer.status, next(iter(of(answer)))) == (403, "userDisabled")


class TestServers:
    def test_one_is_on_both_networks_unless_it_is_said_otherwise(self):
        """By their ids; the public address is the one to use."""
        mine = customer()
        assert mine.create().status == 202
        mine.at += 20.0
        row = mine.server()

        assert sorted(row["addresses"]) == ["private", "public"]
        assert row["accessIPv4"] == row["addresses"]["public"][0]["addr"]
        assert {net["version"] for net in row["addresses"]["public"]} == {4, 6}

    @pytest.mark.parametrize(("network", "label"), [(PUBLIC, "public"), (SERVICE, "private")])
    def test_a_network_has_one_id_in_every_region(self, network, label):
        """Labels are public and private."""
        for region in rackspace().regions:
            mine = customer()
            mine.region = region
            assert mine.create(networks=[{"uuid": network}]).status == 202
            mine.at += 20.0

            assert list(mine.server()["addresses"]) == [label]

    @pytest.mark.parametrize(
        "fields",
        [
            {"security_groups": [{"name": "default"}]},
            {"availability_zone": "nova"},
            {"networks": [{"uuid": "22222222-2222-2222-2222-222222222222"}]},
            {"flavor": "7.5 GB Compute v1"},
        ],
        ids=["security groups", "zone", "unknown network", "flavor without a disk"],
    )
    def test_what_it_does_not_know_it_refuses(self, fields):
        """A stock client sends some of that."""
        answer = customer().create(**fields)

        assert answer.status == 400

    def test_some_flavors_do_not_boot_from_volumes(self):
        """Those of the standard family."""
        mine = customer()
        images = of(mine.ask("GET", "/DFW/image/v2/images"))["images"]
        device = {
            "boot_index": 0, "source_type": "image", "uuid": images[0]["id"],
            "destination_type": "volume", "volume_size": 50, "delete_on_termination": True,
        }  # fmt: skip
        volume = {"imageRef": "", "block_device_mapping_v2": [device]}

        assert mine.create("8GB Standard Instance", **volume).status == 400
        assert mine.create("7.5 GB Compute v1", **volume).status == 202

    def test_neither_zones_nor_neutron_are_there(self):
        """The catalog lists the latter."""
        mine = customer()

        assert mine.nova("GET", "/os-availability-zone").status == 404
        assert mine.ask("GET", "/DFW/network/v2.0/networks").status == 404

    @pytest.mark.parametrize("drive", [True, False])
    def test_a_guest_without_config_drive_never_answers(self, drive):
        """Though its server is ACTIVE."""
        mine = customer()
        mine.create(config_drive=drive)
        mine.at += 600.0

        assert mine.server()["status"] == "ACTIVE"
        assert mine.cloud.servers()[0].reachable is drive

    def test_forty_items_of_metadata_are_taken(self):
        """One more is refused as if it were for the rate, with nothing to wait for."""
        mine = customer()
        fits, too_much = ({f"key-{n}": "v" for n in range(count)} for count in (40, 41))
        refused = mine.create(metadata=too_much)

        assert mine.create(metadata=fits).status == 202
        assert (refused.status, refused.headers["Retry-After"]) == (413, "0")
        assert of(mine.nova("GET", "/limits"))["limits"]["absolute"]["maxServerMeta"] == 40

    def test_deleted_ones_are_listed_for_some_time(self):
        """With status DELETED; and a GET does not find them."""
        mine = customer()
        mine.create()
        mine.at += 20.0
        id = mine.server()["id"]
        mine.nova("DELETE", f"/servers/{id}")
        mine.at += 10.0

        assert mine.server()["status"] == "DELETED"
        assert mine.nova("GET", f"/servers/{id}").status == 404
        mine.at += mine.cloud.spec.keep_deleted_s
        assert of(mine.nova("GET", "/servers/detail"))["servers"] == []

    @pytest.mark.parametrize(("in_gib", "used"), [(False, 8192), (True, 8)])
    def test_the_memory_used_may_be_told_in_another_unit(self, in_gib, used):
        """Its limit is in MiB; cores are unlimited."""
        mine = customer(tells_ram_in_gib=in_gib)
        mine.create()
        absolute = of(mine.nova("GET", "/limits"))["limits"]["absolute"]

        assert (absolute["totalRAMUsed"], absolute["maxTotalRAMSize"]) == (used, 131_072)
        assert absolute["maxTotalCores"] == -1


class TestAutomation:
    def told(self, mine: Customer) -> tuple[str | None, str | None]:
        """What the two of them say of the only server."""
        metadata = mine.server()["metadata"]
        return metadata.get(RACKCONNECT), metadata.get(MANAGED)

    def test_rackconnect_goes_first_and_gives_another_address(self):
        """Nobody is at the old one any more; the name of the node stays."""
        mine = customer(
            rackconnect="DEPLOYED", rackconnect_s=30.0, managed="Complete", managed_s=20.0
        )
        mine.create(metadata={"trellis_node_id": "1"})
        seen = []
        mine.at = 10.5
        before = mine.server()["accessIPv4"]
        for moment in (10.5, 39.0, 41.0, 46.0, 70.0):
            mine.at = moment
            seen.append(self.told(mine))
        after = mine.server()["accessIPv4"]

        assert seen == [
            ("DEPLOYING", None),
            ("DEPLOYING", None),
            ("DEPLOYED", None),
            ("DEPLOYED", "In Progress"),
            ("DEPLOYED", "Complete"),
        ]
        assert before != after
        assert not mine.cloud.has_address(before)
        assert mine.cloud.has_address(after)
        assert mine.server()["metadata"]["trellis_node_id"] == "1"

    @pytest.mark.parametrize("outcome", ["UNPROCESSABLE", "FAILED"])
    def test_where_it_does_nothing_the_address_stays(self, outcome):
        """Where it fails, the second does not begin."""
        mine = customer(rackconnect=outcome, managed="Complete")
        mine.create()
        mine.at = 20.0
        before = mine.server()["accessIPv4"]
        mine.at = 600.0

        assert mine.server()["accessIPv4"] == before
        assert self.told(mine) == (outcome, "Complete" if outcome == "UNPROCESSABLE" else None)

    def test_a_server_deleted_meanwhile_is_let_go(self):
        """Its address is free again."""
        mine = customer(rackconnect="DEPLOYED")
        mine.create()
        mine.at = 20.0
        address = mine.server()["accessIPv4"]
        mine.nova("DELETE", f"/servers/{mine.server()['id']}")
        mine.at = 600.0

        assert mine.server()["metadata"][RACKCONNECT] == "DEPLOYING"
        assert not mine.cloud.has_address(address)


class TestLimits:
    def test_the_time_to_come_again_is_in_the_body(self):
        """No header says it; a POST too many has the other spelling."""
        mine = customer()
        read = [mine.nova("GET", "/limits") for _ in range(1001)][-1]
        made = [mine.nova("POST", "/os-keypairs", {}) for _ in range(101)][-1]

        assert (read.status, made.status) == (413, 413)
        assert "Retry-After" not in {**read.headers, **made.headers}
        assert of(read)["overLimit"]["retryAt"] == "2026-01-01T00:00:01Z"
        assert of(made)["overLimit"]["retryAfter"] == "2026-01-01T00:00:01 UTC"

    def test_a_thousand_servers_a_day(self):
        """However slowly they are asked for."""
        mine = customer()
        statuses = []
        for _ in range(1015):
            mine.at += 0.7
            statuses.append(mine.nova("POST", "/servers", {}).status)

        assert statuses.count(413) == 1015 - 1000 - int(1015 * 0.7 * 1000 / 86400)


class TestFlex:
    def log_in(self, mine: Customer, project: str | None = None, domain: str = "") -> Response:
        """A login at Keystone v3."""
        secret, named = mine.cloud.spec.credentials, {"name": domain or "rackspace_cloud_domain"}
        user = {"name": secret.username, "password": secret.password, "domain": named}
        auth: dict[str, Any] = {"identity": {"methods": ["password"], "password": {"user": user}}}
        if project is not None:
            auth["scope"] = {"project": {"name": project, "domain": named}}
        return mine.ask("POST", "/identity/v3/auth/tokens", {"auth": auth})

    def test_the_user_has_two_projects(self):
        """Of which one says that it is of Flex; without one the token has no catalog."""
        mine = Customer(rackspaceflex())
        unscoped = self.log_in(mine)
        mine.token = unscoped.headers["X-Subject-Token"]
        listed = of(mine.ask("GET", "/identity/v3/auth/projects"))["projects"]

        assert "catalog" not in of(unscoped)["token"]
        assert [project["name"] for project in listed] == ["0a0b0c0d", "700001_Flex"]
        assert self.log_in(mine, "700001_Flex").status == 201
        assert self.log_in(mine, "0a0b0c0d").status == 401

    def test_the_domain_is_looked_at(self):
        """Of the user, and that one is named at all."""
        mine = Customer(rackspaceflex())
        user = {"name": "trellis-ci", "password": "fake-api-key"}
        identity = {"methods": ["password"], "password": {"user": user}}

        assert self.log_in(mine, domain="Default").status == 401
        path = "/identity/v3/auth/tokens"
        assert mine.ask("POST", path, {"auth": {"identity": identity}}).status == 400

    @pytest.mark.parametrize(("region", "flavor"), [("SJC3", "gp.0.4.8"), ("DFW3", "gp.5.4.8")])
    def test_the_same_size_has_another_name_in_each_region(self, region, flavor):
        """And only that."""
        mine = Customer(rackspaceflex())
        mine.token = self.log_in(mine, "700001_Flex").headers["X-Subject-Token"]
        mine.region = region

        assert [row["name"] for row in of(mine.nova("GET", "/flavors"))["flavors"]] == [flavor]
