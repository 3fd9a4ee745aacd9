"""Nodepool's files as Hypothesis makes them: all keys, in the ranges that its schemas allow."""

from typing import Any

from hypothesis import strategies as st

NAMES = st.one_of(
    st.sampled_from(["a", "b", "c", "debian-12", "ubuntu jammy", "x/y", "é", "1", "no", "*x"]),
    st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=8),
).filter(lambda name: name.strip() and not name.startswith("fake"))
TEXTS = st.one_of(
    st.sampled_from(
        ["", "true", "12", "1:30", "a: b", "line\nline\n", "  lead", "tail \n", "é\u2028x"]
    ),
    st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=12),
)
WORDS = st.text("abcdefgh-", min_size=1, max_size=6).filter(lambda word: word[0] != "-")
NUMBERS = st.one_of(st.sampled_from([-1, 0, 1, 60, 3600]), st.integers(-5, 10**6))
TENANT_LIMITS = ("max-servers", "max-cores", "max-ram", "max-volumes", "x")
PORTS = st.integers(1, 65535)
ANYTHING = st.one_of(
    TEXTS, st.integers(-9, 9), st.booleans(), st.none(), st.lists(st.integers(0, 3), max_size=2)
)
PROPERTIES = st.dictionaries(
    st.one_of(WORDS, st.just("trellis_x"), st.just("k" * 300)), ANYTHING, max_size=3
)


def unique(name: str, item: Any, most: int = 4, least: int = 1) -> Any:
    """A list of mappings in which no name is there twice."""
    return st.lists(item, min_size=least, max_size=most, unique_by=lambda one: one[name])


def some(required: dict[str, Any], optional: dict[str, Any]) -> Any:
    """A mapping with some of the keys that may be left out."""
    return st.fixed_dictionaries(required, optional=optional)


LABELS = unique(
    "name", some({"name": NAMES}, {"min-ready": NUMBERS, "max-ready-age": NUMBERS}), most=5
)
ELEMENTS = st.lists(
    st.one_of(WORDS, st.sampled_from(["vm", "a b", "-p pkg", "'quoted'", '"', ""])), max_size=3
)
IMAGE = some(
    {"name": NAMES, "elements": ELEMENTS},
    {
        "abstract": st.booleans(),
        "pause": st.booleans(),
        "dib-cmd": st.sampled_from(["", "dib -v", "'x", "/opt/my build"]),
        "formats": st.lists(st.sampled_from(["qcow2", "raw", "vhd"]), max_size=2),
        "keep-formats": st.lists(st.sampled_from(["qcow2", "raw"]), max_size=2),
        "delete-after-upload": st.booleans(),
        "release": st.one_of(TEXTS, st.integers(0, 30), st.just(15.1)),
        "rebuild-age": st.one_of(NUMBERS, st.just(10**11)),
        "build-timeout": NUMBERS,
        "env-vars": st.dictionaries(
            st.sampled_from(["A", "TMPDIR", "DIB_X", "not-a-name", "PASSWORD"]), TEXTS, max_size=3
        ),
        "username": TEXTS,
        "python-path": TEXTS,
        "shell-type": TEXTS,
        "metadata": PROPERTIES,
    },
)
_LOGIN = {
    "config-drive": st.booleans(),
    "connection-type": st.sampled_from(["", "ssh", "winrm", "network_cli"]),
    "connection-port": PORTS,
}


@st.composite
def files(draw: Any) -> list[dict[str, Any]]:
    """One file that has everything; or a launcher's, and a builder's of the same images."""
    labels = draw(LABELS)
    images = draw(unique("name", IMAGE))
    for i, image in enumerate(images):
        # Parents are of the ones before, so that nobody is his own.
        if i and draw(st.booleans()):
            image["parent"] = images[draw(st.integers(0, i - 1))]["name"]
    built = [image["name"] for image in images if not image.get("abstract")]
    providers = draw(unique("name", _provider([x["name"] for x in labels], built), most=3))
    top = draw(
        some(
            {},
            {
                "max-hold-age": NUMBERS,
                "webapp": st.just({"port": 8005, "listen_address": "0.0.0.0"}),
                "elements-dir": st.sampled_from(["/etc/elements", "elements", "/a:/b"]),
                "images-dir": st.sampled_from(["/opt/dib", "dib/", "/"]),
                "build-log-dir": st.just("/var/log/nodepool"),
                "build-log-retention": NUMBERS,
                "zookeeper-timeout": st.sampled_from([0.1, 10, 10.5, 10**6]),
                "zookeeper-servers": st.sampled_from(
                    [
                        [{"host": "zk01", "port": 2281, "chroot": "/x"}],
                        [{"host": "::1"}, {"host": "zk02", "chroot": "/y/z/"}],
                    ]
                ),
                "zookeeper-tls": st.just({"cert": "/c", "key": "/k", "ca": "/a"}),
                "tenant-resource-limits": unique(
                    "tenant-name",
                    some(
                        {"tenant-name": NAMES},
                        dict.fromkeys(
                            ("max-servers", "max-cores", "max-ram", "max-volumes", "x"), NUMBERS
                        ),
                    ),
                ),
            },
        )
    )
    whole = {**top, "labels": labels, "diskimages": images, "providers": providers}
    if not draw(st.booleans()):
        return [whole]
    launcher = {**whole, "diskimages": [{"name": name} for name in built]}
    builder = {
        "diskimages": images,
        "providers": [
            {key: value for key, value in provider.items() if key != "pools"}
            for provider in providers
            if provider.get("driver", "openstack") == "openstack"
        ],
    }
    return [launcher, builder]


