# SPDX-License-Identifier: Apache-2.0
"""Section ``[controller_worker]``: turning load balancers into amphorae."""

from typing import Final

from oslo_config import cfg

GROUP: Final = "controller_worker"

OPTIONS: Final = (
    cfg.IntOpt("workers", default=1, min=1, help="Worker processes."),
    cfg.IntOpt("amp_active_retries", default=30, help="Polls for the instance to become ACTIVE."),
    cfg.IntOpt("amp_active_wait_sec", default=10, help="Seconds between polls."),
    cfg.StrOpt("amp_flavor_id", default="", help="Nova flavor (octavia flavor compute_flavor overrides)."),
    cfg.StrOpt(
        "amp_image_tag",
        default="",
        help="Glance tag to look the image up by (octavia flavor amp_image_tag overrides).",
    ),
    cfg.StrOpt("amp_image_owner_id", default="", help="Only images of this project."),
    cfg.StrOpt("amp_ssh_key_name", default="", help="Nova keypair; empty = none."),
    cfg.StrOpt(
        "amp_timezone",
        default="UTC",
        help="Zone name rendered into cloud-init / sent in the agent configuration.",
    ),
    cfg.ListOpt(
        "amp_boot_network_list", default=[], help="Ordered network ids; the first is the management network."
    ),
    cfg.ListOpt("amp_secgroup_list", default=[], help="Security-group ids for the management port."),
    cfg.StrOpt(
        "client_ca",
        default="/etc/octavia/certs/ca_01.pem",
        help="Controller path of the CA given to the amphora as its client CA.",
    ),
    cfg.StrOpt(
        "amphora_driver",
        default="amphora_haproxy_rest_driver",
        help="Entry point in octavia.amphora.drivers.",
    ),
    cfg.StrOpt(
        "compute_driver", default="compute_nova_driver", help="Entry point in octavia.compute.drivers."
    ),
    cfg.StrOpt(
        "network_driver",
        default="allowed_address_pairs_driver",
        help="Entry point in octavia.network.drivers.",
    ),
    cfg.StrOpt(
        "volume_driver",
        default="volume_noop_driver",
        choices=["volume_noop_driver", "volume_cinder_driver"],
        help="Entry point in octavia.volume.drivers.",
    ),
    cfg.StrOpt(
        "image_driver",
        default="image_glance_driver",
        choices=["image_noop_driver", "image_glance_driver"],
        help="Entry point in octavia.image.drivers.",
    ),
    cfg.StrOpt(
        "distributor_driver",
        default="distributor_noop_driver",
        help="Entry point in octavia.distributor.drivers.",
    ),
    cfg.ListOpt(
        "statistics_drivers",
        default=["stats_db"],
        help="Entry points in octavia.statistics.drivers, all called.",
    ),
    cfg.StrOpt(
        "loadbalancer_topology",
        default="SINGLE",
        choices=["ACTIVE_STANDBY", "SINGLE"],
        mutable=True,
        help="Topology of LBs whose flavor sets none; also what the agent itself reads from its"
        " injected file.",
    ),
    cfg.BoolOpt(
        "user_data_config_drive",
        default=False,
        deprecated_for_removal=True,
        deprecated_reason="the size limit of user data makes it unusable",
        help="Put the files that amphorae are given files in cloud-init user data rather than"
        " personality (too small in practice; announced for removal).",
    ),
    cfg.IntOpt("amphora_delete_retries", default=5, help="Attempts when deleting an instance in a failover."),
    cfg.IntOpt("amphora_delete_retry_interval", default=5, help="Seconds between them."),
    cfg.BoolOpt("event_notifications", default=True, help="Emit LB events."),
    cfg.IntOpt(
        "db_commit_retry_attempts", default=2000, help="Attempts for final status writes (about 2 h 45 m)."
    ),
    cfg.IntOpt("db_commit_retry_initial_delay", default=1, help="First wait, seconds."),
    cfg.IntOpt("db_commit_retry_backoff", default=1, help="Added per retry."),
    cfg.IntOpt("db_commit_retry_max", default=5, help="Longest wait."),
    # Ours, in addition to the options that operators know.
    cfg.IntOpt(
        "worker_threads",
        default=4,
        min=1,
        help="Load balancers that one worker process reconciles at the same time.",
    ),
    cfg.IntOpt(
        "lease_seconds",
        default=30,
        min=5,
        help="How long a worker owns a load balancer without renewing; after a crash another takes"
        " over then.",
    ),
    cfg.IntOpt(
        "sweep_seconds",
        default=2,
        min=1,
        help="How often a worker looks for work though nobody rang: how long work waits at most where there"
        " is no message bus, or while it is away.",
    ),
    cfg.IntOpt(
        "reconcile_deadline",
        default=300,
        min=1,
        help="Seconds from the oldest write that is not live yet until the object turns ERROR with a"
        " reason. Retries go on after it.",
    ),
)
