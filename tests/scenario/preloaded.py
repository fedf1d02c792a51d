# SPDX-License-Identifier: Apache-2.0
"""Starts controllers from a process that has already imported everything: importing takes two seconds.

Run as a script. Each line on standard input is an order, the arguments and environment of one
``octavia-standalone``; the answer is its process number. The controller is a fork that has read nothing,
opened nothing and started no thread before its own ``main``. What it is told is not here: see
:mod:`tests.scenario.standalone`.
"""

import json
import os
import signal
import sys
import traceback
from typing import Any


def main() -> None:
    # Whoever kills controllers watches them by descriptor; nobody has to bury them.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    import octavia.cmd.controller
    import octavia.cmd.standalone

    assert octavia.cmd.controller
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _become(order, octavia.cmd.standalone.main)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


def _become(order: dict[str, Any], command: Any) -> None:
    code = 70
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        output = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(source, target)
        os.environ.update(order["environment"])
        code = command(order["arguments"])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
