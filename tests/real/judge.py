"""Looks at a cloud from outside: what there is of ours, and whether strangers were left alone.

A program of its own on openstacksdk, without a line of Trellis, so that a fault in our client
cannot hide itself. The cloud is an entry of the clouds.yaml that OS_CLIENT_CONFIG_FILE names.
Answers are JSON on stdout; exit status 0: as it should be, 1: not, 2: it could not be judged.

    judge.py ours DEPLOYMENT             everything tagged as of this deployment; 1 if any
    judge.py made DEPLOYMENT SINCE       every server it made since then, also those deleted; 1 if
                                         two had one name (SINCE as 2026-11-23T10:00:00Z)
    judge.py plant FILE                  make a stranger's server, floating IP, port, keypair and
                                         image, tagged as somebody else's; FILE remembers them
    judge.py untouched FILE              1 if any of them is gone or changed
    judge.py remove FILE                 take them away again
"""

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import openstack
from openstack import exceptions
from openstack.connection import Connection

STRANGER = "somebody-else"
DEPLOYMENT, NODE = "trellis_deployment", "trellis_node_id"

Seen = dict[str, list[dict[str, Any]]]


def find_ours(cloud: Connection, deployment: str) -> Seen:
    """Everything that is attributable to a deployment, by kind; empty kinds are left out.

    Ports are ours by their server's id, too. Ports of no server that exists are listed as
    *orphans*: nobody else makes servers in a test's project.
    """
    servers = list(cloud.compute.servers(details=True))
    ours = [s for s in servers if s.metadata.get(DEPLOYMENT) == deployment]
    mark = f"trellis:{deployment}:"
    our_ids, all_ids = {s.id for s in ours}, {s.id for s in servers}
    ports, orphans = [], []
    for port in cloud.network.ports(project_id=cloud.current_project_id):
        if port.device_id in our_ids or (port.description or "").startswith(mark):
            ports.append(port)
        elif (port.device_owner or "").startswith("compute:") and port.device_id not in all_ids:
            orphans.append(port)
    found: Seen = {
        "servers": [_of_server(s) for s in ours],
        "floating_ips": [
            {"id": f.id, "description": f.description, "address": f.floating_ip_address}
            for f in cloud.network.ips(project_id=cloud.current_project_id)
            if (f.description or "").startswith(mark)
        ],
        "ports": [{"id": p.id, "device_id": p.device_id, "status": p.status} for p in ports],
        "orphans": [{"id": p.id, "device_id": p.device_id} for p in orphans],
        "keypairs": [
            {"id": k.name}
            for k in cloud.compute.keypairs()
            if k.name.startswith(f"trellis-{deployment}-")
        ],
        "images": [
            {"id": i.id, "name": i.name, "status": i.status}
            for i in cloud.image.images(owner=cloud.current_project_id)
            if i.properties.get(DEPLOYMENT) == deployment
        ],
    }
    return {kind: rows for kind, rows in found.items() if rows}


def find_made(cloud: Connection, deployment: str, since: str) -> dict[str, Any]:
    """The servers made or changed since a time, and the names that were given twice.

    By name, because nova forgets the metadata of a server it has deleted (tried, nova 34): its
    row counts whosever it was. Node ids are part of names, and no node has two servers.
    """
    rows = [
        _of_server(server)
        for server in cloud.compute.servers(details=True, changes_since=since)
        if server.status == "DELETED" or server.metadata.get(DEPLOYMENT) == deployment
    ]
    counts = Counter(row["name"] for row in rows)
    return {"made": rows, "twice": sorted(name for name, n in counts.items() if n > 1)}


def plant(cloud: Connection) -> dict[str, Any]:
    """Make what belongs to somebody else, and look at it as it then is."""
    tags = {DEPLOYMENT: STRANGER, NODE: "0000000001", "trellis_provider": "real"}
    network = next(cloud.network.networks(project_id=cloud.current_project_id))
    image = next(cloud.image.images(status="active"))
    outside = next(cloud.network.networks(is_router_external=True))
    servers = []
    # One tagged as of another deployment, one by a person with a name like ours.
    for name, metadata in (("trellis-0000000001", tags), ("np0000000002", {"owner": "a person"})):
        server = cloud.compute.create_server(
            name=name, image_id=image.id, networks=[{"uuid": network.id}], metadata=metadata,
            flavor_id=_smallest_flavor(cloud),
        )  # fmt: skip
        servers.append(cloud.compute.wait_for_server(server, wait=180, interval=0.3))
    port = next(cloud.network.ports(device_id=servers[0].id))
    address = cloud.network.create_ip(
        floating_network_id=outside.id, port_id=port.id,
        description=f"trellis:{STRANGER}:0000000001",
    )  # fmt: skip
    lone = cloud.network.create_port(
        network_id=network.id, name="stranger", description=f"trellis:{STRANGER}:0000000001"
    )
    keypair = cloud.compute.create_keypair(name=f"trellis-{STRANGER}-{int(time.time())}")
    picture = cloud.create_image(
        "stranger", data=b"\0" * 4096, disk_format="raw", container_format="bare", wait=True,
        allow_duplicates=True, meta={DEPLOYMENT: STRANGER},
    )  # fmt: skip
    ids = {
        "servers": [s.id for s in servers], "floating_ips": [address.id],
        "ports": [port.id, lone.id], "keypairs": [keypair.name], "images": [picture.id],
    }  # fmt: skip
    _settle(cloud, address.id)
    return look_at(cloud, ids)


