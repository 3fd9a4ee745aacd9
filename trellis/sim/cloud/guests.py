"""What the guests of a cloud are like, as far as its behaviour makes them differ."""

from fnmatch import fnmatchcase

from trellis.sim.cloud.behaviour import Behaviour
from trellis.sim.cloud.server_state import Server


def is_silent(behaviour: Behaviour, server: Server) -> bool:
    """Whether its guest never gets a network, or has an operating system without sshd."""
    if behaviour.guests_need_config_drive and not server.config_drive:
        return True
    name = server.flavor.spec.name
    return any(fnmatchcase(name, pattern) for pattern in behaviour.silent_flavors)


def hostname(behaviour: Behaviour, server: Server) -> str:
    """The name that the guest believes to have."""
    told = server.config_drive or not behaviour.names_guests_by_config_drive
    return server.name if told else "localhost"
