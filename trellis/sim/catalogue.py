"""Every fault the simulation knows, by name: what it does, and where such a thing was met.

A scenario asks for a fault by its name; when it really strikes, it is counted under that name
(`Struck`), so that a hunt can tell which faults no seed has met.
"""

from collections import Counter
from typing import Final

import attrs

Struck = Counter[str]
"""How many times each fault took effect, by its name."""


@attrs.frozen
class KnownFault:
    """One kind of trouble.

    Attributes:
        name: as in scenario files, with dashes.
        does: what happens, in one sentence.
        source: where it was met: a section of the documents, an interface's reference, a bug.
    """

    name: str
    does: str
    source: str


ROAD: Final = (
    KnownFault(
        "lose-answer",
        "A call that changes something is carried out, and its answer never comes.",
        "nodepool.md §4",
    ),
    KnownFault(
        "lose-request",
        "A call that changes something is lost on its way and not carried out.",
        "nodepool.md §4",
    ),
    KnownFault(
        "appear-late",
        "A create without an answer is carried out only minutes later.",
        "quirks.md §2.1",
    ),
    KnownFault(
        "server-error",
        "A call is answered 500, 502 or 503, carried out or not.",
        "nodepool.md §4",
    ),
    KnownFault(
        "cut-answer",
        "The connection breaks in the middle of an answer.",
        "fronts restarted under load",
    ),
    KnownFault(
        "html-answer",
        "A call is answered 200 with a page in HTML.",
        "captive portals, maintenance pages",
    ),
    KnownFault(
        "reset",
        "The connection breaks before an answer, to a read or a login as well.",
        "fronts restarted under load",
    ),
    KnownFault(
        "hang-call",
        "A call is taken and never answered.",
        "nodepool.md §4",
    ),
    KnownFault(
        "trickle",
        "An answer comes byte by byte, slower than any time limit for one read.",
        "overloaded fronts",
    ),
    KnownFault(
        "endless-answer",
        "An answer in chunks does not end.",
        "broken fronts",
    ),
    KnownFault(
        "huge-answer",
        "A small answer unpacks to a very large one.",
        "RFC 9110 §8.4, hostile fronts",
    ),
    KnownFault(
        "short-answer",
        "An answer ends early and says that it is whole.",
        "proxies that recount Content-Length",
    ),
    KnownFault(
        "odd-answer",
        "An answer is JSON of another shape.",
        "gateways with answers of their own",
    ),
    KnownFault(
        "garbage-headers",
        "An answer has headers that are long, doubled or no text.",
        "gateways; RFC 9110 §5",
    ),
    KnownFault(
        "redirect",
        "A call is answered 302 to another host.",
        "fronts that move to https, login pages",
    ),
    KnownFault(
        "refuse-token",
        "A good token is answered 401 once.",
        "keystonemiddleware, caches of controllers apart",
    ),
    KnownFault(
        "revoke-tokens",
        "All tokens end in mid-flight.",
        "keystone, fernet keys rotated",
    ),
    KnownFault(
        "rate-limits",
        "A call is one too many: 429, or 413 of old clouds.",
        "quirks.md §6",
    ),
    KnownFault(
        "absurd-retry-after",
        "A refusal for the rate names a delay that makes no sense.",
        "quirks.md §6; RFC 9110 §10.2.3",
    ),
    KnownFault(
        "refuse",
        "Connections are refused for a while.",
        "nodepool.md §4",
    ),
    KnownFault(
        "hang",
        "Connections are taken for a while, and nothing is answered.",
        "nodepool.md §4",
    ),
    KnownFault(
        "gateway",
        "A proxy answers 502 for a while.",
        "nodepool.md §4",
    ),
    KnownFault(
        "error-burst",
        "Nearly every call is answered 500, 502 or 503 for a while.",
        "nodepool.md §4",
    ),
    KnownFault(
        "slow-answers",
        "Every answer takes long for a while.",
        "nodepool.md §4",
    ),
    KnownFault(
        "account-locked",
        "The right credentials are refused for a while.",
        "keystone, security_compliance.lockout_failure_attempts",
    ),
    KnownFault(
        "endpoint-moved",
        "Compute is at another URL under the same name.",
        "design §5b, rule 2",
    ),
    KnownFault(
        "project-changed",
        "The same credentials lead to another project.",
        "design §5b, rule 2",
    ),
)
"""On the way of a call: connections, gateways, rate limits, the identity service."""

