# SPDX-License-Identifier: Apache-2.0
"""What a compute driver expects of whatever keeps images (contract: drivers.md section 3)."""

from typing import Protocol


class ImageDriver(Protocol):
    """Images by tag, so that a new one is taken into use by moving the tag."""

    def image_id(self, tag: str, owner: str | None = None) -> str:
        """The newest active image with that tag.

        :param owner: only images of this project.
        :raises Transient: it could not be asked.
        :raises Terminal: there is no such image.
        """
