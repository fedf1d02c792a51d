# SPDX-License-Identifier: Apache-2.0
"""Which object HAProxy complains about.

It names a line of the file, a proxy or a server, or only a word that it does not like. What it says of the
TLS of a server is about the pool: that is where versions, ciphers and certificates come from.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from octavia.dataplane.haproxy.model import Directive, HaproxyConfig, Section

_AT_LINE: Final = re.compile(r"\[[^\]\s]*:(\d+)\]")
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_QUOTED: Final = re.compile(r"'([^']+)'")
_HEAD: Final = re.compile(r"^\[ALERT\]\s+\(\d+\) : (?:config : )?")
_IN_FILE: Final = re.compile(r"(?<=\[)/[^\]\s]*/(haproxy\.cfg)\.\w+(?=:\d+\])")
_SUMMARY: Final = re.compile(r"Error\(s\) found in configuration file|Fatal errors found in configuration")
_ABOUT_TLS: Final = re.compile(r"ssl|tls|cipher|certificate|crt|crl|ca-file|alpn", re.IGNORECASE)


def blame(config: HaproxyConfig, owners: Sequence[str | None], output: str) -> str | None:
    """The object that a refusal is about; None if it names nothing that we know.

    :param owners: for each line of the file the id of the object that it is there for.
    :param output: what ``haproxy -c`` printed.
    """
    complaints = [one for one in output.splitlines() if "[ALERT]" in one] or output.splitlines()
    for complaint in complaints:
        for line in map(int, _AT_LINE.findall(complaint)):
            if 1 <= line <= len(owners) and (owner := owners[line - 1]):
                return _or_its_pool(config, owner, complaint)
    known = {owner for owner in owners if owner}
    for complaint in complaints:
        # The last name is the most particular one: a server stands after its backend.
        for name in reversed(_UUID.findall(complaint)):
            if name in known:
                return _or_its_pool(config, name, complaint)
    for complaint in complaints:
        quoted = frozenset(_QUOTED.findall(complaint))
        for _, directive in _owned(config):
            if directive.owner and not quoted.isdisjoint(directive.words):
                return _or_its_pool(config, directive.owner, complaint)
    return None


def words(output: str) -> str:
    """What HAProxy complains of, without what only its log needs: severities, pids, paths, repetitions.

    :param output: what ``haproxy -c`` printed; as it is if there is no complaint in it.
    """
    alerts = [one for one in output.splitlines() if "[ALERT]" in one]
    said = (_IN_FILE.sub(r"\1", _HEAD.sub("", one)) for one in alerts)
    return "; ".join(dict.fromkeys(one for one in said if not _SUMMARY.match(one))) or output


def _or_its_pool(config: HaproxyConfig, owner: str, complaint: str) -> str | None:
    if not _ABOUT_TLS.search(complaint):
        return owner
    for section, directive in _owned(config):
        if directive.owner == owner and directive.words[0] == "server" and "ssl" in directive.words:
            return section.owner
    return owner


def _owned(config: HaproxyConfig) -> Iterator[tuple[Section, Directive]]:
    return ((section, one) for section in config.sections for one in section.directives if one.owner)