CLOUD: Final = (
    KnownFault(
        "boot-error",
        "A server ends in ERROR instead of ACTIVE.",
        "quirks.md §5; nova, build aborted",
    ),
    KnownFault(
        "no-valid-host",
        "A server ends in ERROR at once for want of a host.",
        "quirks.md §6",
    ),
    KnownFault(
        "image-error",
        "A server ends in ERROR, its image being unacceptable.",
        "nova ImageUnacceptable",
    ),
    KnownFault(
        "flavor-error",
        "A server ends in ERROR, its flavor being too small.",
        "nova FlavorDiskSmallerThanImage",
    ),
    KnownFault(
        "zone-error",
        "A server ends in ERROR for want of a host in its zone.",
        "quirks.md §6, OpenMetal, Cleura",
    ),
    KnownFault(
        "late-fault",
        "A server in ERROR shows why only some time later.",
        "nova keeps instance faults apart",
    ),
    KnownFault("stuck-build", "A server stays in BUILD until it is deleted.", "nodepool.md §4"),
    KnownFault("no-ssh", "A server becomes ACTIVE and its guest never answers.", "quirks.md §2.2"),
    KnownFault("late-address", "An ACTIVE server shows no address for a while.", "quirks.md §2.9"),
    KnownFault("no-address", "An ACTIVE server never shows an address.", "quirks.md §2.9"),
    KnownFault("active-error", "An ACTIVE server falls into ERROR.", "nodepool.md §4"),
    KnownFault(
        "active-stop",
        "An ACTIVE server falls into SHUTOFF: its host was rebooted.",
        "nodepool.md §4",
    ),
    KnownFault("deleted-by-person", "Somebody deletes a server of ours by hand.", "nodepool.md §4"),
    KnownFault(
        "renamed-by-person",
        "Somebody gives a server of ours another name.",
        "nova, PUT /servers/{id}",
    ),
    KnownFault(
        "rebuilt-by-person",
        "Somebody rebuilds a server: another guest, another host key.",
        "nova, rebuild",
    ),
    KnownFault(
        "port-deleted-by-person",
        "Somebody deletes the port of a server of ours.",
        "neutron, DELETE /ports",
    ),
    KnownFault(
        "floating-ip-deleted-by-person",
        "Somebody deletes the floating IP of a server of ours.",
        "neutron, DELETE /floatingips",
    ),
    KnownFault("stuck-delete", "A delete lasts very long.", "quirks.md §2.10"),
    KnownFault(
        "endless-delete",
        "A delete comes to no end until an operator resets the server.",
        "quirks.md §2.10",
    ),
    KnownFault(
        "delete-error",
        "A delete ends in ERROR; the next one works.",
        "realcloud: server ERROR: delete failed",
    ),
    KnownFault("delete-conflict", "A delete is answered 409 for a while.", "nova InstanceIsLocked"),
    KnownFault(
        "delete-vanish",
        "A server is not found for a while though it is there.",
        "quirks.md §2.10; stale cells",
    ),
    KnownFault("come-back", "A server that is gone is there again.", "quirks.md §2.10, zombies"),
    KnownFault("list-lag-s", "Lists show the past.", "quirks.md §2.9"),
    KnownFault(
        "down-cell-skipped",
        "Lists leave out the servers of a cell that is down.",
        "nova api-guide, Handling Down Cells",
    ),
    KnownFault(
        "down-cell-unknown",
        "Lists show servers of a cell that is down as UNKNOWN.",
        "nova api-guide, Handling Down Cells",
    ),
    KnownFault(
        "deleted-row-archived",
        "The row of a deleted server is archived at once.",
        "nova-manage db archive_deleted_rows",
    ),
    KnownFault(
        "deleted-row-never",
        "A server deleted before a cell has it leaves no row.",
        "met on a real nova 34",
    ),
    KnownFault(
        "updated-back",
        "A server's time of change moves backwards.",
        "databases of cells with clocks apart",
    ),
    KnownFault(
        "changes-since-ignored",
        "A list of changes shows everything there is.",
        "vendor-profiles.md",
    ),
    KnownFault(
        "changes-since-refused",
        "A list of changes is answered 400.",
        "gateways that check queries",
    ),
    KnownFault(
        "clock-skew-s",
        "The cloud's clock is minutes off, or is set.",
        "NTP lost on controllers",
    ),
    KnownFault(
        "leak-volume",
        "A volume that nova made stays when its server is gone.",
        "quirks.md §2.8, Vexxhost",
    ),
    KnownFault(
        "leak-unseen-volume",
        "Such a volume stays, and no server ever showed it.",
        "quirks.md §2.8, Vexxhost",
    ),
    KnownFault(
        "stuck-volume",
        "A delete of a volume ends in error_deleting.",
        "cinder, volume states",
    ),
    KnownFault(
        "leak-port",
        "A port that nova made stays, DOWN, when its server is gone.",
        "quirks.md §2.10",
    ),
    KnownFault(
        "floating-ip-delete-lies",
        "A delete of a floating IP is answered 204 and not done.",
        "quirks.md §2.10",
    ),
    KnownFault(
        "floating-ip-delete-missing",
        "A delete of a floating IP is answered 404 while it is there.",
        "nodepool.md §4",
    ),
    KnownFault(
        "floating-ip-delete-conflict",
        "A delete of a floating IP is answered 409.",
        "neutron, revision conflicts",
    ),
    KnownFault("quota-too-high", "The quota is told as more than it is.", "quirks.md §5"),
    KnownFault("quota-too-low", "The quota is told as less than it is.", "quirks.md §5"),
    KnownFault("quota-unlimited", "The quota is told as -1 and is not.", "quirks.md §5, Rackspace"),
    KnownFault("quota-refused", "The limits are answered 403.", "quirks.md §5"),
    KnownFault("quota-missing", "The limits are answered 404.", "quirks.md §5"),
    KnownFault("quota-changed", "The quota becomes smaller.", "quirks.md §5"),
    KnownFault("quota-stuck", "Instances that are gone still count.", "quirks.md §5, OVH 2016"),
    KnownFault("flavor-gone", "A flavor disappears.", "quirks.md §2.7"),
    KnownFault("image-gone", "An image disappears.", "quirks.md §4.4"),
    KnownFault("image-inactive", "An image is deactivated.", "glance, deactivate"),
    KnownFault("network-gone", "A network disappears.", "quirks.md §3.4"),
    KnownFault("zone-gone", "A zone disappears.", "quirks.md §2.3"),
    KnownFault(
        "zone-dead",
        "A zone is without power: guests do not answer, nothing is placed.",
        "quirks.md §10",
    ),
    KnownFault("strangers", "Somebody else works in the same project.", "quirks.md §5"),
    KnownFault(
        "same-name",
        "A stranger's server has the name of one of ours.",
        "nova names are not unique",
    ),
    KnownFault(
        "other-deployment",
        "A stranger's server carries another deployment's tag.",
        "design rule 1",
    ),
    KnownFault(
        "never-issued",
        "A server carries our deployment and a node id never issued.",
        "design rule 1",
    ),
)
"""In the cloud itself: servers, lists, quota, networks, volumes, images."""

