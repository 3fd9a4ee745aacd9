"""Zuul's own classes as the scheduler and an executor, told what to do by lines of JSON.

Runs in an environment of its own, with Zuul in it and nothing of Trellis. Each line in is
``{"do": NAME, …}``, each line out ``{"ok": ANSWER}`` or ``{"error": TEXT}``, in the same order.
Only classes of Zuul touch the tree; what they do there is what an unchanged Zuul does.
"""

import argparse
import json
import logging
import sys
import uuid
from types import SimpleNamespace

from kazoo.exceptions import NoNodeError
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from zuul import model
from zuul.nodepool import Nodepool
from zuul.zk import ZooKeeperClient

TENANT, PIPELINE, PROJECT = "acme", "check", "git.example.org/acme/project"
TOLD_OF_A_NODE = (
    "id",
    "state",
    "allocated_to",
    "interface_ip",
    "public_ipv4",
    "connection_type",
    "connection_port",
    "username",
    "python_path",
    "shell_type",
    "host_keys",
    "az",
    "cloud",
    "provider",
    "region",
    "resources",
    "attributes",
    "tenant_name",
    "hold_expiration",
    "external_id",
)


class Zuul:
    """A scheduler with its session, and executors each with one of their own."""

    def __init__(self, options):
        self.options = options
        self.system_id = uuid.uuid4().hex
        self.scheduler = Nodepool(self.connected(), self.system_id, None, scheduler=True)
        self.executors = {}
        self.requests = {}
        self.jobs = {}
        self.builds = {}
        self.completed = []
        sending = self.scheduler._sendNodesProvisionedEvent

        def recording(request):
            self.completed.append([request.id, request.state])
            sending(request)

        self.scheduler._sendNodesProvisionedEvent = recording

    def connected(self):
        """A session, over TLS if there are files for it."""
        options = self.options
        client = ZooKeeperClient(
            options.hosts,
            timeout=options.timeout,
            tls_cert=options.cert,
            tls_key=options.key,
            tls_ca=options.ca,
        )
        client.connect()
        return client

    # ------------------------------------------------------------------------ the scheduler

    def submit(self, labels, priority=200, relative_priority=0, provider=None, event_id=None):
        """A job wants nodes."""
        nodes = model.NodeSet("nodes")
        for number, label in enumerate(labels):
            nodes.addNode(model.Node([f"node-{number}"], label))
        job = SimpleNamespace(uuid=uuid.uuid4().hex, name="job", nodeset=nodes)
        event = SimpleNamespace(zuul_event_id=event_id) if event_id else None
        request = self.scheduler.requestNodes(
            uuid.uuid4().hex, job, TENANT, PIPELINE, provider, priority, relative_priority, event
        )
        self.requests[request.id] = request
        self.jobs[request.id] = job
        return request.id

    def revise(self, request, relative_priority):
        """The job has moved in its queue."""
        now = self.scheduler.zk_nodepool.getNodeRequest(request)
        return self.scheduler.reviseRequest(now, relative_priority) is not False

    def cancel(self, request):
        """The job is not wanted any more."""
        self.scheduler.cancelRequest(self.requests[request])

    def look(self, request):
        """What the scheduler knows of a request: its state and nodes; null if it is gone."""
        now = self.scheduler.zk_nodepool.getNodeRequest(request)
        if now is None:
            return None
        return {
            "state": now.state,
            "nodes": now.nodes,
            "relative_priority": now.relative_priority,
            "fulfilled": now.fulfilled,
            "span": now.span_info,
        }

    def events(self):
        """The completed requests that the scheduler was told of, in their order."""
        return self.completed

    def launchers(self):
        """What the web face shows: who is registered, with which labels."""
        return [
            {"id": one.id, "labels": sorted(one.supported_labels)}
            for one in self.scheduler.zk_nodepool.getRegisteredLaunchers()
        ]

    def nodes(self):
        """All nodes of the tree, by id: their state."""
        # Zuul's own iterator fails on a node that its cache has not, or has no longer.
        client, found = self.scheduler.zk_nodepool.kazoo_client, {}
        for name in client.get_children("/nodepool/nodes"):
            try:
                data, _stat = client.get(f"/nodepool/nodes/{name}")
            except NoNodeError:
                continue
            found[name] = json.loads(data)["state"] if data else ""
        return found

    def lock_folders(self):
        """The folders of requests' locks."""
        return self.scheduler.zk_nodepool.kazoo_client.get_children("/nodepool/requests-lock")

    # ------------------------------------------------------------------------- an executor

    def accept(self, request, executor="one"):
        """Lock the nodes of a fulfilled request and delete it, as an executor begins a build."""
        if executor not in self.executors:
            self.executors[executor] = Nodepool(self.connected(), self.system_id, None)
        pool = self.executors[executor]
        now = pool.zk_nodepool.getNodeRequest(request)
        nodes = self.jobs[request].nodeset.copy()
        info = pool.getNodesetInfo(now, nodes)
        pool.acceptNodes(now, nodes)
        self.builds[request] = (executor, nodes)
        told = [
            {key: getattr(one, key, None) for key in TOLD_OF_A_NODE} for one in nodes.getNodes()
        ]
        return {"provider": info.provider, "zone": info.zone, "nodes": told}

    def use(self, request):
        """The build begins."""
        pool, nodes = self._build(request)
        pool.useNodeSet(nodes, TENANT, PROJECT)

    def give_back(self, request):
        """The build has ended."""
        pool, nodes = self._build(request)
        pool.returnNodeSet(nodes, SimpleNamespace(uuid="b" * 32), TENANT, PROJECT, 1.0)

    def hold(self, request, expiration=None):
        """The build has failed, and a hold request matches."""
        pool, nodes = self._build(request)
        hold = model.HoldRequest()
        hold.tenant, hold.project, hold.job, hold.ref_filter = TENANT, PROJECT, "job", ".*"
        hold.reason, hold.node_expiration = "to look at it", expiration
        pool.zk_nodepool.storeHoldRequest(hold)
        pool.holdNodeSet(nodes, hold, SimpleNamespace(uuid="b" * 32), 1.0)
        pool.unlockNodeSet(nodes)
        return hold.id

    def hold_deleted(self, hold):
        """Nobody wants to look at it any more."""
        now = self.scheduler.zk_nodepool.getHoldRequest(hold)
        self.scheduler.zk_nodepool.deleteHoldRequest(now, None)

    def die(self, executor="one"):
        """The executor's session ends."""
        client = self.executors.pop(executor).zk_nodepool.client
        client.disconnect()

    def _build(self, request):
        executor, nodes = self.builds[request]
        return self.executors[executor], nodes


def main():
    """Read lines until there are no more."""
    parser = argparse.ArgumentParser()
    parser.add_argument("hosts")
    parser.add_argument("--timeout", type=float, default=10.0)
    for key in ("cert", "key", "ca"):
        parser.add_argument(f"--{key}")
    # As each of Zuul's services does; the ids of spans go into requests.
    trace.set_tracer_provider(TracerProvider())
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    out = sys.stdout
    sys.stdout = sys.stderr  # whatever a library prints is no answer
    zuul = Zuul(parser.parse_args())
    print(json.dumps({"ok": zuul.system_id}), file=out, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = {"ok": getattr(zuul, asked.pop("do"))(**asked)}
        except Exception as error:  # whoever asked is told
            logging.exception("asked: %s", line)
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=out, flush=True)


if __name__ == "__main__":
    main()
