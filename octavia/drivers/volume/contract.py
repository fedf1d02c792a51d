# SPDX-License-Identifier: Apache-2.0
"""What a compute driver expects of whatever makes boot volumes (contract: drivers.md section 4)."""

from typing import Protocol


class VolumeDriver(Protocol):
    """A volume an amphora, deleted with its server."""

    def create(self, amphora_id: str, image_id: str, availability_zone: str | None = None) -> str | None:
        """Ask for a volume with the image on it; its id, or None where amphorae boot without a volume.

        Asked again for the same amphora, answer with the same volume.

        :raises Transient: it could not be asked, or has no room.
        :raises Terminal: there is no such zone.
        """

    def delete(self, volume_id: str) -> None:
        """An absent volume is a success."""
