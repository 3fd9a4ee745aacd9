"""Credentials in clouds.yaml: what cannot log in is refused at once, with what to write."""

import socket
from importlib.metadata import Distribution, EntryPoint

import pytest
import structlog.testing
import yaml

from trellis.errors import ConfigError
from trellis.openstack import loaders
from trellis.openstack.clouds import CloudConfig, read_clouds

V2 = "https://identity.example/v2.0/"
KEY = "0123456789abcdef0123456789abcdef"


def read(tmp_path, entry, *, profiles=None, region=None, profile=None) -> CloudConfig:
    """Read one entry, of this mapping or text."""
    text = entry if isinstance(entry, str) else yaml.safe_dump(entry)
    file = tmp_path / "clouds.yaml"
    indented = "".join(f"    {line}\n" for line in text.splitlines())
    file.write_text(f"clouds:\n  mine:\n{indented}")
    clouds = read_clouds({"OS_CLIENT_CONFIG_FILE": str(file)}, profiles=profiles)
    return clouds.get("mine", region, profile=profile)


def faults(tmp_path, entry, **options) -> str:
    """What is wrong with an entry, in one text."""
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, entry, **options)
    return str(caught.value)


class TestKeys:
    def test_a_login_by_key_takes_tenants_as_v2_does(self, tmp_path):
        """project_id, its old name, and its place beside auth all mean the tenant."""
        auth = {"auth_url": V2, "username": "ci", "api_key": KEY}
        for given in (
            {"auth": {**auth, "project_id": "0700001"}},
            {"auth": {**auth, "tenant_id": "0700001"}},
            {"auth": auth, "tenant_id": "0700001"},
        ):
            config = read(tmp_path, {"auth_type": "rackspace_apikey", **given})

            assert config.auth == {**auth, "tenant_id": "0700001"}

    def test_a_key_where_a_password_is_wanted_is_told_what_takes_it(self, tmp_path):
        """As a whole entry would have it."""
        entry = {"auth_type": "v2password", "auth": {
            "auth_url": V2, "username": "ci", "api_key": KEY}}  # fmt: skip

        said = faults(tmp_path, entry)

        assert (
            "With api_key, write auth_type: rackspace_apikey, and auth: {username: …, api_key: …}"
        ) in said
        assert "clouds.yaml:" in said
        assert KEY not in said

    def test_a_password_where_a_key_is_wanted_is_told_what_takes_it(self, tmp_path):
        """That of Keystone v2.0, as the key is."""
        entry = {"auth_type": "rackspace_apikey", "auth": {
            "auth_url": V2, "username": "ci", "password": "hunter2"}}  # fmt: skip

        said = faults(tmp_path, entry)

        assert "With password, write auth_type: v2password" in said
        assert "api_key is missing, which auth_type rackspace_apikey needs" in said
        assert "hunter2" not in said

    def test_what_nothing_takes_is_only_refused(self, tmp_path):
        """With what there is."""
        entry = {"auth_type": "v2password", "auth": {
            "auth_url": V2, "username": "ci", "password": "x", "pass": "x"}}  # fmt: skip

        said = faults(tmp_path, entry)

        assert "auth.pass: auth_type v2password has no such option; it has: auth_url" in said
        assert "With pass" not in said


