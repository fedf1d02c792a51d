# SPDX-License-Identifier: Apache-2.0
"""From the certificates that a process has loaded to the ones that are wanted, without a reload.

Certificates, CAs and lists of revoked certificates are replaced in place; lists of certificates get and lose
entries (HAProxy's management guide, "set ssl cert", "add ssl crt-list"). What must not be missing for a
moment is added before servers change, what nobody asks for any more goes afterwards. Files are not here:
whoever applies the commands writes them in step.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from octavia.dataplane.haproxy import runtime
from octavia.dataplane.haproxy.parse import ParseError, parse
from octavia.dataplane.haproxy.reload import Cause, OnlyReload, Reload
from octavia.dataplane.haproxy.runtime import Command

# HAProxy takes a command and its payload in one buffer of 16 KiB (tune.bufsize), part of it reserved.
LARGEST_PAYLOAD: Final = 14 * 1024
_KINDS: Final = {"crt": "cert", "ca-file": "ca-file", "crl-file": "crl-file"}

Files = Mapping[str, bytes]
"""Names in the directory of certificates, and what is in them."""


@dataclass(frozen=True, slots=True)
class CertificateChange:
    """Commands for the runtime socket, in two halves: what changes about servers comes between them."""

    first: tuple[Command, ...] = ()
    last: tuple[Command, ...] = ()


@dataclass(frozen=True, slots=True)
class _Use:
    """What a configuration names in the directory: by name the kind, and which are lists."""

    kinds: Mapping[str, str]
    lists: frozenset[str]


def change(wanted: str, directory: str, before: Files, after: Files) -> Reload | CertificateChange:
    """What leads the running process to the certificates that a reload would give it.

    :param wanted: the configuration; it differs from the running one in servers only.
    :param directory: where the files are, as the configuration names it.
    :param before: what the process has loaded.
    """
    try:
        use = _use(wanted, directory, before, after)
        first = [*_renewals(use, directory, before, after), *_additions(use, directory, before, after)]
        return CertificateChange(tuple(first), tuple(_removals(use, directory, before, after)))
    except ParseError as reason:
        return Reload(Cause.UNREADABLE, str(reason))
    except OnlyReload as difference:
        return difference.reload


def _use(wanted: str, directory: str, before: Files, after: Files) -> _Use:
    kinds: dict[str, str] = {}
    lists = set()
    for section in parse(wanted).sections:
        for words in (one.words for one in section.directives if one.words[0] in ("bind", "server")):
            for keyword, path in pairwise(words):
                name = path.removeprefix(f"{directory}/")
                if keyword == "crt-list":
                    lists.add(name)
                elif keyword in _KINDS and name != path:
                    kinds[name] = _KINDS[keyword]
    for name in lists:
        for files in (before, after):
            kinds |= dict.fromkeys(_entries(files, name, directory), "cert")
    return _Use(kinds, frozenset(lists))


def _entries(files: Files, name: str, directory: str) -> list[str]:
    """The names in a list of certificates."""
    lines = files.get(name, b"").decode().splitlines()
    return [line.removeprefix(f"{directory}/") for line in lines if line.strip()]


def _renewals(use: _Use, directory: str, before: Files, after: Files) -> Iterator[Command]:
    for name, content in after.items():
        if name in use.lists or name not in use.kinds or before.get(name) == content:
            continue
        payload = content.decode()
        if len(payload) > LARGEST_PAYLOAD:
            raise OnlyReload(Cause.CERTIFICATE, f"{name} is too large for HAProxy's runtime socket")
        kind, path = use.kinds[name], f"{directory}/{name}"
        if name not in before:
            yield runtime.new_tls_file(kind, path)
        yield runtime.set_tls_file(kind, path, payload)
        yield runtime.commit_tls_file(kind, path)


def _additions(use: _Use, directory: str, before: Files, after: Files) -> Iterator[Command]:
    for name in sorted(use.lists):
        old, new = _entries(before, name, directory), _entries(after, name, directory)
        if old[:1] != new[:1]:
            raise OnlyReload(
                Cause.CERTIFICATE,
                f"the first certificate of listener {name.removesuffix('.pem')} is another file",
            )
        for entry in new:
            if entry not in old:
                yield runtime.add_to_crt_list(f"{directory}/{name}", f"{directory}/{entry}")


def _removals(use: _Use, directory: str, before: Files, after: Files) -> Iterator[Command]:
    for name in sorted(use.lists):
        new = _entries(after, name, directory)
        for entry in _entries(before, name, directory):
            if entry not in new:
                yield runtime.remove_from_crt_list(f"{directory}/{name}", f"{directory}/{entry}")
    for name in before:
        if name not in after and use.kinds.get(name) == "cert":
            yield runtime.forget_certificate(f"{directory}/{name}")
