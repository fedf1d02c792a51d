# SPDX-License-Identifier: Apache-2.0
"""The certificates of one load balancer on the disk: what HAProxy reads when it starts.

Files 0600, replaced one by one in one step each. A trial directory holds wanted ones while HAProxy validates
a configuration that names them. What to tell a running HAProxy is not here: see
:mod:`octavia.dataplane.haproxy.certificates`.
"""

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path

from octavia.amphora_agent import durable
from octavia.wire.agent import CertificateFile

Files = Mapping[str, bytes]


class Missing(Exception):
    """The controller named files by their digests alone, and they are not here.

    :ivar names: of all of them.
    """

    def __init__(self, names: list[str]) -> None:
        super().__init__(f"{', '.join(names)} missing")
        self.names = names


class CertificateDirectory:
    """The directory of one load balancer; it may not exist."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._trial = path.with_name(f"{path.name}.trial")

    def read(self) -> dict[str, bytes]:
        """What is there."""
        names = sorted(self.path.glob("*.pem")) if self.path.exists() else ()
        return {one.name: one.read_bytes() for one in names if not one.name.startswith(".")}

    def resolve(self, wanted: Mapping[str, CertificateFile]) -> dict[str, bytes]:
        """The content of what a controller wants here, sent along or here already.

        :raises Missing: something is neither.
        """
        present = self.read()
        files, missing = {}, []
        for name, file in wanted.items():
            if file.content is not None:
                files[name] = file.content.encode()
            elif name in present and file.sha256 in (None, digest(present[name])):
                files[name] = present[name]
            else:
                missing.append(name)
        if missing:
            raise Missing(missing)
        return files

    def write(self, files: Files) -> None:
        """Have these there; others stay until :meth:`keep_only`. Lists come after what they name."""
        if files:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        present = self.read()
        for name in sorted(files, key=lambda one: str(self.path).encode() in files[one]):
            if present.get(name) != files[name]:
                durable.write(self.path / name, files[name])

    def keep_only(self, files: Files) -> None:
        """Remove the others: nothing reads them any more."""
        for name in self.read():
            if name not in files:
                (self.path / name).unlink(missing_ok=True)

    def remove(self) -> None:
        """Nothing of the load balancer is left."""
        for path in (self.path, self._trial):
            shutil.rmtree(path, ignore_errors=True)

    # --- for validating a configuration before its files are in their places ---------------------

    def try_out(self, files: Files, text: str) -> str:
        """Put files into the trial directory; the configuration that names them there."""
        shutil.rmtree(self._trial, ignore_errors=True)
        self._trial.mkdir(mode=0o700, parents=True)
        for name, content in files.items():
            there = content.replace(f"{self.path}/".encode(), f"{self._trial}/".encode())
            durable.write(self._trial / name, there)
        return text.replace(f"{self.path}/", f"{self._trial}/")

    def end_trial(self, output: str) -> str:
        """Remove the trial directory; HAProxy's words with the real paths."""
        self.remove_trial()
        return output.replace(f"{self._trial}/", f"{self.path}/")

    def remove_trial(self) -> None:
        """Also that of a killed agent: there are keys in it."""
        shutil.rmtree(self._trial, ignore_errors=True)


def digest(content: bytes) -> str:
    """By which controller and agent see that a file is the same."""
    return hashlib.sha256(content).hexdigest()
