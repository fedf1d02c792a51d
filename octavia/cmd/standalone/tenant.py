# SPDX-License-Identifier: Apache-2.0
"""The tenant of the demo: the real ``openstack`` command, unmodified."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from octavia.cmd.standalone.clouds import CLOUD
from octavia.cmd.standalone.errors import Refusal
from octavia.cmd.standalone.narrator import Narrator


class Tenant:
    """Types commands, and shows what was typed."""

    def __init__(self, clouds: Path, narrator: Narrator) -> None:
        self._program = find_client()
        self._narrator = narrator
        # Whatever cloud the caller usually works with is none of the demo's business.
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
        self._environment |= {"OS_CLIENT_CONFIG_FILE": str(clouds), "OS_CLOUD": CLOUD}

    def run(self, *words: str) -> dict[str, Any]:
        """``openstack WORDS``; what it answers, as an object.

        :raises Refusal: the command failed; with what it printed.
        """
        self._narrator.say(f"$ openstack {shlex.join(words)}")
        done = subprocess.run(
            [self._program, *words, "-f", "json"],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        if done.returncode != 0:
            raise Refusal(f"'openstack {shlex.join(words)}' failed: {done.stderr.strip()}")
        found = json.loads(done.stdout) if done.stdout.strip() else {}
        if not isinstance(found, dict):
            raise Refusal(f"'openstack {shlex.join(words)}' answered a list instead of an object.")
        return found


def find_client() -> str:
    """The ``openstack`` command beside this Python, or in PATH.

    :raises Refusal: there is none.
    """
    beside = Path(sys.executable).parent / "openstack"
    found = str(beside) if beside.exists() else shutil.which("openstack")
    if found is None:
        raise Refusal(
            "the openstack command is missing: install it with \"pip install 'octavia[standalone]'\","
            " or leave the demo out with --no-demo."
        )
    return found
