# SPDX-License-Identifier: Apache-2.0
"""Decides by the rules in force: the defaults, and what the operator's policy.yaml says instead.

The rules are oslo.policy's, read, parsed and kept up to date by its Enforcer. Only the walk through the trees
of checks is done here: the library inspects the signature of each check each time, which makes one decision
cost more than all the rest of a request's permission (see ``docs/operator/identity.md``).
"""

import argparse
import inspect
import logging
import sys
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from functools import cache
from threading import Lock
from time import monotonic
from typing import Any, Final, TypeAlias

from oslo_config import cfg
from oslo_policy.policy import AndCheck, Check, Enforcer, NotCheck, OrCheck, RuleCheck, Rules

from octavia.api.policies.calls import PREFIX, list_rules
from octavia.api.policies.roles import IS_ADMIN
from octavia.domain.errors import Terminal

_log = logging.getLogger(__name__)

Credentials: TypeAlias = MutableMapping[str, Any]
"""What rules know of a caller: oslo.context's policy values, and ``is_admin``."""

_LOOK_EVERY_S: Final = 1.0
_DEFAULT_FILE: Final = "policy.yaml"


class Policy:
    """The rules in force. A changed file is in force within a second.

    :raises Terminal: the policy file cannot be read.
    """

    def __init__(self, enforcer: Enforcer, clock: Callable[[], float] = monotonic) -> None:
        self._enforcer = enforcer
        self._clock = clock
        self._lock = Lock()
        self._complaint = ""
        try:
            enforcer.load_rules()
        except Exception as why:  # whatever a YAML parser and a file system may raise
            raise Terminal(
                f"[oslo_policy] policy_file = {enforcer.policy_file} cannot be read: {why}"
            ) from why
        self._rules = _copy(enforcer)
        self._looked_at = clock()

    def is_admin(self, credentials: Credentials) -> bool:
        """Is the caller an administrator, whatever the object?"""
        return self._holds(IS_ADMIN, {}, credentials)

    def allows(self, rule: str, credentials: Credentials, project_id: str | None) -> bool:
        """May the caller make that call on an object of that project?

        :param rule: without its prefix.
        :param project_id: None: of no project.
        """
        # Without a project there is no key, so that no rule can compare None with None.
        target = {} if project_id is None else {"project_id": project_id}
        return self._holds(PREFIX + rule, target, credentials)

    def _holds(self, name: str, target: Mapping[str, Any], credentials: Credentials) -> bool:
        self._look()
        rules, enforcer = self._rules, self._enforcer

        def holds(check: Any) -> bool:
            if isinstance(check, OrCheck):
                return any(map(holds, check.rules))
            if isinstance(check, AndCheck):
                return all(map(holds, check.rules))
            if isinstance(check, NotCheck):
                return not holds(check.rule)
            if isinstance(check, RuleCheck):
                return holds_named(check.match)
            more = (name,) if _wants_rule(check.__class__) else ()
            return bool(check(target, credentials, enforcer, *more))

        def holds_named(named: str) -> bool:
            try:
                check = rules[named]
            except KeyError:
                return False  # nobody wrote such a rule: nobody passes
            return holds(check)

        return holds_named(name)

    def _look(self) -> None:
        if self._clock() - self._looked_at < _LOOK_EVERY_S or not self._lock.acquire(blocking=False):
            return  # what is known is good enough, or somebody else is looking
        try:
            self._enforcer.load_rules()
            self._rules = _copy(self._enforcer)
            self._complaint = ""
        except Exception as why:
            if str(why) != self._complaint:
                _log.error("The policy file cannot be read; what it said before stays in force: %s", why)
            self._complaint = str(why)
        finally:
            self._looked_at = self._clock()
            self._lock.release()


def _copy(enforcer: Enforcer) -> Rules:
    """The enforcer's own change under the hands of those who read them."""
    return Rules(enforcer.rules, enforcer.default_rule)


@cache
def _wants_rule(kind: type[Check]) -> bool:
    """Old checks of third parties take no fourth argument."""
    return len(inspect.getfullargspec(kind.__call__).args) > 4


def enforcer(conf: cfg.ConfigOpts) -> Enforcer:
    """oslo.policy's, knowing our rules, for the files that a configuration names."""
    made = Enforcer(conf)
    # Whoever sets enforce_new_defaults = False knows that the old ones hold too.
    made.suppress_default_change_warnings = True
    made.register_defaults(list_rules())
    file = conf.oslo_policy.policy_file
    if file != _DEFAULT_FILE and not conf.find_file(file):
        _log.warning("[oslo_policy] policy_file = %s does not exist: the defaults are in force.", file)
    return made


def get_enforcer(argv: Sequence[str] | None = None) -> Enforcer:
    """The rules in force on this host, for oslopolicy-policy-generator and its kin.

    :param argv: their arguments, of which only the configuration's files are ours.
    """
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--config-file", action="append", default=[])
    parser.add_argument("--config-dir", action="append", default=[])
    known, _ = parser.parse_known_args(sys.argv[1:] if argv is None else argv)
    conf = cfg.ConfigOpts()
    conf(
        [],
        project="octavia",
        default_config_files=known.config_file or None,
        default_config_dirs=known.config_dir or None,
    )
    return enforcer(conf)
