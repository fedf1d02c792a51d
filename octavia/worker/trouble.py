# SPDX-License-Identifier: Apache-2.0
"""Objects that cannot be served as they are wanted, and what is served in their stead.

In this order, as far as there is one: the form that settled last, then that form (or else the wanted one)
with the certificates that the amphora has, then nothing. Each refusal leads one step further, so that a pass
comes to an end (``docs/decisions/0017-last-good-form.md``).
"""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final

REFUSED: Final = "REFUSED"
CERTIFICATE: Final = "CERTIFICATE"
UNSUPPORTED: Final = "UNSUPPORTED"


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why one object is not as wanted. Without any of the flags it is, but not on every amphora.

    :param why: a sentence; the first reason stays, whatever is found out later.
    :param former: its last good form is served.
    :param kept: with the certificate files that the amphora has.
    :param absent: nothing of it is served.
    """

    why: str
    code: str = REFUSED
    former: bool = False
    kept: bool = False
    absent: bool = False

    @property
    def sentence(self) -> str:
        """For the tenant."""
        return f"{self.why.rstrip('. ')}. {self._stead}"

    @property
    def _stead(self) -> str:
        if self.former:
            return "Its last good form goes on."
        if self.kept:
            return "It goes on with the certificates that it had."
        return "It is not served until that is mended."

    def next(self, *, has_form: bool, has_files: bool) -> "Trouble | None":
        """What to try when this has been refused too; None when nothing is left.

        :param has_form: is there a form that settled, and can it stand?
        :param has_files: does it name files of certificates?
        """
        if self.absent:
            return None
        if has_form and not self.former:
            return replace(self, former=True, kept=False)
        if has_files and not self.kept:
            return replace(self, kept=True)
        return replace(self, former=False, kept=False, absent=True)


Troubles = Mapping[str, Trouble]
"""By the object's id."""


def absent(troubles: Troubles) -> frozenset[str]:
    """Who is left out."""
    return frozenset(name for name, one in troubles.items() if one.absent)


def former(troubles: Troubles) -> frozenset[str]:
    """Who is served in the form that settled last."""
    return frozenset(name for name, one in troubles.items() if one.former)


def marks(troubles: Troubles) -> frozenset[str]:
    """What tells two states of affairs apart."""
    return frozenset(
        f"{name} former={one.former} kept={one.kept} absent={one.absent}" for name, one in troubles.items()
    )


def acknowledgement(key: str, marked: Collection[str]) -> str:
    """What to record of an amphora that took a configuration in which not everything is as wanted.

    It differs from that of a whole one, so that the next pass tries again what was refused.

    :param marked: :func:`marks`.
    """
    return hashlib.sha256(repr((key, sorted(marked))).encode()).hexdigest() if marked else key
