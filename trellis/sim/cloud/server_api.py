"""Nova's calls about servers."""

from typing import Any, Final

from trellis.sim.cloud.nova import check_metadata, microversion, object_in, refuse
from trellis.sim.cloud.routes import Call, Table
from trellis.sim.cloud.rows import BASE, detail, rendered, unknown
from trellis.sim.cloud.server_create import ServerCreate
from trellis.sim.cloud.server_lists import ServerLists
from trellis.sim.cloud.server_state import Server
from trellis.sim.cloud.servers import Servers
from trellis.sim.cloud.site import Site
from trellis.sim.cloud.wire import Response, answer, empty, json_object, raw_answer

_BROKEN: Final = (
    "Unexpected API Error. Please report this at http://bugs.launchpad.net/nova/ and attach the "
    "Nova API log if possible.\n<class 'nova.exception.NovaException'>"
)
_CONSOLE: Final = "Linux version 6.1 (sim)\nsshd: listening on port 22\nlogin:"


class ServerApi:
    """The handlers; `table` lists them."""

    def __init__(self, site: Site, servers: Servers, keypairs: dict[str, dict[str, Any]]) -> None:
        self._site = site
        self._servers = servers
        self._keypairs = keypairs

    def table(self) -> Table:
        """Method and pattern to handler."""
        site, servers = self._site, self._servers
        lists = ServerLists(site, servers)
        return {
            ("GET", "servers"): lists.brief,
            ("GET", "servers/detail"): lists.detail,
            ("POST", "servers"): ServerCreate(site, servers, self._keypairs).create,
            ("GET", "servers/*"): self.show,
            ("PUT", "servers/*"): self.update,
            ("DELETE", "servers/*"): self.delete,
            ("POST", "servers/*/action"): self.action,
            ("GET", "servers/*/metadata"): self.show_metadata,
            ("POST", "servers/*/metadata"): self.merge_metadata,
            ("PUT", "servers/*/metadata"): self.merge_metadata,
            ("GET", "servers/*/metadata/*"): self.show_metadata_item,
            ("DELETE", "servers/*/metadata/*"): self.delete_metadata_item,
            ("GET", "servers/*/os-interface"): self.interfaces,
            ("GET", "servers/*/os-security-groups"): self.security_groups,
            ("GET", "servers/*/os-volume_attachments"): self.volumes,
            ("GET", "servers/*/os-instance-actions"): self.instance_actions,
        }

    # -------------------------------------------------------------------------- one server

    def show(self, call: Call) -> Response:
        """``GET /servers/{id}``; a server that is gone is not found."""
        server, version = self._find(call, shows=True), microversion(call)
        if self._site.faults.down_cell_unknown and server.second_cell:
            return answer(200, {"server": unknown(self._site, server)})
        if version == BASE:
            row = rendered(self._site, server, server.now)
            return raw_answer(200, b'{"server":' + row + b"}")
        return answer(200, {"server": detail(self._site, server, server.now, version)})

    def update(self, call: Call) -> Response:
        """``PUT /servers/{id}``: another name."""
        server, wanted = self._find(call), object_in(call, "server")
        if "name" in wanted:
            self._servers.rename(server, str(wanted["name"]))
        row = detail(self._site, server, server.now, microversion(call))
        return answer(200, {"server": row})

    def delete(self, call: Call) -> Response:
        """``DELETE /servers/{id}``; fine while one is under way, 404 when it is gone."""
        server, site = self._find(call), self._site
        faults, now = site.faults, site.now
        going = server.now.task_state == "deleting"
        may_vanish = server.hidden_until is None and not going
        if may_vanish and site.befalls("delete-vanish", faults.delete_vanish):
            server.hidden_until = now + faults.delete_vanish_s
            raise refuse(404, f"Instance {server.id} could not be found.")
        may_refuse = server.refuses_until is None and not going
        if may_refuse and site.befalls("delete-conflict", faults.delete_conflict):
            server.refuses_until = now + faults.delete_conflict_s
        if server.refuses_until is not None and now < server.refuses_until:
            raise refuse(409, f"Instance {server.id} is locked")
        self._servers.delete(server, site.user)
        return empty(204)

    def action(self, call: Call) -> Response:
        """``POST /servers/{id}/action``."""
        server = self._find(call)
        body = json_object(call.request)
        name = next(iter(body), "") if body else ""
        if name == "os-getConsoleOutput":
            return answer(200, {"output": self._console(server, (body or {}).get(name))})
        if name not in ("reboot", "os-start", "os-stop"):
            raise refuse(400, f"There is no such action: {name}")
        verb = name.removeprefix("os-")
        look = server.now
        if look.task_state == "deleting":
            state = f"task_state {look.task_state}"
        elif look.vm_state == {"os-start": "stopped"}.get(name, "active"):
            if name != "reboot":
                self._servers.power(server, on=name == "os-start")
            return empty(202)
        else:
            state = f"vm_state {look.vm_state}"
        message = f"Cannot '{verb}' instance {server.id} while it is in {state}"
        raise refuse(409, message)

    def _console(self, server: Server, wanted: Any) -> str:
        if self._site.console is None:
            return _CONSOLE if server.launched is not None else ""
        output = self._site.console(server.id)
        lines = wanted.get("length") if isinstance(wanted, dict) else None
        return output if lines is None else "".join(output.splitlines(True)[-int(lines) :])

    # ---------------------------------------------------------------------------- metadata

    def show_metadata(self, call: Call) -> Response:
        """``GET /servers/{id}/metadata``."""
        return answer(200, {"metadata": self._find(call).metadata})

    def merge_metadata(self, call: Call) -> Response:
        """``POST`` adds to a server's metadata, ``PUT`` replaces it."""
        server, given = self._find(call), object_in(call, "metadata")
        check_metadata(given)
        if server.now.vm_state == "error":
            message = f"Cannot 'update metadata' instance {server.id} while it is in vm_state error"
            raise refuse(409, message)
        merged = {**server.metadata, **given} if call.request.method == "POST" else given
        self._servers.set_metadata(server, merged)
        return answer(200, {"metadata": merged})

    def show_metadata_item(self, call: Call) -> Response:
        """``GET /servers/{id}/metadata/{key}``."""
        server, key = self._find(call), call.segments[3]
        if key not in server.metadata:
            raise refuse(404, "Metadata item was not found")
        return answer(200, {"meta": {key: server.metadata[key]}})

    def delete_metadata_item(self, call: Call) -> Response:
        """``DELETE /servers/{id}/metadata/{key}``."""
        server, key = self._find(call), call.segments[3]
        if key not in server.metadata:
            raise refuse(404, "Metadata item was not found")
        left = {name: value for name, value in server.metadata.items() if name != key}
        self._servers.set_metadata(server, left)
        return empty(204)

    # ----------------------------------------------------------------------- what it has

    def interfaces(self, call: Call) -> Response:
        """``GET /servers/{id}/os-interface``."""
        ports = self._servers.network.ports_of.get(self._find(call).id, ())
        rows = [
            {
                "net_id": port.net.id,
                "port_id": port.id,
                "mac_addr": port.mac,
                "port_state": port.status,
                "fixed_ips": [{"subnet_id": port.net.subnet_id, "ip_address": port.ipv4}],
            }
            for port in ports
        ]
        return answer(200, {"interfaceAttachments": rows})

    def security_groups(self, call: Call) -> Response:
        """``GET /servers/{id}/os-security-groups``."""
        self._find(call)
        group = {"id": self._servers.network.security_group_id, "name": "default"}
        group |= {"description": "Default security group", "tenant_id": self._site.project_id}
        return answer(200, {"security_groups": [{**group, "rules": []}]})

    def volumes(self, call: Call) -> Response:
        """``GET /servers/{id}/os-volume_attachments``: what it booted from, if that is one."""
        server = self._find(call)
        rows = [
            {"id": volume, "volumeId": volume, "serverId": server.id, "device": "/dev/vda"}
            for volume in server.now.volumes
        ]
        return answer(200, {"volumeAttachments": rows})

    def instance_actions(self, call: Call) -> Response:
        """``GET /servers/{id}/os-instance-actions``: its create."""
        server = self._find(call)
        made = {
            "action": "create",
            "instance_uuid": server.id,
            "request_id": f"req-{server.id}",
            "user_id": self._site.user_id,
            "project_id": self._site.project_id,
            "start_time": self._site.timeline.long_stamp(server.created),
            "message": None,
        }
        return answer(200, {"instanceActions": [made]})

    # ------------------------------------------------------------------------------ checks

    def _find(self, call: Call, *, shows: bool = False) -> Server:
        server, site = self._servers.live.get(call.segments[1]), self._site
        hidden = server is not None and (server.hidden_until or 0.0) > site.now
        if server is None or hidden:
            raise refuse(404, f"Instance {call.segments[1]} could not be found.")
        faults = site.faults
        if server.second_cell and faults.down_cell_unknown:
            site.strike("down-cell-unknown")
            if not shows:
                raise refuse(500, _BROKEN)
        elif server.second_cell and faults.down_cell_skipped:
            site.strike("down-cell-skipped")
            raise refuse(500, _BROKEN)
        return server
