"""clouds.yaml and its companions; compared with openstacksdk where the two should agree."""

import json
import os
import textwrap
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml

from trellis.errors import ConfigError
from trellis.openstack.cloudfiles import search_path
from trellis.openstack.clouds import Clouds, read_clouds

ACME = """
clouds:
  acme:
    region_name: R1
    auth:
      auth_url: https://identity.acme.test/v3
      username: ci
      password: hunter2
      project_name: ci
      user_domain_name: Default
      project_domain_name: Default
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "here").mkdir()
    (tmp_path / "home").mkdir()
    return tmp_path / "here"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return path


def read(folder: Path, **environ: str) -> Clouds:
    return read_clouds(
        {"XDG_CONFIG_DIRS": str(folder.parent / "xdg"), **environ},
        cwd=folder,
        home=folder.parent / "home",
    )


def read_by_sdk(folder: Path, name: str | None, region: str | None, monkeypatch, **environ: str):
    """The same entry as openstacksdk reads it, with the plugin's options."""
    for key, value in environ.items():
        monkeypatch.setenv(key, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        openstack_config = pytest.importorskip(
            "openstack.config", reason="openstacksdk is not installed: nothing to compare with"
        )
        config = openstack_config.OpenStackConfig(
            config_files=[str(folder / "clouds.yaml")],
            secure_files=[str(folder / "secure.yaml")],
            vendor_files=[str(folder / "clouds-public.yaml")],
            load_envvars=bool(environ),
        )
        return config.get_one(name, **({"region_name": region} if region else {}))


def auth(**keys: Any) -> dict[str, Any]:
    return {"auth_url": "https://k.test/v3", "username": "u", "password": "p", **keys}


PROJECT = {"project_name": "p", "user_domain_name": "D", "project_domain_name": "D"}
CASES: dict[str, dict[str, Any]] = {
    "plain": {"region_name": "R1", "auth": auth(**PROJECT)},
    "application credential": {
        "auth_type": "v3applicationcredential",
        "region_name": "R1",
        "auth": {
            "auth_url": "https://k.test/v3",
            "application_credential_id": "abc",
            "application_credential_secret": "s",
        },
    },
    "token": {"auth_type": "v3token", "auth": {"auth_url": "https://k.test", "token": "t"}},
    "tenant is project": {"auth": auth(tenant_name="p", user_domain_id="d")},
    "hyphens": {"region-name": "R1", "auth": {"auth-url": "https://k.test/v3", **auth(**PROJECT)}},
    "one domain for both": {"auth": auth(project_name="p", domain_name="D")},
    "domain scope": {"auth": auth(domain_id="d", user_domain_id="d")},
    "loose credentials win": {"project_name": "above", "auth": auth(**PROJECT)},
    "loose password fills": {
        "password": "above",
        "auth": {"auth_url": "https://k.test/v3", "username": "u", **PROJECT},
    },
    "region in auth_url": {
        "regions": ["Buf1", "Fra1"],
        "auth": auth(**PROJECT) | {"auth_url": "https://{region_name}.k.test:5000/v3"},
    },
    "region in other texts": {
        "region_name": "R1",
        "image_endpoint_override": "https://{region_name}.i.test/v2",
        "auth": auth(**PROJECT),
    },
    "regions with values": {
        "regions": [
            {"name": "R1", "values": {"interface": "internal", "image_format": "raw"}},
            "R2",
        ],
        "auth": auth(**PROJECT),
    },
    "regions with auth": {
        "regions": [{"name": "R1", "values": {"auth": {"project_name": "other"}}}],
        "auth": auth(**PROJECT),
    },
    "insecure": {"insecure": True, "cacert": "/etc/ca.pem", "auth": auth(**PROJECT)},
    "not verified": {"verify": False, "auth": auth(**PROJECT)},
    "own authority": {"cacert": "~/ca.pem", "auth": auth(**PROJECT)},
    "client certificate": {"cert": "~/c.pem", "key": "~/k.pem", "auth": auth(**PROJECT)},
    "old name of interface": {
        "endpoint_type": "internal",
        "compute_endpoint_type": "admin",
        "auth": auth(**PROJECT),
    },
    "versions as numbers": {"identity_api_version": 3, "auth": auth(**PROJECT)},
    "v2": {"auth_type": "v2password", "auth": auth(project_id="12", project_name="p")},
    "service names": {
        "compute_service_name": "cloudServersOpenStack",
        "network_endpoint_override": "https://n.test",
        "auth": auth(**PROJECT),
    },
}


@pytest.mark.parametrize("case", CASES)
def test_reads_an_entry_as_openstacksdk_does(case, folder, monkeypatch):
    """Options of the plugin, region, interface, TLS and single keys are the same."""
    write(folder / "clouds.yaml", yaml.safe_dump({"clouds": {"x": CASES[case]}}))

    ours = read(folder).get("x")
    theirs = read_by_sdk(folder, "x", None, monkeypatch)

    assert_alike(ours, theirs)


def assert_alike(ours, theirs) -> None:
    config = dict(theirs.config)
    assert dict(ours.auth) == {key: value for key, value in config.pop("auth").items() if value}
    assert ours.auth_type == config.pop("auth_type")
    assert ours.region_name == config.pop("region_name")
    assert ours.interface == config.pop("interface")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        verify, cert = theirs.get_requests_verify_args()
    assert ours.verify is bool(verify)
    if isinstance(verify, str):
        assert ours.cacert == verify
    if cert:
        assert (ours.cert, ours.key) == cert
    # Names of single services and what is left are the same texts.
    for key, value in {**ours.overrides, **ours.settings}.items():
        assert config[key] == value


@pytest.mark.parametrize("region", ["R1", "R2"])
def test_region_values_hold_for_their_region_only(region, folder, monkeypatch):
    write(folder / "clouds.yaml", yaml.safe_dump({"clouds": {"x": CASES["regions with values"]}}))

    ours = read(folder).get("x", region)

    assert_alike(ours, read_by_sdk(folder, "x", region, monkeypatch))
    assert ours.regions == ("R1", "R2")


def test_secure_file_lies_over_the_clouds_file(folder, monkeypatch):
    """Secrets stand in a file of their own."""
    write(folder / "clouds.yaml", ACME.replace("      password: hunter2\n", ""))
    write(folder / "secure.yaml", "clouds: {acme: {auth: {password: s3}}}")

    ours = read(folder).get("acme")

    assert ours.auth["password"] == "s3"
    assert_alike(ours, read_by_sdk(folder, "acme", None, monkeypatch))


def test_environment_makes_a_cloud(folder, monkeypatch):
    """An openrc that was sourced is a cloud called envvars, and the default."""
    environ = {
        "OS_AUTH_URL": "https://k.test/v3",
        "OS_USERNAME": "u",
        "OS_PASSWORD": "p",
        "OS_PROJECT_NAME": "p",
        "OS_USER_DOMAIN_NAME": "D",
        "OS_PROJECT_DOMAIN_ID": "d",
        "OS_REGION_NAME": "R9",
        "OS_INTERFACE": "internal",
        "OS_CACERT": "/etc/ca.pem",
    }

    ours = read(folder, **environ).get()

    assert (ours.name, ours.region_name, ours.interface) == ("envvars", "R9", "internal")
    assert_alike(ours, read_by_sdk(folder, None, None, monkeypatch, **environ))


def test_selectors_alone_make_no_cloud(folder):
    write(folder / "clouds.yaml", ACME)

    clouds = read(folder, OS_CLOUD="acme", OS_REGION_NAME="R1", OS_TEST_TIMEOUT="5")

    assert clouds.names == ("acme",)


def test_os_cloud_is_the_default(folder):
    write(folder / "clouds.yaml", ACME + ACME.partition("clouds:\n")[2].replace("acme", "other"))

    assert read(folder, OS_CLOUD="other").get().name == "other"


def test_only_cloud_is_the_default(folder):
    write(folder / "clouds.yaml", ACME)

    assert read(folder).get().name == "acme"


@pytest.mark.parametrize(
    "place",
    [
        "here/clouds.yml",
        "here/clouds.json",
        "home/.config/openstack/clouds.yaml",
        "xdg/openstack/clouds.yaml",
    ],
)
def test_search_path(place, folder):
    """Each place is looked at, and each suffix."""
    text = json.dumps(yaml.safe_load(ACME)) if place.endswith("json") else ACME
    path = write(folder.parent / place, text)

    clouds = read(folder)

    assert clouds.files == (path,)
    assert clouds.get("acme").auth["username"] == "ci"


def test_nearer_file_wins(folder):
    """The current folder comes before the user's, the variable before both."""
    write(folder.parent / "home/.config/openstack/clouds.yaml", ACME.replace("R1", "far"))
    write(folder / "clouds.yaml", ACME.replace("R1", "near"))
    named = write(folder.parent / "named.yaml", ACME.replace("R1", "named"))

    assert read(folder).get("acme").region_name == "near"
    assert read(folder, OS_CLIENT_CONFIG_FILE=str(named)).get("acme").region_name == "named"


def test_search_path_is_openstacksdks():
    """The folders and their order, for this user on this machine."""
    loader = pytest.importorskip(
        "openstack.config.loader", reason="openstacksdk is not installed: nothing to compare with"
    )

    ours = search_path(os.environ, cwd=Path.cwd(), home=Path.home())

    assert [str(path) for path in ours] == list(dict.fromkeys(loader.CONFIG_SEARCH_PATH))


def test_sources_are_the_paths_that_decide(folder):
    """A secure.yaml that appears, or a nearer clouds.yaml, changes what is read."""
    path = write(folder / "clouds.yml", ACME)

    sources = read(folder).sources()

    assert path in sources
    assert folder / "clouds.yaml" in sources
    assert folder / "secure.yaml" in sources
    assert folder / "clouds.json" not in sources


def test_files_of_an_entry_are_named(folder):
    write(folder / "clouds.yaml", ACME + "    cacert: /etc/ca.pem\n")

    assert read(folder).get("acme").files == (Path("/etc/ca.pem"),)


def test_profile_is_laid_under_the_entry(folder):
    """A vendor's URL and regions come from the table in Trellis; nothing is fetched."""
    write(
        folder / "clouds.yaml",
        """
        clouds:
          mine:
            profile: ovh
            auth: {username: u, password: p, project_name: n}
        """,
    )

    config = read(folder).get("mine", "GRA7")

    assert config.auth["auth_url"] == "https://auth.cloud.ovh.net/"
    assert config.auth["user_domain_name"] == "Default"
    assert config.region_name == "GRA7"


@pytest.mark.parametrize("profile", ["citycloud", "rackspace", "elastx", "binero", "auro"])
def test_profiles_agree_with_openstacksdk(profile, folder, monkeypatch):
    """What both know is the same."""
    write(
        folder / "clouds.yaml",
        f"""
        clouds:
          mine:
            profile: {profile}
            auth: {{username: u, password: p, project_name: n}}
        """,
    )

    ours = read(folder).get("mine")
    theirs = read_by_sdk(folder, "mine", None, monkeypatch)

    assert ours.auth == {key: value for key, value in theirs.config["auth"].items() if value}
    assert ours.region_name == theirs.region_name


def test_pinned_profile_wins(folder, monkeypatch):
    """clouds-public.yaml is where an operator pins what a vendor says."""
    write(
        folder / "clouds-public.yaml",
        "public-clouds: {ovh: {auth: {auth_url: 'https://pinned.test'}, region_name: P1}}",
    )
    write(
        folder / "clouds.yaml",
        "clouds: {mine: {profile: ovh, auth: {username: u, password: p, project_name: n}}}",
    )

    ours = read(folder).get("mine")

    assert (ours.auth["auth_url"], ours.region_name) == ("https://pinned.test", "P1")
    assert_alike(ours, read_by_sdk(folder, "mine", None, monkeypatch))


FAULTS = {
    "no end of brackets": ("{" * 5000, "nested too deeply"),
    "tab": ("clouds:\n\tacme: 1\n", r"clouds\.yaml:2:1: this is no YAML"),
    "list": ("- a\n", "no mapping"),
    "empty": ("", "no mapping"),
    "entry is a text": ("clouds:\n  acme: yes please\n", r":2:3: clouds\.acme: it must be"),
    "number as id": (
        ACME.replace("project_name: ci", "project_id: 0123"),
        r"clouds\.yaml:9:7: clouds\.acme\.auth\.project_id: .*quotes",
    ),
    "number as password": (ACME.replace("hunter2", "123456"), r":8:7: .*password.*quotes"),
    "loose number": (ACME + "    project_id: 12\n", r"clouds\.acme\.project_id: .*quotes"),
    "no auth_url": (ACME.replace("auth_url: ", "auth_uri: "), r"no such option"),
    "no scheme": (ACME.replace("https://", ""), r":6:7: .*must begin with https"),
    "no password": (ACME.replace("      password: hunter2\n", ""), "password is missing"),
    "no plugin": (ACME + "    auth_type: v3pasword\n", r"no plugin v3pasword; .*v3password"),
    "no catalog": (ACME + "    auth_type: none\n", "no catalog"),
    "unknown option": (
        ACME.replace("username: ci", "username: ci\n      usrname: x"),
        r"auth\.usrname: auth_type password has no such option; it has: .*username",
    ),
    "profile by URL": (ACME + "    profile: https://x.test\n", "not fetched"),
    "unknown profile": (ACME + "    profile: elastxx\n", "did you mean elastx"),
    "verify is a path": (ACME + "    verify: /etc/ca.pem\n", "true or false; a file goes into"),
    "odd region": (ACME + "    regions: [{nme: R1}]\n", "name and values"),
    "regions as text": (ACME + "    regions: R1\n", "must be a list"),
    "odd values": (ACME + "    regions: [{name: R1, values: 5}]\n", "must be a mapping"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_name_file_line_path_and_remedy(fault, folder):
    """And never the value, which may be a secret."""
    text, said = FAULTS[fault]
    (folder / "clouds.yaml").write_text(text)

    with pytest.raises(ConfigError, match=said) as caught:
        read(folder).get("acme")

    assert str(folder / "clouds.yaml") in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "123456" not in str(caught.value)


def test_all_faults_of_an_entry_are_told_at_once(folder):
    write(
        folder / "clouds.yaml", ACME.replace("hunter2", "1").replace("username: ci", "username: 2")
    )

    with pytest.raises(ConfigError) as caught:
        read(folder).get("acme")

    assert len(caught.value.faults) == 2


def test_broken_secret_line_is_not_quoted(folder):
    """YAML's own message quotes the line."""
    (folder / "clouds.yaml").write_text('clouds: {acme: {auth: {password: "hunter2}}}\n')

    with pytest.raises(ConfigError) as caught:
        read(folder)

    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_fault_in_the_secure_file_is_placed_there(folder):
    write(folder / "clouds.yaml", ACME)
    write(folder / "secure.yaml", "clouds:\n  acme:\n    auth:\n      password: 123\n")

    with pytest.raises(ConfigError, match=r"secure\.yaml:4:7: clouds\.acme\.auth\.password"):
        read(folder).get("acme")


def test_unknown_cloud_names_near_ones(folder):
    write(folder / "clouds.yaml", ACME)

    with pytest.raises(ConfigError, match="no cloud Acme; did you mean acme"):
        read(folder).get("Acme")


def test_unknown_region_lists_those_there_are(folder):
    """Capital letters matter, as in openstacksdk."""
    write(folder / "clouds.yaml", ACME)

    with pytest.raises(ConfigError, match="no region r1; there is: R1"):
        read(folder).get("acme", "r1")


def test_no_file_at_all_tells_where_it_looked(folder):
    with pytest.raises(ConfigError, match=r"no clouds\.yaml was found \(looked for .*here/clouds"):
        read(folder).get("acme")


def test_named_file_that_is_missing_is_refused(folder):
    """openstacksdk would go on to the next place and use other credentials."""
    write(folder / "clouds.yaml", ACME)

    with pytest.raises(ConfigError, match="OS_CLIENT_CONFIG_FILE"):
        read(folder, OS_CLIENT_CONFIG_FILE=str(folder / "gone.yaml"))


def test_cloud_of_the_environment_may_not_hide_one_of_the_file(folder):
    write(folder / "clouds.yaml", ACME)

    with pytest.raises(ConfigError, match="OS_CLOUD_NAME"):
        read(folder, OS_CLOUD_NAME="acme", OS_PASSWORD="x")


def test_config_shows_no_secret(folder):
    """Neither the password nor what stands loose in the entry."""
    write(folder / "clouds.yaml", ACME + "    some_token: s3cr3t\n")
    config = read(folder).get("acme")

    assert "hunter2" not in repr(config)
    assert "s3cr3t" not in repr(config)


def test_same_files_give_equal_configs(folder):
    """So a reload knows whether something changed."""
    write(folder / "clouds.yaml", ACME)

    assert read(folder).get("acme") == read(folder).get("acme")