class TestNumbers:
    @pytest.mark.parametrize(
        ("key", "line"),
        [
            ("auth.tenant_id", "tenant_id: 700001"),
            ("auth.project_id", "project_id: 0700001"),
            ("auth.api_key", "api_key: 1234567890"),
        ],
    )
    def test_one_in_auth_is_refused(self, key, line, tmp_path):
        """YAML may have changed it already."""
        given = [f"auth_url: {V2}", "username: ci", f"api_key: {KEY}"]
        given = [one for one in given if not one.startswith(line.split(":")[0])] + [line]
        entry = "auth_type: rackspace_apikey\nauth:\n" + "".join(f"  {one}\n" for one in given)

        said = faults(tmp_path, entry)

        assert f"clouds.mine.{key}: it is a int and must be a text: write the value in" in said

    @pytest.mark.parametrize("key", ["tenant_id", "tenant_name", "username", "password"])
    def test_one_beside_auth_is_refused_as_well(self, key, tmp_path):
        """It would lose its leading zero: 0123 is 83."""
        rest = {"auth_type": "v2password", "username": "ci", "password": "x", "tenant_id": "1"}
        lines = [f'{name}: "{value}"' for name, value in rest.items() if name != key]
        entry = "\n".join([*lines, f"{key}: 0123", f"auth: {{auth_url: {V2}}}"])

        said = faults(tmp_path, entry)

        assert f"clouds.mine.{key}: it must be a text: write the value in quotes" in said


PROFILE = {
    "regions": ["DFW", "ORD"],
    "auth": {"auth_url": "https://keystone.{region_name:lower}.example/v3"},
    "needed": {"profile": "acme", "keys": ["auth.username", "auth.project_name"]},
    "image_endpoint_override": "https://{region_name:lower}.images.example/{region_name}",
}
AUTH = {"username": "ci", "password": "x"}


class TestProfiles:
    def read(self, tmp_path, region="DFW", **auth) -> CloudConfig:
        entry = {"profile": "acme", "auth": auth}
        return read(tmp_path, entry, profiles={"acme": PROFILE}, region=region)

    def test_a_region_may_stand_in_small_letters_in_a_host(self, tmp_path):
        """And as it is elsewhere in the same URL."""
        config = self.read(tmp_path, **AUTH, project_name="ci")

        assert config.auth["auth_url"] == "https://keystone.dfw.example/v3"
        assert config.overrides["image_endpoint_override"] == "https://dfw.images.example/DFW"
        assert "needed" not in config.settings

    def test_what_the_profile_leaves_to_the_customer_is_asked_for(self, tmp_path):
        """All of it at once, with the profile's name."""
        with pytest.raises(ConfigError) as caught:
            self.read(tmp_path, password="x")

        said = str(caught.value)
        assert "username is missing, which is another for each customer of acme" in said
        assert "project_name or project_id is missing" in said

    @pytest.mark.parametrize("written", [5, ["x"], {}, {"keys": []}])
    def test_an_entry_cannot_say_what_its_profile_needs(self, written, tmp_path):
        """Whatever it has under that key is no word about it, and no crash."""
        entry = {"profile": "acme", "auth": {"password": "x"}, "needed": written}

        said = faults(tmp_path, entry, profiles={"acme": PROFILE}, region="DFW")

        assert "username is missing, which is another for each customer of acme" in said

    @pytest.mark.parametrize("key", ["project_name", "project_id", "tenant_name", "tenant_id"])
    def test_a_name_or_an_id_is_enough(self, key, tmp_path):
        """By either name."""
        assert self.read(tmp_path, **AUTH, **{key: "ci"}).auth["username"] == "ci"

    def test_it_may_stand_beside_auth(self, tmp_path):
        """As all credentials may."""
        entry = {"profile": "acme", "auth": {}, **AUTH, "project_id": "1"}

        config = read(tmp_path, entry, profiles={"acme": PROFILE})

        assert (config.auth["username"], config.auth["project_id"]) == ("ci", "1")

    def test_an_application_credential_needs_no_user(self, tmp_path):
        """It carries user and project."""
        entry = {
            "profile": "acme",
            "auth_type": "v3applicationcredential",
            "auth": {"application_credential_id": "1", "application_credential_secret": "x"},
        }

        config = read(tmp_path, entry, profiles={"acme": PROFILE})

        assert config.auth["application_credential_id"] == "1"

    @pytest.mark.parametrize(("region", "hint"), [("dfw", " (is DFW meant?)"), ("IAD", "")])
    def test_a_region_that_is_not_there_is_refused_with_those_that_are(
        self, region, hint, tmp_path
    ):
        """A profile may be older than a region: it says how to have it all the same."""
        with pytest.raises(ConfigError) as caught:
            self.read(tmp_path, region, **AUTH, project_name="ci")

        assert (
            f"there is no region {region}; there is: DFW, ORD. Capital letters matter{hint}. If "
            f"the cloud has it all the same, write it into the entry, as regions: [{region}]"
        ) in str(caught.value)

    def test_a_region_that_only_the_entry_knows_is_taken(self, tmp_path):
        """As the message before says."""
        entry = {"profile": "acme", "regions": ["IAD"], "auth": {**AUTH, "project_id": "1"}}

        config = read(tmp_path, entry, profiles={"acme": PROFILE}, region="IAD")

        assert config.auth["auth_url"] == "https://keystone.iad.example/v3"

    @pytest.mark.parametrize("profile", ["https://cloud.example", "http://cloud.example/a.yaml"])
    def test_a_profile_that_is_online_only_is_not_fetched(self, profile, tmp_path, monkeypatch):
        """Nothing is looked up or connected to while the file is read."""

        def connected(*args, **kwargs):
            raise AssertionError("the network was used")

        monkeypatch.setattr(socket, "getaddrinfo", connected)
        monkeypatch.setattr(socket.socket, "connect", connected)

        said = faults(tmp_path, {"profile": profile, "auth": AUTH})

        assert f"there is no profile {profile}" in said
        assert "Profiles are not fetched: write it into a clouds-public.yaml" in said


