# SPDX-License-Identifier: Apache-2.0
"""A distribution that somebody else would install beside Octavia; put this folder on ``sys.path``."""

from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent
