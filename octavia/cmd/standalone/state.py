# SPDX-License-Identifier: Apache-2.0
"""The state directory: what lies where, and who may remove it.

What the database or the drivers keep there is not here: see :mod:`octavia.config.standalone` for the paths.
"""

import os
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from octavia.cmd.standalone.errors import Refusal
from octavia.config.standalone import STATE_DIR
from octavia.drivers.local.installation import Installation
from octavia.drivers.local.storage import make_private_directory, write_private

ENVIRONMENT: Final = "OCTAVIA_STATE_DIR"
_MARKER: Final = "octavia-standalone"  # so that --purge never removes a directory that is not ours


def default_path() -> Path:
    """``$OCTAVIA_STATE_DIR``, or the usual place."""
    return Path(os.environ.get(ENVIRONMENT) or STATE_DIR)


@dataclass(frozen=True, slots=True)
class State:
    """One installation's directory; everything in it is root's alone."""

    path: Path

    @property
    def installation(self) -> Installation:
        """Whose bridges, veth pairs and routes are ours."""
        return Installation(self.path)

    @property
    def is_default(self) -> bool:
        """Is it the one that commands mean when nobody names another?"""
        return self.path == Path(STATE_DIR)

    @property
    def pid_file(self) -> Path:
        """Locked as long as the controller runs."""
        return self.path / "controller.pid"

    @property
    def log(self) -> Path:
        """What the controller logs; rotated."""
        return self.path / "controller.log"

    @property
    def output(self) -> Path:
        """What the controller prints beside its log: why it could not start."""
        return self.path / "controller.out"

    @property
    def clouds(self) -> Path:
        """``clouds.yaml`` for the client."""
        return self.path / "clouds.yaml"

    @property
    def demo(self) -> Path:
        """A directory a demo web server."""
        return self.path / "demo"

    def exists(self) -> bool:
        """Was it made by :meth:`make`?"""
        return (self.path / _MARKER).exists()

    def make(self) -> None:
        """:raises Refusal: there is something else at that path."""
        if self.exists():
            return
        # A configuration file may be put there before the first start.
        if self.path.exists() and not (
            self.path.is_dir() and {entry.name for entry in self.path.iterdir()} <= {"octavia.conf"}
        ):
            raise Refusal(f"{self.path} is not an empty directory: choose another one with --state-dir.")
        make_private_directory(self.path)
        self.path.chmod(0o700)
        write_private(self.path / _MARKER, b"made by octavia-standalone; down --purge removes all of it\n")

    def purge(self) -> None:
        """Remove it with everything in it; absent is a success.

        :raises Refusal: it is not ours.
        """
        if not self.path.exists():
            return
        if not self.exists():
            raise Refusal(
                f"{self.path} was not made by octavia-standalone: remove it by hand if you mean it."
            )
        shutil.rmtree(self.path)

    def secret(self, name: str, make: Callable[[], str] = lambda: secrets.token_hex(32)) -> str:
        """A secret that is made once, at the first start."""
        file = self.path / name
        if not file.exists():
            write_private(file, make().encode())
        return file.read_text()