class Installed(Distribution):
    """A distribution by its name."""

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def metadata(self):
        return {"Name": self._name}

    def read_text(self, filename):
        return None

    def locate_file(self, path):
        return path


def brought_by(name: str) -> EntryPoint:
    """The plugin of one name, as a distribution brings it."""
    point = EntryPoint("rackspace_apikey", "somewhere:Loader", loaders.GROUP)
    return point._for(Installed(name))


class TestPlugins:
    @pytest.mark.parametrize("others", [["rackspaceauth"], ["aaa", "keystoneauth1"]])
    def test_of_several_of_one_name_ours_is_used_and_it_is_said(self, others):
        """keystoneauth1 by itself would find none."""
        points = [brought_by(name) for name in (*others, "trellis-rackspace")]

        with structlog.testing.capture_logs() as events:
            chosen = loaders.preferred(points)

        assert chosen.dist.name == "trellis-rackspace"
        (event,) = events
        assert event["used"] == "trellis-rackspace"
        assert set(event["instead_of"].split(", ")) == set(others)

    def test_without_ours_another_one_is_used(self):
        """And nothing need be said."""
        with structlog.testing.capture_logs() as events:
            assert loaders.preferred([brought_by("rackspaceauth")]).dist.name == "rackspaceauth"

        assert events == []

    def test_one_that_is_not_there_is_refused_with_those_that_are(self, tmp_path):
        """At its place in the file."""
        said = faults(tmp_path, {"auth_type": "v2token2", "auth": {"auth_url": V2}})

        assert "clouds.mine.auth_type: there is no plugin v2token2; installed are: " in said
        assert "rackspace_apikey" in said

    @pytest.mark.parametrize(
        ("value", "why"),
        [
            ("trellis.no_such_module:Loader", "ModuleNotFoundError: No module named"),
            ("trellis.openstack.loaders:Loader", "AttributeError: "),
        ],
    )
    def test_one_that_cannot_be_imported_is_refused_with_why(self, value, why, monkeypatch):
        """And with the distribution that brings it."""
        point = EntryPoint("broken", value, loaders.GROUP)._for(Installed("rackspaceauth"))
        monkeypatch.setattr(loaders, "_points", lambda: (point,))

        with pytest.raises(ConfigError) as caught:
            loaders.find_loader.__wrapped__("broken")

        assert f"the plugin broken of rackspaceauth cannot be used: {why}" in str(caught.value)