IMAGES: Final = (
    KnownFault(
        "image-create-lost",
        "A create of an image, or of a task, is carried out, and its answer never comes.",
        "quirks.md §4.1: time-outs leak images",
    ),
    KnownFault(
        "image-stuck-queued",
        "An upload is answered well, and the image stays queued for ever.",
        "glance, an API process that ended",
    ),
    KnownFault(
        "image-stuck-saving",
        "An upload is answered well, or breaks, and the image stays saving for ever.",
        "glance, an API process that ended",
    ),
    KnownFault(
        "upload-dropped",
        "The connection of an upload breaks at a share of its body.",
        "quirks.md §4.5",
    ),
    KnownFault(
        "upload-hangs",
        "From a share of its body on nothing of an upload is taken, and nothing is answered.",
        "quirks.md §4.5, OVH 2016",
    ),
    KnownFault(
        "image-corrupted",
        "What is stored of an upload has other checksums than what was sent.",
        "glance, os_hash_value",
    ),
    KnownFault(
        "image-quota-full",
        "There is no room for an image: a create, or an upload, is answered 413.",
        "glance, image_count_total",
    ),
    KnownFault(
        "import-fails",
        "An import ends with the image queued again.",
        "glance, os_glance_failed_import",
    ),
    KnownFault(
        "task-fails-once",
        "A task fails with 396, and another one for the same object does not.",
        "quirks.md §4.1",
    ),
    KnownFault(
        "task-fails",
        "A task fails with 396, and so does every other one.",
        "quirks.md §4.1; Rackspace classic, Import errors",
    ),
    KnownFault("task-hangs", "A task is processing for ever.", "quirks.md §4.5"),
    KnownFault(
        "object-lost",
        "An object of the file store vanishes soon after it is there.",
        "swift, eventual consistency",
    ),
    KnownFault(
        "image-deleted-by-person",
        "Somebody deletes an image of ours by hand.",
        "nodepool.md §4",
    ),
    KnownFault("image-list-lag-s", "Lists of images show the past.", "quirks.md §4.1"),
    KnownFault(
        "image-undeletable",
        "A delete of an image is answered 409 for a while.",
        "glance, InUseByStore",
    ),
    KnownFault(
        "bad-image",
        "A server of a bad image never answers, or ends in ERROR.",
        "quirks.md §4.2, formats that never boot",
    ),
)
"""Images that the account makes: uploads, imports, tasks, lists, and servers of bad ones."""

