# SPDX-License-Identifier: Apache-2.0
"""``image_noop_driver``: every tag has an image, the same in every process."""

from oslo_config import cfg

from octavia.drivers.noop import derived


class NoopImages:
    """Implements :class:`octavia.drivers.image.contract.ImageDriver`."""

    def __init__(self, _conf: cfg.ConfigOpts | None = None) -> None:
        pass

    def image_id(self, tag: str, owner: str | None = None) -> str:
        """See the contract."""
        return str(derived(f"image {owner or ''} {tag}"))