def look_at(cloud: Connection, ids: dict[str, Any]) -> dict[str, Any]:
    """The strangers' things as they are now; None for one that is gone."""
    views = {
        "servers": (cloud.compute.get_server, _as_a_stranger_sees_it),
        "floating_ips": (cloud.network.get_ip, lambda f: [f.floating_ip_address, f.port_id,
                                                          f.description, f.status]),
        "ports": (cloud.network.get_port, lambda p: [p.device_id, p.description, p.status,
                                                     p.is_admin_state_up, p.fixed_ips]),
        "keypairs": (cloud.compute.get_keypair, lambda k: k.fingerprint),
        "images": (cloud.image.get_image, lambda i: [i.name, i.status, i.checksum,
                                                     i.properties.get(DEPLOYMENT)]),
    }  # fmt: skip
    seen: dict[str, Any] = {}
    for kind, (get, view) in views.items():
        seen[kind] = {}
        for one in ids.get(kind, ()):
            try:
                seen[kind][one] = view(get(one))
            except exceptions.NotFoundException:
                seen[kind][one] = None
    return seen


def remove(cloud: Connection, planted: dict[str, Any]) -> None:
    """Delete the strangers' things, as far as they are there."""
    for one in planted["floating_ips"]:
        cloud.network.delete_ip(one, ignore_missing=True)
    for one in planted["servers"]:
        cloud.compute.delete_server(one, ignore_missing=True)
    # Their ports go with them, and are nobody's to delete meanwhile.
    until = time.monotonic() + 120
    while {s.id for s in cloud.compute.servers(details=False)} & set(planted["servers"]):
        if time.monotonic() > until:
            raise TimeoutError("the strangers' servers are not deleted within 120 s")
        time.sleep(0.3)
    for one in planted["ports"]:
        cloud.network.delete_port(one, ignore_missing=True)
    for one in planted["keypairs"]:
        cloud.compute.delete_keypair(one, ignore_missing=True)
    for one in planted["images"]:
        cloud.image.delete_image(one, ignore_missing=True)


def _of_server(server: Any) -> dict[str, Any]:
    return {
        "id": server.id, "name": server.name, "status": server.status,
        "node_id": server.metadata.get(NODE), "created": server.created_at,
    }  # fmt: skip


def _as_a_stranger_sees_it(server: Any) -> list[Any]:
    return [server.name, server.status, server.metadata, server.addresses, server.task_state]


def _smallest_flavor(cloud: Connection) -> str:
    return min(cloud.compute.flavors(), key=lambda flavor: (flavor.ram, flavor.name)).id


def _settle(cloud: Connection, floating_ip: str) -> None:
    """Wait until the floating IP is in use, and nova shows it with its server."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        address = cloud.network.get_ip(floating_ip)
        port = cloud.network.get_port(address.port_id)
        shown = str(cloud.compute.get_server(port.device_id).addresses)
        if address.status == "ACTIVE" and address.floating_ip_address in shown:
            return
        time.sleep(0.3)
    raise TimeoutError(f"floating IP {floating_ip} did not come into use within 60 s")


def main() -> int:
    """Run one of the commands."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cloud", default="real", help="entry of clouds.yaml")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("ours", "made"):
        commands.add_parser(name).add_argument("deployment")
    commands.choices["made"].add_argument("since")
    for name in ("plant", "untouched", "remove"):
        commands.add_parser(name).add_argument("file", type=Path)
    args = parser.parse_args()
    cloud = openstack.connect(cloud=args.cloud)
    answer: Any
    if args.command == "ours":
        answer = find_ours(cloud, args.deployment)
        bad = bool(answer)
    elif args.command == "made":
        answer = find_made(cloud, args.deployment, args.since)
        bad = bool(answer["twice"])
    elif args.command == "plant":
        answer = plant(cloud)
        args.file.write_text(json.dumps(answer), encoding="utf-8")
        bad = False
    else:
        planted = json.loads(args.file.read_text(encoding="utf-8"))
        if args.command == "remove":
            remove(cloud, planted)
            answer, bad = {}, False
        else:
            now = json.loads(json.dumps(look_at(cloud, planted)))
            answer = {
                kind: {one: {"was": was, "is": now[kind][one]}}
                for kind, things in planted.items()
                for one, was in things.items()
                if now[kind][one] != was
            }
            bad = bool(answer)
    json.dump(answer, sys.stdout, indent=1)
    print()
    return int(bad)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (exceptions.SDKException, OSError, TimeoutError, StopIteration) as error:
        print(f"judge: cannot judge: {type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(2)
