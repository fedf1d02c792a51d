# SPDX-License-Identifier: Apache-2.0
"""Section ``[healthcheck]``: what ``/healthcheck`` looks at. Names are oslo.middleware's."""

from typing import Final

from oslo_config import cfg, types

GROUP: Final = "healthcheck"

BACKENDS: Final = ("octavia_db_check", "disable_by_file", "disable_by_files_ports", "enable_by_files")

OPTIONS: Final = (
    cfg.ListOpt(
        "backends",
        default=["octavia_db_check"],
        item_type=types.String(choices=BACKENDS),
        help="What has to be well: octavia_db_check asks the database; disable_by_file and"
        " disable_by_files_ports look for files that must not be there, enable_by_files for files that must.",
    ),
    cfg.BoolOpt("detailed", default=False, help="Answer with what each back end found; for trusted callers."),
    cfg.ListOpt(
        "allowed_source_ranges",
        default=[],
        help="Networks whose callers are answered, such as 192.0.2.0/24; empty: everybody's. Others get 404.",
    ),
    cfg.BoolOpt("ignore_proxied_requests", default=False, help="Answer 404 to what came through a proxy."),
    cfg.StrOpt("disable_by_file_path", help="Back end disable_by_file: not well while this file exists."),
    cfg.ListOpt(
        "disable_by_file_paths",
        default=[],
        help="Back end disable_by_files_ports: port:path, not well on that port while the file exists.",
    ),
    cfg.ListOpt(
        "enable_by_file_paths", default=[], help="Back end enable_by_files: not well until all of them exist."
    ),
)
