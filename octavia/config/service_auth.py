# SPDX-License-Identifier: Apache-2.0
"""Section ``[service_auth]``: as whom the controller asks the cloud's other services.

The options are keystoneauth's own (contract: config.md section 17). They are registered by whoever makes a
session of them, since importing that library costs more than all other sections together.
"""

from typing import Final

from oslo_config import cfg

GROUP: Final = "service_auth"
_PLUGINS: Final = ("password", "v2password", "v3password")


def register(conf: cfg.ConfigOpts) -> None:
    """Make them known to ``conf``, but for the ones of the plugin, which loading it makes known."""
    from keystoneauth1 import loading  # noqa: PLC0415

    loading.register_session_conf_options(conf, GROUP)
    loading.register_auth_conf_options(conf, GROUP)
    loading.register_adapter_conf_options(conf, GROUP, include_deprecated=False)


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Every one of them, with those of the plugins that a service account uses, for a sample file."""
    from keystoneauth1 import loading  # noqa: PLC0415

    every = [
        *loading.get_session_conf_options(),
        *loading.get_auth_common_conf_options(),
        *loading.get_adapter_conf_options(include_deprecated=False),
    ]
    for plugin in _PLUGINS:
        every += loading.get_auth_plugin_conf_options(plugin)
    return [(GROUP, list({option.dest: option for option in every}.values()))]
