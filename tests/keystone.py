# SPDX-License-Identifier: Apache-2.0
"""A real identity service for tests: Keystone on SQLite, with fernet tokens, on this machine's loopback.

It starts with an administrator, the roles that Keystone makes itself, and a catalogue that has Keystone.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from tests.scenario.standalone import eventually

_PROGRAMS: Final = Path(sys.executable).parent
_PASSWORD: Final = "of a test"
_READY_S: Final = 60.0
_DOMAIN: Final = "Default"
REGION: Final = "RegionOne"


@dataclass
class Keystone:
    """Asked as its administrator.

    :ivar url: of version 3.
    """

    folder: Path
    url: str
    process: "subprocess.Popen[bytes]"
    _ids: dict[tuple[str, str], str] = field(default_factory=dict)
    _token: str | None = None

    def credentials(self, user: str, project: str) -> dict[str, str]:
        """What keystoneauth's plugin ``password`` wants to know."""
        return {
            "auth_url": self.url,
            "username": user,
            "password": _PASSWORD,
            "user_domain_name": _DOMAIN,
            "project_name": project,
            "project_domain_name": _DOMAIN,
        }

    def authtoken(self) -> Mapping[str, object]:
        """Section ``[keystone_authtoken]`` of a service."""
        self.ensure_user("octavia", "service", "admin")
        service = self.credentials("octavia", "service")
        return {"auth_type": "password", "www_authenticate_uri": self.url, **service}

    def ensure_user(self, user: str, project: str, *roles: str) -> None:
        """A user with these roles in a project; whatever is missing is made."""
        user_id = self._named("users", "user", user, password=_PASSWORD, default_project_id=None)
        project_id = self.project_id(project)
        for role in roles:
            role_id = self._named("roles", "role", role)
            self.ask("PUT", f"/projects/{project_id}/users/{user_id}/roles/{role_id}")

    def project_id(self, name: str) -> str:
        """Of a project that there is from now on."""
        return self._named("projects", "project", name)

    def system_role(self, user: str, role: str) -> None:
        """A role on the whole system."""
        role_id = self._named("roles", "role", role)
        self.ask("PUT", f"/system/users/{self._ids['users', user]}/roles/{role_id}")

    def register(self, service_type: str, name: str, url: str) -> None:
        """Enter a service into the catalogue."""
        body = {"type": service_type, "name": name, "enabled": True}
        service = self.ask("POST", "/services", {"service": body})["service"]
        endpoint = {"service_id": service["id"], "interface": "public", "region_id": REGION, "url": url}
        self.ask("POST", "/endpoints", {"endpoint": endpoint})

    def token(self, user: str, scope: Mapping[str, Any] | None = None, **method: Any) -> str:
        """A token of a user.

        :param scope: such as ``{"project": {"id": …}}``; None: of nothing.
        :param method: another way than the password.
        """
        domain = {"name": _DOMAIN}
        password = {"user": {"name": user, "domain": domain, "password": _PASSWORD}}
        auth: dict[str, Any] = {"identity": {"methods": ["password"], "password": password}}
        if method:
            auth["identity"] = {"methods": list(method), **method}
        else:
            auth["scope"] = scope or "unscoped"
        answer = httpx.post(f"{self.url}/auth/tokens", json={"auth": auth}, timeout=60)
        assert answer.status_code == 201, answer.text
        return answer.headers["X-Subject-Token"]

    def revoke(self, token: str) -> None:
        """From now on it is worth nothing here; services may remember it for a while."""
        self.ask("DELETE", "/auth/tokens", subject=token)

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        subject: str | None = None,
        token: str | None = None,
    ) -> Any:
        """A request of the administrator, or of the token's owner."""
        if token is None:
            if self._token is None:
                self._token = self.token("admin", {"project": {"name": "admin", "domain": {"name": _DOMAIN}}})
            token = self._token
        headers = {"X-Auth-Token": token} | ({"X-Subject-Token": subject} if subject else {})
        answer = httpx.request(method, self.url + path, json=body, headers=headers, timeout=60)
        assert answer.is_success, (method, path, answer.text)
        return answer.json() if answer.content else None

    def _named(self, plural: str, root: str, name: str, **values: object) -> str:
        if (plural, name) not in self._ids:
            found = self.ask("GET", f"/{plural}?name={name}")[plural]
            if not found:
                found = [self.ask("POST", f"/{plural}", {root: {"name": name, **values}})[root]]
            self._ids[plural, name] = found[0]["id"]
        return self._ids[plural, name]


@contextmanager
def keystone(folder: Path) -> Iterator[Keystone]:
    """One that answers."""
    listening = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}/v3"
    conf = _configure(folder)
    for command in (
        ["db_sync"],
        ["fernet_setup", "--keystone-user", str(os.getuid()), "--keystone-group", str(os.getgid())],
        [
            "bootstrap",
            f"--bootstrap-password={_PASSWORD}",
            f"--bootstrap-region-id={REGION}",
            *(f"--bootstrap-{interface}-url={url}" for interface in ("public", "internal", "admin")),
        ],
    ):
        _run([str(_PROGRAMS / "keystone-manage"), "--config-file", str(conf), *command], folder)
    # Keystone reads the arguments of the process for its own, so the server has none.
    (folder / "gunicorn.conf.py").write_text(
        f"wsgi_app = 'keystone.wsgi.api:application'\nbind = 'fd://{listening.fileno()}'\nthreads = 4\n"
        "control_socket_disable = True\n"
    )
    with (folder / "keystone.out").open("wb") as output:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", _PROGRAMS / "gunicorn"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OS_KEYSTONE_CONFIG_FILES": str(conf)},
            pass_fds=[listening.fileno()],
            start_new_session=True,
        )
    listening.close()
    try:
        _await(process, url, folder)
        yield Keystone(folder, url, process)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _configure(folder: Path) -> Path:
    for name in ("fernet", "credential"):
        (folder / name).mkdir(mode=0o700)
    conf = folder / "keystone.conf"
    conf.write_text(
        "[DEFAULT]\nuse_stderr = true\n"
        f"[database]\nconnection = sqlite:///{folder}/keystone.db\n"
        f"[fernet_tokens]\nkey_repository = {folder}/fernet\n"
        f"[fernet_receipts]\nkey_repository = {folder}/fernet\n"
        f"[credential]\nkey_repository = {folder}/credential\n"
        "[identity]\npassword_hash_rounds = 4\n"  # nobody guesses these
        "[cache]\nenabled = false\n"  # so that what is revoked is revoked
    )
    return conf


def _run(command: Sequence[str], folder: Path) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr[-2000:]


def _await(process: "subprocess.Popen[bytes]", url: str, folder: Path) -> None:
    def answers() -> bool:
        assert process.poll() is None, (folder / "keystone.out").read_text(errors="replace")[-2000:]
        try:
            return httpx.get(url, timeout=10).status_code == 200
        except httpx.TransportError:
            return False

    eventually(answers, within=_READY_S, what="Keystone does not answer")
