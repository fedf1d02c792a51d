# SPDX-License-Identifier: Apache-2.0
"""Where a difference comes from: the configuration that our renderer made, with and without each directive.

Both are run side by side outside of an amphora, so that nothing but the directive differs. Beside them the
whole configuration is compared with the amphora itself, which shows what it costs to be in one.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from benchmarks._contenders import Contender, compare, spread
from benchmarks._load import Load
from benchmarks._placed import FILES, place_haproxy
from octavia.drivers.local.process import MOUNT_AT
from tests.scenario.standalone import Machine

_NEEDED: Final = ("bind", "server", "mode", "default_backend", "timeout", "balance")
_SECTION: Final = re.compile(r"^(global|defaults|frontend|backend|peers)\b")


def portable(config: str, load_balancer_id: str) -> str:
    """The amphora's configuration so that it runs elsewhere: any address, its files where they are given."""
    text = re.sub(r"^(\s+bind )\S+:(\d+)", r"\g<1>0.0.0.0:\2", config, flags=re.MULTILINE)
    text = re.sub(r"crt-list \S+", f"crt {FILES}/site.pem", text)
    return re.sub(rf"\S+/{load_balancer_id}", f"{MOUNT_AT}/copy", text)


def without_each(config: str) -> Iterator[tuple[str, str]]:
    """Each directive that HAProxy can do without, and the configuration without it."""
    lines = config.splitlines()
    section = ""
    for number, line in enumerate(lines):
        if _SECTION.match(line):
            section = line.split()[0]
        elif line.strip() and line.split()[0] not in _NEEDED:
            rest = [*lines[:number], *lines[number + 1 :], ""]
            yield f"{section}: {' '.join(line.split())}", "\n".join(rest)


def explain(
    machine: Machine,
    config: str,
    port: int,
    files: Mapping[str, bytes],
    ours: Contender,
    theirs: Contender,
    ask: Callable[[Contender], Load],
    rounds: int,
    pattern: str,
) -> Iterator[str]:
    """Ours beside its copy, that beside what was tuned by hand, and the copy less each directive beside it.

    :param config: made :func:`portable`.
    :param pattern: which directives, as ``SECTION: WORDS``.
    """
    copy = _run(machine, "copy", config, port, files)
    yield _line("in an amphora, beside its configuration outside of one", ours, copy, ask, rounds)
    yield _line("its configuration, beside the one tuned by hand", copy, theirs, ask, rounds)
    for number, (directive, rest) in enumerate(without_each(config)):
        if not re.search(pattern, directive):
            continue
        try:
            less = _run(machine, f"less-{number}", rest, port, files)
        except AssertionError as error:
            yield f"without '{directive}': {error}"
            continue
        yield _line(f"without '{directive}'", less, copy, ask, rounds)


def _line(title: str, one: Contender, other: Contender, ask: Callable[[Contender], Load], rounds: int) -> str:
    found = compare(title, "", one, other, ask, rounds)
    return f"{title}: {spread(found.ratios)}; by CPU {spread(found.cpu_ratios)}"


def _run(machine: Machine, name: str, config: str, port: int, files: Mapping[str, bytes]) -> Contender:
    placed = place_haproxy(machine, name, config, port, files)
    return Contender(name, placed.address, [placed.pid])
