# SPDX-License-Identifier: Apache-2.0
"""Callers that are told apart, and asked of the policies what they may do.

``keystone`` believes tokens, ``testing`` believes headers. What a token is worth is not decided here: see
:mod:`octavia.api.tokens`. What a rule says is not either: see :mod:`octavia.api.policies`.
"""

from dataclasses import dataclass
from typing import Any, Final

import falcon
from oslo_config import cfg
from oslo_context.context import RequestContext

from octavia.api.identity import NOBODY, Access, Identity, project_header
from octavia.api.policies.policy import Policy, enforcer
from octavia.api.tokens import TokenCheck

# The deployment's prefix may be a part of the path, or of what the server has cut off.
PREFIX: Final = "/load-balancer"
_OPEN: Final = ("/", "/healthcheck", "/openapi.json")
OPEN_PATHS: Final = frozenset({*_OPEN, *(PREFIX + path for path in _OPEN)})
"""What anybody may ask for, without a token."""

_POLICY_VALUES: Final = (
    "user_id",
    "user_domain_id",
    "system_scope",
    "domain_id",
    "project_id",
    "project_domain_id",
    "roles",
    "is_admin_project",
    "service_user_id",
    "service_user_domain_id",
    "service_project_id",
    "service_project_domain_id",
    "service_roles",
)


@dataclass(frozen=True, slots=True)
class Checked:
    """Policies apply.

    :param tokens: None: the headers that a token would be turned into are believed as they come.
    """

    policy: Policy
    tokens: TokenCheck | None

    def admit(self, req: falcon.Request, resp: falcon.Response) -> Identity:
        """A caller with a token, or anybody where none is needed."""
        # The browser asks before it has a token; nothing but which methods there are is answered.
        if req.method == "OPTIONS" or req.env.get("SCRIPT_NAME", "") + req.env["PATH_INFO"] in OPEN_PATHS:
            return NOBODY
        if self.tokens and not self.tokens.passes(req, resp):
            return NOBODY
        return self._from_headers(req.env)

    def allows(self, rule: str, caller: Identity, project_id: str | None) -> bool:
        """As the policies say; those who need no token may nothing."""
        credentials = dict(caller.credentials)
        return bool(credentials) and self.policy.allows(rule, credentials, project_id)

    def _from_headers(self, environ: dict[str, Any]) -> Identity:
        if self.tokens is None:
            project_header(environ)
        context = RequestContext.from_environ(environ)  # which log lines of this thread name from now on
        values = context.to_policy_values()
        # Without a value there is no key, so that no rule can compare None with None.
        credentials = {name: values[name] for name in _POLICY_VALUES if values[name] is not None}
        if context.system_scope:
            credentials["system"] = context.system_scope
        credentials["is_admin"] = context.is_admin = self.policy.is_admin(credentials)
        return Identity(
            project_id=context.project_id or None,
            is_admin=credentials["is_admin"],
            credentials=credentials,
        )


def from_config(conf: cfg.ConfigOpts) -> Access:
    """For ``auth_strategy`` = keystone, testing.

    :raises Terminal: the policy file cannot be read, or the identity service is not configured.
    """
    tokens = TokenCheck(conf) if conf.api_settings.auth_strategy == "keystone" else None
    return Checked(Policy(enforcer(conf)), tokens)
