# SPDX-License-Identifier: Apache-2.0
"""Section ``[task_flow]``: the engine that runs the steps of a pass."""

from typing import Final

from oslo_config import cfg

GROUP: Final = "task_flow"

OPTIONS: Final = (
    cfg.StrOpt("engine", default="parallel", choices=["serial", "parallel"], help="TaskFlow engine."),
    cfg.IntOpt("max_workers", default=5, help="Thread pool of the parallel engine."),
    cfg.BoolOpt("disable_revert", default=False, help="Debugging aid: failed flows are left as they fell."),
    cfg.StrOpt(
        "persistence_connection",
        default="sqlite://",
        secret=True,
        help="SQLAlchemy URL of the TaskFlow persistence database (separate from Octavia's).",
    ),
    cfg.BoolOpt(
        "jobboard_enabled", default=False, help="Run flows as claimed jobs that another worker can resume."
    ),
    cfg.StrOpt(
        "jobboard_backend_driver",
        default="redis_taskflow_driver",
        help="Entry point in octavia.worker.jobboard_driver: redis_taskflow_driver,"
        " zookeeper_taskflow_driver, etcd_taskflow_driver.",
    ),
    cfg.ListOpt(
        "jobboard_backend_hosts",
        default=["127.0.0.1"],
        help="Hosts; redis uses the first (others become sentinel fallbacks), etcd only the first,"
        " zookeeper all.",
    ),
    cfg.PortOpt("jobboard_backend_port", default=6379, help="Port (set 2181 / 2379 for the others)."),
    cfg.StrOpt("jobboard_backend_username", help="Redis user."),
    cfg.StrOpt("jobboard_backend_password", secret=True, help="Redis password."),
    cfg.StrOpt(
        "jobboard_backend_namespace", default="octavia_jobboard", help="Board name / key prefix / path."
    ),
    cfg.IntOpt("jobboard_redis_backend_db", default=0, min=0, help="Redis database number."),
    cfg.StrOpt("jobboard_redis_sentinel", help="Sentinel service name."),
    cfg.StrOpt("jobboard_redis_sentinel_username", help="Sentinel user."),
    cfg.StrOpt("jobboard_redis_sentinel_password", secret=True, help="Sentinel password."),
    cfg.DictOpt(
        "jobboard_redis_backend_ssl_options",
        default={
            "ssl": "False",
            "ssl_keyfile": "None",
            "ssl_certfile": "None",
            "ssl_ca_certs": "None",
            "ssl_cert_reqs": "required",
        },
        help="Redis TLS settings.",
    ),
    cfg.DictOpt(
        "jobboard_redis_sentinel_ssl_options",
        default={
            "ssl": "False",
            "ssl_keyfile": "None",
            "ssl_certfile": "None",
            "ssl_ca_certs": "None",
            "ssl_cert_reqs": "required",
        },
        help="Sentinel TLS settings.",
    ),
    cfg.DictOpt(
        "jobboard_zookeeper_ssl_options",
        default={
            "use_ssl": "False",
            "keyfile": "None",
            "keyfile_password": "None",
            "certfile": "None",
            "verify_certs": "True",
        },
        help="Zookeeper TLS settings, applied only with use_ssl.",
    ),
    cfg.DictOpt(
        "jobboard_etcd_ssl_options",
        default={"use_ssl": "False", "ca_cert": "None", "cert_key": "None", "cert_cert": "None"},
        help="Etcd TLS settings, applied only with use_ssl (then protocol https).",
    ),
    cfg.IntOpt("jobboard_etcd_timeout", help="Etcd client timeout, seconds."),
    cfg.StrOpt("jobboard_etcd_api_path", help="Etcd gateway path prefix."),
    cfg.IntOpt("jobboard_expiration_time", default=30, help="Claim lifetime in seconds (redis, etcd)."),
    cfg.BoolOpt("jobboard_save_logbook", default=False, help="Keep finished logbooks."),
)
