"""What goes wrong inside a simulated cloud: with servers, lists, networks, quota, what it offers.

Each field has the name of its fault in the catalogue; what is 0, false or empty never strikes.
"""

from typing import Final

import attrs

from trellis.sim.cloud.bounds import at_least, between, rate, span

_DAY_S: Final = 86_400.0


def _seconds(default: float) -> float:
    field: float = attrs.field(default=default, validator=at_least(0.0))
    return field


@attrs.frozen(kw_only=True)
class CloudTroubles:
    """Troubles of a cloud's own, as probabilities for each server or call, and in seconds.

    Attributes:
        image_error: a server ends in ERROR, its image being unacceptable.
        flavor_error: a server ends in ERROR, its flavor being too small for its image.
        zone_error: a server ends in ERROR for want of a host in its zone.
        late_fault: an ERROR shows its fault only after ``late_fault_s``.
        no_address: an ACTIVE server never shows an address.
        active_error, active_stop: an ACTIVE server falls into ERROR or SHUTOFF after a time
            drawn evenly from ``mishap_s``.
        mishap_s: how soon after ACTIVE a mishap comes: the least and the most.
        deleted_by_person, renamed_by_person, rebuilt_by_person: somebody with the account's
            credentials does that to an ACTIVE server, after such a time.
        port_deleted_by_person, floating_ip_deleted_by_person: the same to what the server has.
        endless_delete: a delete comes to no end: ``task_state`` stays *deleting* until, after
            ``endless_delete_s``, an operator of the cloud resets the server to ERROR.
        delete_conflict: for ``delete_conflict_s`` deletes of the server are answered 409.
        delete_vanish: a delete and all else about the server is answered 404 for
            ``delete_vanish_s``, and nothing has happened to it.
        down_cell_skipped, down_cell_unknown: the database of a cell with half of the servers is
            not reached: lists leave them out, or show only that they exist; a call about one
            fails.
        deleted_row_archived: the row of a deleted server is archived at once.
        deleted_row_never: a server deleted before a cell has it leaves no row.
        updated_back: a change of a server sets its ``updated`` back by ``updated_back_s``.
        changes_since_ignored, changes_since_refused: what becomes of that question.
        clock_skew_s: the cloud's clock is that far ahead, or behind if it is negative.
        leak_port: a port that nova made stays, DOWN, when its server is gone.
        leak_unseen_volume: a volume that nova made stays though its server never showed it, or
            only for two seconds, so that no caller could know whose it is.
        floating_ip_delete_lies: its delete is answered 204, and it only loses its port.
        floating_ip_delete_missing, floating_ip_delete_conflict: its delete is answered 404 or
            409, and nothing is done.
        quota_too_high, quota_too_low, quota_unlimited: nova's limits are told as twice or half
            of what they are, or as -1.
        quota_refused, quota_missing: the calls that tell limits are answered 403 or 404.
        quota_changed: the quota is smaller by this share.
        quota_stuck: so many instances count as used that are not there.
        flavor_gone, image_gone, network_gone, zone_gone: names of what the cloud no longer has;
            servers that are there already stay.
        image_inactive: names of images that are deactivated.
        zone_dead: zones without power: guests there do not answer, nothing is placed there.
    """

    image_error: float = rate()
    flavor_error: float = rate()
    zone_error: float = rate()
    late_fault: float = rate()
    late_fault_s: float = _seconds(5.0)
    no_address: float = rate()
    active_error: float = rate()
    active_stop: float = rate()
    deleted_by_person: float = rate()
    renamed_by_person: float = rate()
    rebuilt_by_person: float = rate()
    port_deleted_by_person: float = rate()
    floating_ip_deleted_by_person: float = rate()
    mishap_s: tuple[float, ...] = attrs.field(default=(1.0, 300.0), validator=span)
    endless_delete: float = rate()
    endless_delete_s: float = _seconds(3600.0)
    delete_conflict: float = rate()
    delete_conflict_s: float = _seconds(60.0)
    delete_vanish: float = rate()
    delete_vanish_s: float = _seconds(120.0)
    down_cell_skipped: bool = False
    down_cell_unknown: bool = False
    deleted_row_archived: float = rate()
    deleted_row_never: float = rate()
    updated_back: float = rate()
    updated_back_s: float = _seconds(60.0)
    changes_since_ignored: bool = False
    changes_since_refused: bool = False
    clock_skew_s: float = attrs.field(default=0.0, validator=between(-_DAY_S, _DAY_S))
    leak_port: float = rate()
    leak_unseen_volume: float = rate()
    floating_ip_delete_lies: float = rate()
    floating_ip_delete_missing: float = rate()
    floating_ip_delete_conflict: float = rate()
    quota_too_high: bool = False
    quota_too_low: bool = False
    quota_unlimited: bool = False
    quota_refused: bool = False
    quota_missing: bool = False
    quota_changed: float = rate()
    quota_stuck: int = attrs.field(default=0, validator=at_least(0))
    flavor_gone: tuple[str, ...] = ()
    image_gone: tuple[str, ...] = ()
    image_inactive: tuple[str, ...] = ()
    network_gone: tuple[str, ...] = ()
    zone_gone: tuple[str, ...] = ()
    zone_dead: tuple[str, ...] = ()
