"""Profiles of public clouds that a ``clouds.yaml`` may name: what is the same for all customers.

Small on purpose. Others are pinned in a ``clouds-public.yaml``; nothing is fetched. Sources: the
vendors' own pages and openstacksdk's documented vendor list, read in 2026-11; OVH and Vexxhost
in their last static form, which openstacksdk now fetches from their sites.
"""

from collections.abc import Mapping
from typing import Any, Final

_DEFAULT_DOMAINS: Final = {"user_domain_name": "Default", "project_domain_name": "Default"}

PROFILES: Final[Mapping[str, Mapping[str, Any]]] = {
    "auro": {
        "auth": {"auth_url": "https://api.van2.auro.io:5000/v3", **_DEFAULT_DOMAINS},
        "region_name": "RegionOne",
        "requires_floating_ip": True,
    },
    "binero": {
        "auth": {"auth_url": "https://auth.binero.cloud:5000/v3"},
        "regions": ["europe-se-1"],
    },
    "citycloud": {
        "auth": {"auth_url": "https://{region_name}.citycloud.com:5000/v3/"},
        "regions": ["Buf1", "Fra1", "Sto2", "Kna1", "dx1", "tky1"],
        "image_format": "raw",
        "requires_floating_ip": True,
    },
    "elastx": {
        "auth": {"auth_url": "https://ops.elastx.cloud:5000/v3"},
        "regions": ["se-sto"],
    },
    "otc": {
        "auth": {"auth_url": "https://iam.{region_name}.otc.t-systems.com/v3"},
        "regions": ["eu-de", "eu-nl"],
    },
    "ovh": {
        "auth": {"auth_url": "https://auth.cloud.ovh.net/", **_DEFAULT_DOMAINS},
        "regions": [
            *("BHS", "BHS1", "BHS3", "BHS5", "DE", "DE1", "GRA", "GRA1", "GRA5", "GRA7"),
            *("SBG", "SBG1", "SBG5", "UK", "UK1", "WAW", "WAW1", "SYD1", "SGP1"),
        ],
        "floating_ip_source": "None",
    },
    "ovh-us": {
        "auth": {"auth_url": "https://auth.cloud.ovh.us/", **_DEFAULT_DOMAINS},
        "regions": ["US-EAST-VA-1", "US-WEST-OR-1", "US-EAST-VA", "US-WEST-OR"],
        "floating_ip_source": "None",
    },
    "rackspace": {
        "auth": {"auth_url": "https://identity.api.rackspacecloud.com/v2.0/"},
        "regions": ["DFW", "HKG", "IAD", "ORD", "SYD", "LON"],
        "compute_service_name": "cloudServersOpenStack",
        "floating_ip_source": "None",
        "secgroup_source": "None",
        "has_network": False,
        "image_api_use_tasks": True,
        "image_format": "vhd",
        "disable_vendor_agent": {"vm_mode": "hvm", "xenapi_use_agent": "False"},
    },
    "vexxhost": {
        "auth_type": "v3password",
        "auth": {"auth_url": "https://auth.vexxhost.net/v3"},
        "regions": ["ca-ymq-1", "sjc1"],
        "floating_ip_source": "None",
        "image_format": "raw",
        "requires_floating_ip": False,
    },
}
