# SPDX-License-Identifier: Apache-2.0
"""Entry points: read the configuration, wire the parts, run."""

import sys

# Libraries that could use Eventlet import it wherever it is installed: 20 MB of each process for nothing.
# oslo.service, through which oslo.messaging does, is content with cotyledon instead.
# To the import system, None is a module that cannot be imported.
sys.modules.setdefault("eventlet", None)  # type: ignore[arg-type]
