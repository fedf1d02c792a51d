# SPDX-License-Identifier: Apache-2.0
"""Histories of the simulator, as many as there is time for; with ``--faults``, what each deliberate
fault in the code is caught by.

``--minutes N`` plays fresh histories for N minutes, ``--seed S`` begins at that seed. The first history
that breaks a rule is minimised and printed, and the exit code is 1.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the simulator is among the tests

from tests.simulation import deliberate
from tests.simulation.history import minimise, play


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--faults", action="store_true")
    parser.add_argument("--histories", type=int, default=60, help="at most so many a deliberate fault")
    arguments = parser.parse_args()
    if arguments.faults:
        return _deliberate_faults(arguments.histories)
    return _endurance(arguments.minutes, arguments.seed)


def _endurance(minutes: float, seed: int) -> int:
    end, count, simulated_s, cpu_s = time.monotonic() + minutes * 60, 0, 0.0, time.process_time()
    while time.monotonic() < end:
        history = play(seed + count)
        count += 1
        simulated_s += history.lasted.total_seconds()
        if history.violation is not None:
            print(minimise(history))
            return 1
    cpu_s = time.process_time() - cpu_s
    print(f"{count} histories from seed {seed} broke no rule")
    print(f"{cpu_s / count:.2f} s CPU a history, {cpu_s / simulated_s * 3600:.2f} s CPU a simulated hour")
    return 0


def _deliberate_faults(limit: int) -> int:
    print("| fault | caught by | histories |\n|---|---|---|")
    missed = 0
    for fault in deliberate.FAULTS:
        rule, count = deliberate.catch(fault, limit)
        missed += rule is None
        print(f"| {fault.name} | {rule or '**nothing**'} | {count} |", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
