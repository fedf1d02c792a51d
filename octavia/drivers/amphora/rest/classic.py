# SPDX-License-Identifier: Apache-2.0
"""REST 1.0 without our extensions: a call a file, and a real reload with each change."""

import contextlib
import hashlib

from octavia.dataplane.keepalived.model import UnsafeWord
from octavia.dataplane.l4 import lvs
from octavia.dataplane.l4.model import L4Config
from octavia.domain.errors import Terminal
from octavia.domain.tree import Amphora
from octavia.drivers.amphora.contract import Applied, Configuration, Lacks
from octavia.drivers.amphora.rest import answers
from octavia.drivers.amphora.rest.http import Http
from octavia.wire import agent as wire


class Classic:
    """Applies configurations by the calls that every agent knows."""

    def __init__(self, http: Http, base_path: str) -> None:
        self._http = http
        self._base_path = base_path

    def apply(self, amphora: Amphora, configuration: Configuration, fence: int) -> Applied:
        """Make it live, file by file.

        :raises Lacks: the amphora has no file under a name whose content was not given.
        """
        load_balancer_id = configuration.load_balancer_id
        if configuration.haproxy is None:
            self._http.send(amphora, "DELETE", wire.path_listener(load_balancer_id), fence=fence)
        else:
            for name, content in configuration.certificates.items():
                self._upload_certificate(amphora, load_balancer_id, name, content, fence)
            self._http.send(
                amphora,
                "PUT",
                wire.path_haproxy(amphora.id, load_balancer_id),
                content=configuration.haproxy.encode(),
                fence=fence,
                generation=configuration.generation,
                refusing=True,
            )
            # A reload of what does not run yet starts it.
            self._http.send(amphora, "PUT", wire.path_action(load_balancer_id, "reload"), fence=fence)
        self.apply_lvs(amphora, configuration.l4, fence)
        if configuration.keepalived is not None:
            text = configuration.keepalived.encode()
            self._http.send(amphora, "PUT", wire.PATH_VRRP_UPLOAD, content=text, fence=fence)
            # A start of what runs already reloads it.
            self._http.send(amphora, "PUT", wire.path_vrrp("start"), fence=fence)
        reason = "this agent reloads with every change" if configuration.haproxy is not None else None
        return Applied(generation=configuration.generation, reload_reason=reason)

    def apply_lvs(self, amphora: Amphora, wanted: L4Config | None, fence: int) -> None:
        """UDP and SCTP listeners by keepalived's LVS: a file each; those that went are deleted."""
        try:
            texts = lvs.render(wanted, base_path=self._base_path) if wanted else {}
        except UnsafeWord as error:  # everything else in it went through a parser
            option = f"[haproxy_amphora] base_path = {self._base_path}"
            raise Terminal(f"{option} cannot be told keepalived") from error
        for listener_id in self._lvs_listeners(amphora) - texts.keys():
            self._http.send(amphora, "DELETE", wire.path_listener(listener_id), fence=fence)
        for listener_id, text in texts.items():
            path = wire.path_udp_listener(listener_id)
            present = self._http.send(amphora, "GET", path, also_fine=(404,))
            if present.is_success and present.text == text:
                continue
            path = wire.path_put_udp_listener(amphora.id, listener_id)
            self._http.send(amphora, "PUT", path, content=text.encode(), fence=fence)
            # It restarts: a reload would forget the members (contract: amphora-agent.md section 3).
            self._http.send(amphora, "PUT", wire.path_action(listener_id, "reload"), fence=fence)

    def _lvs_listeners(self, amphora: Amphora) -> frozenset[str]:
        response = self._http.send(amphora, "GET", wire.PATH_LISTENERS)
        with contextlib.suppress(ValueError, TypeError, KeyError):
            return frozenset(str(one["uuid"]) for one in response.json() if one["type"] == "UDP")
        return frozenset()

    def _upload_certificate(
        self, amphora: Amphora, load_balancer_id: str, name: str, content: bytes | None, fence: int
    ) -> None:
        """Unless the agent has the same already. :raises Lacks: it has not got what was not given."""
        path = wire.path_certificate(load_balancer_id, name)
        present = self._http.send(amphora, "GET", path, also_fine=(404,))
        if content is None:
            if present.status_code == 404:
                raise Lacks(amphora.id, [name])
            return
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if present.status_code == 404 or answers.body(present).get("md5sum") != md5:
            self._http.send(amphora, "PUT", path, content=content, fence=fence)
