# SPDX-License-Identifier: Apache-2.0
"""``clouds.yaml``: how the OpenStack clients find this API without Keystone."""

import os
from pathlib import Path
from typing import Final

from octavia.cmd.standalone.state import State

CLOUD: Final = "octavia"
SYSTEM_WIDE: Final = Path("/etc/openstack/clouds.yaml")
_MARK: Final = "# Written by octavia-standalone; 'octavia-standalone down --purge' removes it.\n"


def text(api_url: str) -> str:
    """No token; the API at the root, the network calls that turn names into ids below ``/network``."""
    return (
        f"{_MARK}"
        "clouds:\n"
        f"  {CLOUD}:\n"
        "    auth_type: none\n"
        "    auth:\n"
        f"      endpoint: {api_url}\n"
        f"    load_balancer_endpoint_override: {api_url}\n"
        f"    network_endpoint_override: {api_url}/network\n"
    )


def write(state: State, api_url: str, *, system_wide: Path = SYSTEM_WIDE) -> str | None:
    """Write it into the state directory; and where the client looks by itself, if nobody has one there.

    The client reads the first ``clouds.yaml`` that it finds and merges nothing, so one of the user's is left
    alone.

    :returns: the line to type before ``openstack --os-cloud octavia`` works; None if it works right away.
    """
    state.clouds.write_text(text(api_url))
    if state.is_default and (not system_wide.exists() or is_ours(system_wide)):
        system_wide.parent.mkdir(parents=True, exist_ok=True)
        system_wide.write_text(text(api_url))
        system_wide.chmod(0o644)  # it holds no secret, and whoever reached loopback may use the API anyway
        if not _found_before(system_wide):
            return None
    return f"export OS_CLIENT_CONFIG_FILE={state.clouds}"


def remove(state: State, *, system_wide: Path = SYSTEM_WIDE) -> None:
    """Take back what :func:`write` wrote outside of the state directory."""
    if state.is_default and is_ours(system_wide):
        system_wide.unlink()


def is_ours(file: Path) -> bool:
    """Was it written by :func:`write` and not changed into somebody's own since?"""
    try:
        return file.read_text().startswith(_MARK)
    except (FileNotFoundError, UnicodeDecodeError):
        return False


def _found_before(system_wide: Path) -> bool:
    """Does a user's file hide the system-wide one? (In the client's order.)"""
    if "OS_CLIENT_CONFIG_FILE" in os.environ:
        return True
    configuration_home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    folders = (Path.cwd(), configuration_home / "openstack", Path("/etc/xdg/openstack"))
    return any(
        (folder / f"clouds.{suffix}").exists()
        for folder in folders
        for suffix in ("yaml", "yml", "json")
        if folder / f"clouds.{suffix}" != system_wide
    )