def _provider(labels: list[str], images: list[str]) -> Any:
    of_image = st.sampled_from(images) if images else st.nothing()
    cloud_images = [{"name": "cloudy"}, {"name": "by-id", "image-id": "1234"}]
    cloud_images.append({"name": "by-name", "image-name": "a name", "username": "core"})
    meant = st.one_of(
        st.fixed_dictionaries({"diskimage": of_image}) if images else st.nothing(),
        st.fixed_dictionaries({"cloud-image": st.sampled_from(["cloudy", "by-id", "by-name"])}),
    )
    flavor = st.sampled_from(
        [{"flavor-name": "b2-7"}, {"min-ram": 8000, "flavor-name": "P"}, {"min-ram": 0}]
    )
    rest = some(
        {"name": st.sampled_from(labels)},
        {
            "key-name": TEXTS,
            "console-log": st.booleans(),
            "boot-from-volume": st.booleans(),
            "volume-size": NUMBERS,
            "instance-properties": PROPERTIES,
            "dynamic-instance-properties": st.just({"job": "{request.requestor}"}),
            "userdata": TEXTS,
            "networks": st.lists(WORDS, max_size=2),
            "host-key-checking": st.booleans(),
        },
    )
    label = st.builds(lambda a, b, c: {**a, **b, **c}, rest, meant, flavor)
    pool = some(
        {
            "name": NAMES,
            "labels": unique("name", label),
        },
        {
            "max-servers": NUMBERS, "max-cores": NUMBERS, "max-ram": NUMBERS,
            "max-volumes": NUMBERS, "max-volume-gb": NUMBERS, "priority": NUMBERS,
            "node-attributes": PROPERTIES,
            "ignore-provider-quota": st.booleans(),
            "availability-zones": st.lists(WORDS, max_size=2),
            "networks": st.lists(WORDS, max_size=2),
            "security-groups": st.lists(WORDS, max_size=2),
            "auto-floating-ip": st.booleans(),
            "host-key-checking": st.booleans(),
        },
    )  # fmt: skip
    openstack = some(
        {
            "name": NAMES,
            "cloud": st.sampled_from(["rax", "ovh"]),
            "pools": unique("name", pool, most=2),
        },
        {
            "driver": st.just("openstack"),
            "region-name": WORDS,
            "max-concurrency": st.sampled_from([-1, 0, 5]),
            "priority": NUMBERS, "boot-timeout": NUMBERS, "launch-timeout": NUMBERS,
            "launch-retries": NUMBERS, "image-upload-timeout": NUMBERS,
            "rate": st.sampled_from([0, 0.001, 1, 0.3, -2, "0.1", "often", 1e-12]),
            "image-name-format": st.just("{image_name}-{timestamp}"),
            "post-upload-hook": st.sampled_from(["/bin/hook", "/opt/my hook"]),
            "clean-floating-ips": st.booleans(),
            "port-cleanup-interval": NUMBERS,
            "nodepool-id": WORDS,
            "cloud-images": st.just(cloud_images),
            "diskimages": unique(
                "name",
                some({"name": of_image}, {"pause": st.booleans(), "meta": PROPERTIES, **_LOGIN}),
            ) if images else st.just([]),
        },
    )  # fmt: skip
    # Labels of cloud images need these to be there.
    openstack = openstack.map(lambda one: {**one, "cloud-images": cloud_images})
    other = some(
        {"name": NAMES, "driver": st.sampled_from(["aws", "static", "kubernetes"])},
        {"pools": st.just([{"name": "main", "labels": [{"name": x} for x in labels[:1]]}])},
    )
    return st.one_of(openstack, openstack, openstack, other)
