# SPDX-License-Identifier: Apache-2.0
"""``python -m octavia.cmd.standalone``: how the command starts its own controller."""

import sys

from octavia.cmd.standalone import main

if __name__ == "__main__":
    sys.exit(main())
