# SPDX-License-Identifier: Apache-2.0
"""A page of the documentation that is run as it stands: its shell blocks, and a shell that remembers.

What ought to be true between two blocks is not here: see :mod:`tests.scenario.test_stories`.
"""

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

PAGE: Final = Path(__file__).parents[2] / "docs/user/recipes.md"
_END: Final = "-- the block has ended --"


def recipes() -> dict[str, list[str]]:
    """The page's shell blocks, by the heading that they stand under."""
    _, *sections = re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)
    found = {}
    for section in sections:
        heading, _, text = section.partition("\n")
        found[heading.strip()] = re.findall(r"^```sh\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return found


class Shell:
    """One bash: what a block sets, later blocks have. The first command that fails ends it.

    :param enter: the words of a command that runs what follows them where the blocks belong.
    :param directory: where the files are that the blocks name.
    """

    def __init__(self, enter: tuple[str, ...], directory: Path, environment: Mapping[str, str]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 -- closed by __exit__
        self._process = subprocess.Popen(
            [*enter, "bash", "--noprofile", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, **environment},
        )
        self.run(f"set -e -o pipefail; cd {directory}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if kind:
            self._process.kill()
        with self._process.stdout, self._errors:
            self._process.stdin.close()
            self._process.wait()

    def begin(self, block: str) -> None:
        """Start it; :meth:`finish` waits for it."""
        assert self._process.stdin is not None
        # Its commands must not eat the blocks that are still to come.
        self._process.stdin.write(f"{{ {block}\n}} </dev/null\necho '{_END}'\n")
        self._process.stdin.flush()

    def finish(self) -> str:
        """What the block wrote.

        :raises AssertionError: one of its commands failed; with what it said.
        """
        assert self._process.stdout is not None
        said = ""
        for line in self._process.stdout:
            if line.endswith(f"{_END}\n"):
                return said + line.removesuffix(f"{_END}\n")
            said += line
        self._errors.seek(0)
        raise AssertionError(f"the block failed:\n{said}{self._errors.read().decode()}")

    def run(self, block: str) -> str:
        """Its output, without the last line's end."""
        self.begin(block)
        return self.finish().strip()


class Recipe:
    """A section of the page, block by block."""

    def __init__(self, heading: str, shell: Shell) -> None:
        self.shell = shell
        self._blocks = recipes()[heading]

    def next(self, has: str) -> str:
        """Run the next block.

        :param has: what it must contain, so that a test and its page do not drift apart.
        """
        self.begin(has)
        return self.shell.finish().strip()

    def begin(self, has: str) -> None:
        """Start it; ``shell.finish()`` waits for it."""
        block = self._blocks.pop(0)
        assert has in block
        self.shell.begin(block)


@contextmanager
def recipe(heading: str, shell: Shell) -> Iterator[Recipe]:
    """All of it must be run."""
    made = Recipe(heading, shell)
    yield made
    assert not made._blocks, f"nobody ran: {made._blocks}"
