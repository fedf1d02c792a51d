# SPDX-License-Identifier: Apache-2.0
"""``volume_noop_driver``, the default: amphorae boot from their image, without a volume."""

from oslo_config import cfg


class NoopVolumes:
    """Implements :class:`octavia.drivers.volume.contract.VolumeDriver`."""

    def __init__(self, _conf: cfg.ConfigOpts | None = None) -> None:
        pass

    def create(self, amphora_id: str, image_id: str, availability_zone: str | None = None) -> None:
        """See the contract."""

    def delete(self, volume_id: str) -> None:
        """See the contract."""
