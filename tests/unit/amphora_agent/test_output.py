# SPDX-License-Identifier: Apache-2.0
"""What the agent prints into a file: bounded, and no line lost when another file begins."""

import subprocess
import sys
from pathlib import Path

LINES = 400
PROGRAM = f"""
import logging, os, subprocess, sys, threading
from pathlib import Path
from octavia.amphora_agent import output
output.MOST_BYTES = int(sys.argv[1])
logger = logging.getLogger()
logger.addHandler(output.handler())
def say(who):
    for number in range({LINES}):
        logger.warning("%s %d", who, number)
threads = [threading.Thread(target=say, args=(who,)) for who in "abc"]
for one in threads: one.start()
for number in range({LINES}):
    os.write(1, f"d {{number}}\\n".encode())
for one in threads: one.join()
subprocess.run(["echo", "the end"], check=True)
"""


def say(path: Path, *, most_bytes: int, told: bool = True) -> None:
    environment = {"AMPHORA_OUTPUT": str(path)} if told else {}
    with path.open("ab") as file:
        argv = (sys.executable, "-c", PROGRAM, str(most_bytes))
        subprocess.run(argv, stdout=file, stderr=file, env=environment, check=True, timeout=60)


def expected() -> list[str]:
    return sorted([f"{who} {number}" for who in "abcd" for number in range(LINES)] + ["the end"])


def test_another_file_begins_and_no_line_is_lost(tmp_path: Path) -> None:
    path, older = tmp_path / "output.log", tmp_path / "output.log.1"
    say(path, most_bytes=5_000)  # more than half of it all, less than what is logged: it happens once
    assert older.stat().st_size > 5_000
    assert path.stat().st_mode & 0o777 == 0o600
    assert sorted((older.read_text() + path.read_text()).splitlines()) == expected()
    assert path.read_text().endswith("the end\n")


def test_there_are_two_files_however_much_is_said(tmp_path: Path) -> None:
    path = tmp_path / "output.log"
    say(path, most_bytes=200)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["output.log", "output.log.1"]
    assert set((path.read_text() + Path(f"{path}.1").read_text()).splitlines()) <= set(expected())


def test_where_no_other_can_begin_the_old_one_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "output.log"
    (tmp_path / "output.log.1").mkdir()
    say(path, most_bytes=200)
    assert sorted(path.read_text().splitlines()) == expected()


def test_what_belongs_to_somebody_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "somebody's"
    say(path, most_bytes=200, told=False)
    assert sorted(path.read_text().splitlines()) == expected()