HOST: Final = (
    KnownFault(
        "clock-jump",
        "The wall clock of the daemon's host is set, by seconds or by a day, while it runs.",
        "design §4: jumps of the wall clock do not move deadlines",
    ),
    KnownFault(
        "clock-set-while-down",
        "The wall clock is set while the daemon is down, so that it cannot tell.",
        "design §5b, rule 5",
    ),
    KnownFault(
        "clock-drift",
        "The wall clock gains or loses all the time, as nothing corrects it.",
        "design §4",
    ),
    KnownFault(
        "disk-full",
        "Nothing can be written: the daemon ends and cannot start until there is room.",
        "https://www.sqlite.org/rescode.html#full",
    ),
    KnownFault(
        "disk-read-only",
        "The file system takes no writes any more, as Linux does it after an error of the disk.",
        "https://www.sqlite.org/rescode.html#readonly",
    ),
    KnownFault(
        "disk-slow",
        "Each sync takes seconds; nothing is acknowledged before it is durable.",
        "design §4: a pass of the planner awaits its commit",
    ),
    KnownFault(
        "store-busy",
        "Another program holds the store, a backup tool for one; for over 30 s ends the daemon.",
        "https://www.sqlite.org/rescode.html#busy",
    ),
    KnownFault(
        "store-set-back",
        "An older copy of the store is put in its place.",
        "design §5b, rule 1",
    ),
    KnownFault(
        "store-moved",
        "An older copy of the store is put in its place, and all that lay beside it is gone.",
        "design §5b, rule 1",
    ),
    KnownFault(
        "password-rotated",
        "A password is changed at the cloud, its tokens end, and the daemon is told later.",
        "design §5b, rule 6",
    ),
    KnownFault(
        "changes",
        "The configuration is changed under way: providers dropped, renamed, limited, others.",
        "design §5b, rule 6",
    ),
    KnownFault(
        "kills",
        "The daemon is killed, at a moment, at a call, at a write or at an await.",
        "promise P10",
    ),
)
"""On our side: clock, disk, store, configuration, credentials, kills."""

ZUUL: Final = (
    KnownFault(
        "call-lost",
        "The connection to ZooKeeper breaks before a call of Trellis's arrives there.",
        "zuul.md §2.2",
    ),
    KnownFault(
        "answer-lost",
        "The connection to ZooKeeper breaks after a call of Trellis's was carried out.",
        "zuul.md §2.2",
    ),
    KnownFault(
        "session-lost",
        "Trellis's session with ZooKeeper ends, and its locks with it.",
        "zuul.md §6, trap 12",
    ),
    KnownFault(
        "cut-off",
        "Trellis cannot reach ZooKeeper for up to a minute.",
        "zuul.md §6, trap 12",
    ),
    KnownFault(
        "server-paused",
        "ZooKeeper does nothing for a while, and then may end sessions that were silent.",
        "https://zookeeper.apache.org/doc/r3.8.4/zookeeperProgrammers.html",
    ),
    KnownFault(
        "server-restarted",
        "ZooKeeper is stopped and started again; sessions outlive it.",
        "https://zookeeper.apache.org/doc/r3.8.4/zookeeperProgrammers.html",
    ),
    KnownFault(
        "executor-deaths",
        "An executor of Zuul's dies with all its jobs; its locks stay until its session expires.",
        "zuul.md §2.3",
    ),
)
"""Between Trellis and Zuul."""

CATALOGUE: Final = {fault.name: fault for fault in (*ROAD, *CLOUD, *IMAGES, *HOST, *ZUUL)}
