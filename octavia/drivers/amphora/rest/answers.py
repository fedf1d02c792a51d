# SPDX-License-Identifier: Apache-2.0
"""What an agent's answer means: a body to read, or an error of the domain."""

import re
from collections.abc import Mapping
from typing import Any, Final

import httpx

from octavia.domain.errors import Fenced, Refused, Terminal, Transient
from octavia.domain.tree import Amphora
from octavia.drivers.amphora.contract import Machine

PINNING_PROFILE: Final = "amphora"  # of tuned; it keeps everything but HAProxy on the first processor

_AT_LINE = re.compile(r"\[[^\]\s]*haproxy\.cfg[^\]\s:]*:(\d+)\]")
_NOISE = re.compile(r"\s*\[(?:NOTICE|WARNING)\]")


def body(response: httpx.Response) -> dict[str, Any]:
    """The body of an answer that must have one. :raises Transient: it has none, or none of ours."""
    try:
        found = response.json()
    except ValueError as error:
        raise Transient(f"{response.url} answered {response.status_code} without JSON") from error
    if not isinstance(found, dict):
        raise Transient(f"{response.url} answered with JSON that is no object")
    return found


def body_or_nothing(response: httpx.Response) -> dict[str, Any]:
    """The body, or an empty one where that is no JSON object."""
    try:
        found = response.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def number(body: Mapping[str, Any], key: str) -> int | None:
    """A whole number; None where there is none."""
    value = body.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def machine(details: Mapping[str, Any]) -> Machine:
    """The part of an agent's ``details`` that matters here; older images leave out keys of it."""
    memory = details.get("memory")
    parts = [_count(memory, key) for key in ("free", "buffers", "cached")] if isinstance(memory, dict) else []
    known = [one for one in parts if one is not None]
    cpus = _count(details, "cpu_count", below=2**31) or 1
    is_pinned = PINNING_PROFILE in str(details.get("active_tuned_profiles") or "").split()
    return Machine(
        memory_kb=sum(known) if len(known) == 3 else None,
        isolated_cpus=cpus - 1 if is_pinned and cpus > 1 else None,
    )


def _count(body: Mapping[str, Any], key: str, *, below: int = 2**53) -> int | None:
    """How many there are of something; None where the answer makes no sense."""
    found = number(body, key)
    return found if found is not None and 0 <= found < below else None


def check_fence(amphora: Amphora, response: httpx.Response) -> None:
    """:raises Fenced: the agent has seen a higher number."""
    if response.status_code != 409:
        return
    highest = number(body_or_nothing(response), "fence")
    if highest is not None:
        raise Fenced(f"Amphora {amphora.id} has seen fencing number {highest}", highest=highest)


def failure(amphora: Amphora, response: httpx.Response, *, refusing: bool) -> Transient | Terminal:
    """The error that an answer is.

    :param refusing: a 400 is HAProxy's refusal of a configuration.
    """
    said = body_or_nothing(response)
    details = str(said.get("details") or said.get("message") or said.get("error") or response.reason_phrase)
    if response.status_code == 400 and refusing:
        return refused(details)
    sentence = f"Amphora {amphora.id} answered {response.status_code}: {details}"
    # 404 is an interface that has not arrived, or an agent that is not ready; a 409 without a fence was
    # overtaken by a newer request of our own; 401 and 403 are certificates on their way.
    if response.status_code in (401, 403, 404, 408, 409, 425, 429) or response.status_code >= 500:
        return Transient(sentence)
    return Terminal(sentence)


def refused(output: str) -> Refused:
    """HAProxy's refusal, with its own words and the first line of the file that it names."""
    words = "\n".join(line for line in output.splitlines() if line.strip() and not _NOISE.match(line))
    at = _AT_LINE.search(words)
    return Refused(words or output, line=int(at.group(1)) if at else None)
