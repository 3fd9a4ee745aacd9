"""The entry point ``trellis``: noun, then verb."""

import click

import trellis
from trellis.cli import local, node, operations, provider, request, simulate
from trellis.cli.shape import Root


@click.group(
    cls=Root,
    examples=[
        "trellis serve -c trellis.yaml",
        "trellis request create debian-12 --wait",
        "trellis node list",
        "trellis request explain ID",
    ],
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Talks to the daemon at TRELLIS_URL (http://127.0.0.1:8480), with TRELLIS_TOKEN. "
    "NO_COLOR turns colours off. "
    'Completion: eval "$(_TRELLIS_COMPLETE=bash_source trellis)"; also zsh_source, fish_source.',
)
@click.version_option(trellis.__version__, prog_name="trellis")
def main() -> None:
    """Single-use CI nodes from many OpenStack clouds: request, lease, give back.

    Data goes to stdout, messages to stderr. Exit code 0: done; 1: it failed, and stderr says
    why and what to do; 2: the command line is wrong.
    """


for _command in (
    local.serve, local.config, request.request, request.lease, node.node, provider.label,
    provider.provider, provider.quota, operations.leak, operations.plan, operations.events,
    local.plugin, simulate.simulate,
):  # fmt: skip
    main.add_command(_command)

if __name__ == "__main__":
    main()
