# SPDX-License-Identifier: Apache-2.0
"""octavia.conf: one module a section, each a table of options.

Names, types and defaults are the ones that operators know. A process calls :func:`load` once and hands each
part what it needs. What an option *does* is not here: see the package that reads it.
"""

from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeAlias

from oslo_config import cfg
from oslo_log import log

from octavia.config import (
    amphora_agent,
    api_settings,
    audit,
    certificates,
    checks,
    compute,
    controller_worker,
    cors,
    database,
    default,
    driver_agent,
    haproxy_amphora,
    health_manager,
    healthcheck,
    house_keeping,
    keepalived_vrrp,
    networking,
    oslo_messaging,
    oslo_middleware,
    quotas,
    service_auth,
    standalone,
    task_flow,
)

SECTIONS: Final = (
    default,
    amphora_agent,
    api_settings,
    audit,
    certificates,
    compute,
    controller_worker,
    cors,
    driver_agent,
    haproxy_amphora,
    health_manager,
    healthcheck,
    house_keeping,
    keepalived_vrrp,
    networking,
    oslo_messaging,
    oslo_middleware,
    quotas,
    standalone,
    task_flow,
)

Defaults: TypeAlias = Mapping[tuple[str, str], object]
"""(section, option) to the default that one program wants instead of the table's."""

NO_DEFAULTS: Final[Defaults] = MappingProxyType({})


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Every option with its section, for ``oslo-config-generator --namespace octavia``.

    oslo.db's and oslo.log's options come from those libraries' own namespaces.
    """
    own = [(section.GROUP, list(section.OPTIONS)) for section in SECTIONS]
    return [*own, *service_auth.list_opts()]


def register(conf: cfg.ConfigOpts) -> None:
    """Make every option known to ``conf``; again changes nothing.

    Third-party provider drivers read the process-global ``oslo_config.cfg.CONF``: a process that hosts them
    registers on that one.
    """
    for section in SECTIONS:
        conf.register_opts(section.OPTIONS, group=None if section.GROUP == "DEFAULT" else section.GROUP)
    database.register(conf)


def load(
    argv: Sequence[str],
    *,
    program: str,
    defaults: Defaults = NO_DEFAULTS,
    files: Sequence[str] | None = None,
    conf: cfg.ConfigOpts | None = None,
) -> cfg.ConfigOpts:
    """Read the configuration of one process.

    :param argv: arguments after the program's name; ``--config-file`` there replaces every other file.
    :param program: name in ``--version`` and in the search for ``<program>.conf``.
    :param files: read these instead of searching ``~/.octavia``, ``~``, ``/etc/octavia`` and ``/etc``.
    :param conf: fill this one (the global, where third-party drivers run) instead of a new one.
    :raises SystemExit: bad arguments, a value of the wrong type, ``--help`` or ``--version``.
    :raises octavia.config.checks.Contradiction: two options that cannot both be meant.
    """
    conf = _parse(argv, program=program, defaults=defaults, files=files, conf=conf)
    checks.check(conf)
    return conf


def _parse(
    argv: Sequence[str],
    *,
    program: str,
    defaults: Defaults = NO_DEFAULTS,
    files: Sequence[str] | None = None,
    conf: cfg.ConfigOpts | None = None,
) -> cfg.ConfigOpts:
    conf = cfg.ConfigOpts() if conf is None else conf
    conf.clear()  # the global one may have been filled before, and takes no options of command lines then
    register(conf)
    log.register_options(conf)
    # A line a request to an agent is for those who look for it.
    log.set_defaults(default_log_levels=[*log.get_default_log_levels(), "httpx=WARNING", "alembic=WARNING"])
    for (section, option), value in defaults.items():
        conf.set_default(option, value, group=None if section == "DEFAULT" else section)
    conf(
        list(argv),
        project="octavia",
        prog=program,
        version=f"{program} {version()}",
        default_config_files=None if files is None else list(files),
        default_config_dirs=None if files is None else [],
    )
    return conf


def load_standalone(
    argv: Sequence[str],
    state_dir: Path,
    *,
    program: str = "octavia-standalone",
    more: Defaults = NO_DEFAULTS,
) -> cfg.ConfigOpts:
    """The configuration of everything in one process: standalone's defaults, then ``<state>/octavia.conf``.

    Files of ``/etc/octavia`` are not read: they are a production's on the same machine.

    :param more: further defaults, such as secrets of this installation.
    :raises: as :func:`load`.
    """
    file = state_dir / "octavia.conf"
    files = [str(file)] if file.exists() else []
    # Twice, since the controller's address is a default that follows from an option.
    first = _parse(argv, program=program, files=files)
    chosen = standalone.defaults(state_dir, first.standalone.management_cidr)
    return load(argv, program=program, files=files, defaults={**chosen, **more})


def version() -> str:
    """The package's version; ``unknown`` when it runs from a tree that nobody installed."""
    try:
        return metadata.version("octavia")
    except metadata.PackageNotFoundError:
        return "unknown"
