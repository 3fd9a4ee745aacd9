"""``trellis cloud``: simulated OpenStack clouds over HTTP on this machine."""

import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from trellis.cli.shape import Command, complain_of, note
from trellis.errors import TrellisError

if TYPE_CHECKING:
    from trellis.sim.scenario_file import ServedScenario
    from trellis.sim.serving.machines import Machines
    from trellis.sim.serving.process import Served

_FOLDER: Final = Path("trellis-clouds")


@click.command(
    cls=Command,
    examples=[
        "trellis cloud",
        "trellis cloud my-clouds.yaml --listen 127.0.0.1:9000 --folder /tmp/clouds",
        "sudo trellis cloud --nodes namespaces",
        "sudo trellis cloud --nodes vm",
        "trellis cloud -o json",
    ],
)
@click.argument("scenario", required=False, type=click.Path(path_type=Path))
@click.option(
    "--listen",
    default="127.0.0.1:0",
    show_default=True,
    help="Loopback address and port; port 0 takes any free one.",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=_FOLDER,
    show_default=True,
    help="Where clouds.yaml and trellis.yaml are written.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="What befalls calls and servers follows from it.",
)
@click.option(
    "--nodes",
    type=click.Choice(["stub", "namespaces", "namespaces-or-stub", "vm", "none"]),
    default="stub",
    show_default=True,
    help="What stands behind servers: an SSH banner and host key; a real sshd in a network "
    "namespace (needs root); that where it can be had, else a stub; a small virtual machine that "
    "boots the image that was uploaded (needs root and qemu); nothing.",
)
@click.option(
    "--prefix",
    default="trellis",
    show_default=True,
    help="Begins the names of the network namespaces of --nodes namespaces and vm.",
)
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How to say where everything is; json is one line, written once everything listens.",
)
def cloud(
    scenario: Path | None,
    listen: str,
    folder: Path,
    seed: int,
    nodes: str,
    prefix: str,
    output: str,
) -> None:
    """Serve simulated OpenStack clouds over HTTP until SIGTERM or Ctrl-C.

    SCENARIO is a YAML file with the clouds (`clouds:`, as `trellis simulate` reads it; a
    `configuration:` in it is used too). Without one there are three small clouds, like OVH,
    Rackspace and HP. Writes a clouds.yaml for them, and a trellis.yaml that is ready to be served.
    """
    import trio

    from trellis.config.addresses import ListenAddress
    from trellis.logs import configure_logging

    configure_logging(as_json=False)
    try:
        address = ListenAddress.from_text(listen)
    except ValueError as wrong:
        raise click.BadParameter(str(wrong), param_hint="--listen") from None
    failed = False
    try:
        trio.run(
            partial(
                _serve,
                _scenario(scenario),
                machines=_machines(nodes, prefix, folder),
                folder=folder,
                listen=address,
                seed=seed,
                output=output,
            )
        )
    except* TrellisError as group:
        failed = True
        for error in _leaves(group):
            complain_of(error)
    if failed:
        raise SystemExit(1)


async def _serve(scenario: "ServedScenario", *, output: str, **options: Any) -> None:
    import trio

    from trellis.sim.serving.process import serve_clouds

    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            served = await nursery.start(partial(serve_clouds, scenario, **options))
            _tell(served, output)
            async for _ in signals:
                break
            nursery.cancel_scope.cancel()
    note("the simulated clouds have ended")


def _tell(served: "Served", output: str) -> None:
    if output == "json":
        import json

        import attrs

        click.echo(json.dumps(attrs.asdict(served), default=str))
        return
    click.echo(
        f"{len(served.clouds)} simulated clouds at {served.url}: {', '.join(served.clouds)}\n"
        f"  clouds.yaml    {served.clouds_yaml}\n"
        f"  trellis.yaml   {served.configuration}\n"
        f"  control face   {served.control}/clouds\n"
        f"Next, in another terminal:\n"
        f"  {served.next_command}\n"
        f"  {' '.join([*served.run_within, 'trellis request create small --wait'])}\n"
        f"Ctrl-C ends the clouds."
    )


def _scenario(path: Path | None) -> "ServedScenario":
    from trellis.sim.scenario_file import load_clouds
    from trellis.sim.serving.process import builtin_clouds

    return builtin_clouds() if path is None else load_clouds(path)


def _machines(nodes: str, prefix: str, folder: Path) -> "Machines":
    if nodes.startswith("namespaces"):
        from trellis.sim.serving.namespaces import Namespaces, missing

        lacks = missing() if nodes == "namespaces-or-stub" else []
        if not lacks:
            return Namespaces(prefix=prefix, key=folder / "id_ed25519")
        for fault in lacks:
            note(fault)
        note("so the nodes are stubs")
    if nodes == "vm":
        from trellis.sim.serving.vms import Vms

        return Vms(prefix=prefix, key=folder / "id_ed25519")
    if nodes == "none":
        from trellis.sim.serving.machines import NoMachines

        return NoMachines()
    from trellis.sim.serving.stub_nodes import StubNodes

    return StubNodes()


def _leaves(group: BaseExceptionGroup[TrellisError]) -> list[TrellisError]:
    found: list[TrellisError] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
