"""Any valid nodepool.yaml becomes a trellis.yaml that launches the same, or the report says not."""

from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.properties.nodepool_files import files
from trellis.config import parse
from trellis.nodepool import compare, convert, read_nodepool, read_secure, sites
from trellis.plugin_host import PluginHost, built_in_plugins

HOST = PluginHost(built_in_plugins())
MUST_BE_TOLD = {
    "dynamic-instance-properties", "image-name-format", "nodepool-id", "webapp",
    "clean-floating-ips", "port-cleanup-interval", "max-volumes", "max-volume-gb", "rate",
}  # fmt: skip
"""Keys without an equal, or with another meaning, wherever they stand."""


def converted(documents: list[dict[str, Any]], *, secured: bool = False) -> Any:
    """The site of the files, its conversion, and the configuration that comes of it.

    Args:
        secured: whether a secure file has variables of every image.
    """
    read = [
        read_nodepool(yaml.safe_dump(one, allow_unicode=True), {}, file=f"{i}.yaml")
        for i, one in enumerate(documents)
    ]
    built = [x["name"] for x in documents[-1]["diskimages"] if not x.get("abstract")]
    variables = {"KEY": "no real secret", "PIN": "12", "DIB_X": "more"}
    secure = {"diskimages": [{"name": name, "env-vars": variables} for name in built]}
    hidden = [read_secure(yaml.safe_dump(secure), {}, file="s.yaml")] if secured else []
    (site,) = sites(read, hidden)
    result = convert(site, demand=False)
    loaded = parse(
        result.text, HOST.providers, HOST.image_builders, file="trellis.yaml", folder=Path("/etc")
    )
    return site, result, loaded.configuration


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(files(), st.booleans())
def test_any_valid_file_loads_and_compares_equal_or_the_report_says_where_not(documents, secured):
    """No difference without a change that explains it."""
    site, result, configuration = converted(documents, secured=secured)

    differences = compare(site, configuration, result.changes, result.images)

    assert [str(one) for one in differences if not one.explained] == []


@settings(max_examples=75, deadline=None, suppress_health_check=list(HealthCheck))
@given(files())
def test_labels_stand_in_the_pools_they_stood_in(documents):
    """Read off the documents themselves, not by what the conversion reads them with."""
    _site, result, configuration = converted(documents)
    wanted = {
        (provider["name"], pool["name"], label["name"]): (
            result.images[label["diskimage"]] if "diskimage" in label else None,
            label.get("flavor-name"),
            label.get("userdata") or None,
        )
        for provider in documents[0]["providers"]
        if provider.get("driver", "openstack") == "openstack"
        for pool in provider.get("pools", ())
        for label in pool.get("labels", ())
    }

    found = {
        (provider.name, pool.name, label.name): (label.image, label.flavor_name, label.userdata)
        for provider in configuration.providers
        for pool in provider.pools
        for label in pool.labels
    }

    assert wanted == found


@settings(max_examples=75, deadline=None, suppress_health_check=list(HealthCheck))
@given(files())
def test_no_key_without_an_equal_is_dropped_silently(documents):
    """Each is in the report with its path, and in a comment of the result."""
    _site, result, _configuration = converted(documents)
    told = {(change.place.split(":")[0], change.path) for change in result.changes}
    comments = " ".join(
        line.strip().removeprefix("#")
        for line in result.text.splitlines()
        if line.strip().startswith("#")
    )

    for file, path, key in keys_of(documents[0], "0.yaml"):
        if key in MUST_BE_TOLD:
            assert (file, path) in told
            assert key in comments


def keys_of(document: dict[str, Any], file: str) -> Any:
    """The keys of what is converted, with their paths."""

    def walk(value: Any, path: tuple[Any, ...]) -> Any:
        if isinstance(value, dict):
            for key, inner in value.items():
                yield file, ".".join(map(str, (*path, key))), key
                if key not in ("instance-properties", "node-attributes", "meta", "metadata"):
                    yield from walk(inner, (*path, key))
        elif isinstance(value, list):
            for i, inner in enumerate(value):
                yield from walk(inner, (*path, i))

    for key in ("webapp",):
        if key in document:
            yield file, key, key
    for i, provider in enumerate(document["providers"]):
        if provider.get("driver", "openstack") == "openstack" and provider.get("pools"):
            yield from walk(provider, ("providers", i))
