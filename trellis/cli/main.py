"""The entry point ``trellis``: noun, then verb."""

import click

import trellis
from trellis.cli import (
    breaker,
    cloud,
    demand,
    demo,
    image,
    local,
    node,
    operations,
    provider,
    request,
    simulate,
    top,
)
from trellis.cli.shape import Root


@click.group(
    cls=Root,
    examples=[
        "trellis serve -c trellis.yaml",
        "trellis request create debian-12 --wait",
        "trellis node list",
        "trellis request explain ID",
        "trellis top",
    ],
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Talks to the daemon at TRELLIS_URL (http://127.0.0.1:8480). TRELLIS_TOKEN is sent for "
    "a proxy in front: the daemon checks none yet. NO_COLOR turns colours off. "
    'Completion: eval "$(_TRELLIS_COMPLETE=bash_source trellis)"; in zsh zsh_source; in fish '
    "_TRELLIS_COMPLETE=fish_source trellis | source.",
)
@click.version_option(trellis.__version__, prog_name="trellis")
def main() -> None:
    """Single-use CI nodes from many OpenStack clouds: request, lease, give back.

    Data goes to stdout, messages to stderr. Exit code 0: done; 1: it failed, and stderr says
    why and what to do; 2: the command line is wrong.
    """


for _command in (
    local.serve, local.config, request.request, request.lease, demand.demand, node.node,
    provider.label, provider.provider, image.image, provider.quota, provider.tenant,
    breaker.breaker, operations.leak, operations.plan, operations.events,
    local.plugin, simulate.simulate, cloud.cloud, top.top,
    demo.demo,
):  # fmt: skip
    main.add_command(_command)

if __name__ == "__main__":
    main()
