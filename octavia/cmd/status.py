# SPDX-License-Identifier: Apache-2.0
"""``octavia-status upgrade check``: is everything ready for this release?

Exit codes are oslo.upgradecheck's: 0 ready, 1 with warnings, 2 not ready, 255 the check itself failed
(contract: control-plane.md section 10).
"""

import sys
from collections.abc import Sequence
from typing import Any

from oslo_config import cfg
from oslo_upgradecheck import common_checks, upgradecheck

from octavia import config
from octavia.cmd.wiring import Wiring
from octavia.config import checks
from octavia.config.checks import Contradiction
from octavia.db import schema
from octavia.domain.errors import OctaviaError

_READY = upgradecheck.Result(upgradecheck.Code.SUCCESS)


class Checks(upgradecheck.UpgradeCommands):
    """What is checked, by the names under which it is shown."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        super().__init__()
        self._conf = conf

    def _configuration(self) -> Any:
        """Options that contradict each other, and drivers that there are not."""
        try:
            checks.check(self._conf)
            wiring = Wiring(self._conf)
            _ = wiring.network, wiring.compute
        except (Contradiction, OctaviaError, cfg.Error) as why:
            return upgradecheck.Result(upgradecheck.Code.FAILURE, str(why))
        return _READY

    def _schema(self) -> Any:
        """The revision of the database."""
        try:
            found = schema.revision(Wiring(self._conf).database.engine)
        except OctaviaError as why:
            return upgradecheck.Result(upgradecheck.Code.FAILURE, str(why))
        if found == schema.newest_revision():
            return _READY
        is_at = f"at {found}" if found else "empty"
        why_not = f"The database is {is_at}: run 'octavia-db-manage upgrade head'."
        return upgradecheck.Result(upgradecheck.Code.FAILURE, why_not)

    def _jobboard(self) -> Any:
        """Work in progress is in the database itself, so there is neither persistence nor a job board."""
        return _READY

    def _policy_file(self) -> Any:
        """The policy file is no JSON any more."""
        return common_checks.check_policy_json(self, self._conf)

    _upgrade_checks = (
        ("Configuration", _configuration),
        ("Database Schema", _schema),
        ("AmphoraV2 Check", _jobboard),
        ("Policy File JSON to YAML Migration", _policy_file),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code; what was found stands on standard output."""
    conf = cfg.ConfigOpts()
    config.register(conf)
    code: int = upgradecheck.main(
        conf, "octavia", Checks(conf), argv=list(sys.argv[1:] if argv is None else argv)
    )
    return code


if __name__ == "__main__":
    sys.exit(main())
