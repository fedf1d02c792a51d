# SPDX-License-Identifier: Apache-2.0
"""Cross-origin resource sharing: which web pages may call the API from a browser (contract: api.md 1.3).

Nothing here protects the API: it is the browser that asks and obeys (https://fetch.spec.whatwg.org).
"""

from dataclasses import dataclass
from typing import Final

import falcon
from oslo_config import cfg

# Every page may set these.
_SIMPLE_HEADERS: Final = frozenset({"accept", "accept-language", "content-language", "content-type", "range"})
_OURS: Final = ("X-Auth-Token", "X-Openstack-Request-Id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cors:
    """Names are the options' of octavia.conf's section ``[cors]``."""

    allowed_origin: tuple[str, ...] = ()
    allow_credentials: bool = True
    expose_headers: tuple[str, ...] = _OURS
    max_age: int = 3600
    allow_methods: tuple[str, ...] = ("GET", "PUT", "POST", "DELETE")
    allow_headers: tuple[str, ...] = _OURS

    def answer(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Tell the browser what it may do; it hears nothing where that is nothing."""
        origin = req.get_header("Origin")
        if not origin or not self.allowed_origin:
            return
        resp.append_header("Vary", "Origin")
        if origin not in self.allowed_origin and "*" not in self.allowed_origin:
            return
        method = req.get_header("Access-Control-Request-Method")
        if req.method == "OPTIONS" and method:
            wanted = _names(req.get_header("Access-Control-Request-Headers"))
            if not self._allows(method, wanted):
                return
            resp.set_header("Access-Control-Max-Age", str(self.max_age))
            resp.set_header("Access-Control-Allow-Methods", method)
            if wanted:
                resp.set_header("Access-Control-Allow-Headers", ",".join(wanted))
        elif self.expose_headers:
            resp.set_header("Access-Control-Expose-Headers", ",".join(self.expose_headers))
        resp.set_header("Access-Control-Allow-Origin", origin if origin in self.allowed_origin else "*")
        # A browser ignores an answer that allows credentials to everybody.
        if self.allow_credentials and origin in self.allowed_origin:
            resp.set_header("Access-Control-Allow-Credentials", "true")

    def _allows(self, method: str, headers: tuple[str, ...]) -> bool:
        known = {name.lower() for name in self.allow_headers} | _SIMPLE_HEADERS
        return method in self.allow_methods and all(name.lower() in known for name in headers)


def _names(header: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (header or "").split(",") if name.strip())


def from_config(conf: cfg.ConfigOpts) -> Cors:
    """The section of a process's octavia.conf."""
    options = conf.cors
    return Cors(
        allowed_origin=tuple(options.allowed_origin or ()),
        allow_credentials=options.allow_credentials,
        expose_headers=tuple(options.expose_headers),
        max_age=options.max_age,
        allow_methods=tuple(options.allow_methods),
        allow_headers=tuple(options.allow_headers),
    )
