"""What an operator tells a Zuul, told as its web service does it: into ZooKeeper.

Run by the Python of Zuul's environment. It stands in for zuul-web, and for the tokens that this
wants to see; scheduler and executor cannot tell them apart.
"""

import argparse
import configparser

from zuul.model import DequeueEvent, HoldRequest
from zuul.zk import ZooKeeperClient
from zuul.zk.event_queues import PipelineManagementEventQueue
from zuul.zk.nodepool import ZooKeeperNodepool


def dequeue(client, args):
    """End what runs for a branch."""
    queues = PipelineManagementEventQueue.createRegistry(client)
    queues[args.tenant][args.pipeline].put(
        DequeueEvent(args.tenant, args.pipeline, "localhost", args.project, None, args.ref)
    )


def autohold(client, args):
    """Have the nodes of the next build that fails kept for a while."""
    hold = HoldRequest()
    hold.tenant, hold.project, hold.job = args.tenant, f"localhost/{args.project}", args.job
    hold.ref_filter, hold.reason, hold.max_count = ".*", "to look at it", 1
    hold.node_expiration = args.seconds
    ZooKeeperNodepool(client, enable_node_request_cache=False).storeHoldRequest(hold)


def main():
    """Do the one thing that is asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("conf")
    parser.add_argument("tenant")
    parser.add_argument("project")
    actions = parser.add_subparsers(required=True)
    one = actions.add_parser("dequeue")
    one.add_argument("pipeline")
    one.add_argument("ref")
    one.set_defaults(action=dequeue)
    one = actions.add_parser("autohold")
    one.add_argument("job")
    one.add_argument("seconds", type=int)
    one.set_defaults(action=autohold)
    args = parser.parse_args()
    conf = configparser.RawConfigParser()
    conf.read(args.conf)
    client = ZooKeeperClient.fromConfig(conf)
    client.connect()
    try:
        args.action(client, args)
    finally:
        client.disconnect()


if __name__ == "__main__":
    main()
