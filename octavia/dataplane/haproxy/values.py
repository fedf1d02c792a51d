# SPDX-License-Identifier: Apache-2.0
"""From a field of the tree to a word of HAProxy's configuration, or the reason why there is none.

Quoting is not here: :mod:`octavia.dataplane.haproxy.model` does it for every word alike. These
functions guard the little languages *inside* a word, log formats, sample expressions, addresses.
"""

import functools
import re
import zlib
from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from typing import Final

_COOKIE_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_NO_LOG_WORD = re.compile(r"[^\x21-\x7e]")
_HTTP_METHOD = re.compile(r"[A-Z]+")
_URL_PATH = re.compile(r"/[^\s\x00-\x1f\x7f]*")
_HOST_NAME = re.compile(r"[A-Za-z0-9._-]+")
_CODES = re.compile(r"([1-9]\d\d)(?:-([1-9]\d\d))?")
_STICK_SIZE = re.compile(r"\d{1,9}[kmg]?")
_VERSION = re.compile(r"(?:\d+:)?v?(\d+)\.(\d+)")
_LARGEST_ID: Final = 2**31 - 1


class Unrenderable(ValueError):
    """A value that HAProxy cannot be given; the text is the reason that its owner will read."""


def _matching(pattern: re.Pattern[str], value: str, noun: str) -> str:
    if not pattern.fullmatch(value):
        raise Unrenderable(f"The {noun} {value!r} cannot be given to HAProxy; change it.")
    return value


def address(value: str | None, noun: str = "address") -> str:
    """An IP address in its canonical form, IPv6 without brackets and without a scope."""
    try:
        canonical = _canonical(value or "")
    except ValueError as error:
        raise Unrenderable(f"The {noun} {value!r} is no IP address; change it.") from error
    if "%" in canonical:
        raise Unrenderable(f"The {noun} {value!r} names an interface, which means nothing here; change it.")
    return canonical


@functools.lru_cache(maxsize=8192)  # the members of a load balancer are rendered again with every change
def _canonical(value: str) -> str:
    return str(ip_address(value))


def bracketed(value: str, noun: str) -> str:
    """An address where HAProxy would take the last colon of a bare IPv6 address for a port's."""
    canonical = address(value, noun)
    return f"[{canonical}]" if ":" in canonical else canonical


def port(value: int | None, noun: str = "port") -> str:
    """A number from 1 to 65535."""
    if value is None or not 1 <= value <= 65535:
        raise Unrenderable(f"The {noun} {value!r} is not between 1 and 65535; change it.")
    return str(value)


def endpoint(host: str | None, number: int | None, noun: str) -> str:
    """``address:port`` as this file format has it: IPv6 without brackets, the last colon counts."""
    return f"{address(host, f'{noun} address')}:{port(number, f'{noun} port')}"


def network(value: str, noun: str) -> str:
    """A network in its canonical form; bits of hosts are no matter."""
    try:
        return str(ip_network(value, strict=False))
    except ValueError as error:
        raise Unrenderable(f"The {noun} {value!r} is no network; change it.") from error


def seconds(value: int, noun: str) -> str:
    """A positive number of seconds with its unit."""
    if not 0 < value < 2**31 // 1000:
        raise Unrenderable(f"The {noun} of {value} seconds is out of HAProxy's range; change it.")
    return f"{value}s"


def count(value: int, low: int, high: int, noun: str) -> str:
    """An integer within bounds."""
    if not low <= value <= high:
        raise Unrenderable(f"The {noun} {value} is not between {low} and {high}; change it.")
    return str(value)


def cookie_name(value: str | None) -> str:
    """A token of RFC 6265 section 4.1.1, as the argument of a sample."""
    name = _matching(_COOKIE_NAME, value or "", "cookie name")
    return f'"{name}"' if "'" in name else name  # which starts a quote of its own there


def http_method(value: str) -> str:
    """GET, HEAD and the like."""
    return _matching(_HTTP_METHOD, value, "HTTP method")


def url_path(value: str) -> str:
    """A path, perhaps with a query; white space would end it on the wire."""
    return _matching(_URL_PATH, value, "URL path")


def host_name(value: str) -> str:
    """A name for the Host header of a health check."""
    return _matching(_HOST_NAME, value, "domain name")


def stick_size(value: str) -> str:
    """Entries of a stick table."""
    return _matching(_STICK_SIZE, value, "stick table size")


def log_format_literal(value: str) -> str:
    """Text that stays itself where HAProxy expects a log format."""
    return value.replace("%", "%%")


def log_word(value: str) -> str:
    """Text in a log format that stays one word of the line: neither a space nor a line end gets in."""
    return log_format_literal(_NO_LOG_WORD.sub("_", value))


def status_pattern(expected_codes: str) -> str:
    """``200,204,300-302`` as the regular expression of all codes, ranges expanded."""
    codes: set[int] = set()
    for item in expected_codes.split(","):
        match = _CODES.fullmatch(item.strip())
        if match is None:
            raise Unrenderable(f"The expected codes {expected_codes!r} are not like 200,204 or 200-204.")
        first, last = int(match[1]), int(match[2] or match[1])
        codes.update(range(first, last + 1))
    if not codes:
        raise Unrenderable(f"The expected codes {expected_codes!r} name no code.")
    return "|".join(str(code) for code in sorted(codes))


def server_ids(member_ids: Iterable[str]) -> dict[str, int]:
    """A number for each member that stays the same whatever else is in the pool.

    HAProxy numbers servers by their place in the file, and both its consistent hashing and the
    stick tables that peers exchange go by these numbers: without fixed ones, a reload after a
    removal, or a failover, would send clients elsewhere.
    """
    return _numbers(member_ids)


def acl_ids(rule_ids: Iterable[str]) -> dict[str, int]:
    """A number for each L7 rule of a file, for the runtime socket.

    HAProxy numbers conditions by their place in the file, and the place of the next start is not that of
    the process that runs: without fixed ones, a change could meet another rule.
    """
    return _numbers(rule_ids)


def _numbers(ids: Iterable[str]) -> dict[str, int]:
    numbers: dict[str, int] = {}
    taken: set[int] = set()
    for one in sorted(set(ids)):
        number = zlib.crc32(one.encode()) % _LARGEST_ID + 1
        while number in taken:
            number = number % _LARGEST_ID + 1
        taken.add(number)
        numbers[one] = number
    return numbers


def version(text: str) -> tuple[int, int]:
    """Major and minor of a distribution's version string, like ``2.6.12-1+deb12u4``.

    :raises ValueError: there are no two numbers at its start.
    """
    match = _VERSION.match(text)
    if match is None:
        raise ValueError(f"{text!r} is no version of HAProxy; the amphora must say which it runs.")
    return int(match[1]), int(match[2])
