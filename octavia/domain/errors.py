# SPDX-License-Identifier: Apache-2.0
"""What can go wrong, by what the caller should do next.

.. code-block:: text

    OctaviaError
    ├── RequestError          the tenant's request; the API answers 4xx
    │   ├── Invalid           400  a field is wrong
    │   ├── Denied            403  policy
    │   ├── QuotaMet          403  the project's limit
    │   ├── NotFound          404
    │   └── Conflict          409  clash with another object or with a state
    ├── Transient             may succeed later, unchanged
    │   └── Unreachable       no connection could be made; nothing was done
    └── Terminal              never succeeds until somebody changes something
        ├── Refused           the amphora's HAProxy refused the configuration, in its words
        └── Fenced            somebody with a higher fencing number took over

Nobody matches on text. Which HTTP code a ``RequestError`` becomes is decided in
``octavia.api.errors`` alone.
"""

from datetime import timedelta


class OctaviaError(Exception):
    """The root: its text is a sentence for whoever has to act."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class RequestError(OctaviaError):
    """The request cannot be served as it stands; the text is the fault string."""


class Invalid(RequestError):
    """A field has a wrong value; the text names the field."""


class Denied(RequestError):
    """Policy does not allow this request to be performed."""


class QuotaMet(RequestError):
    """The project has as many of a resource as it may have."""


class NotFound(RequestError):
    """There is no such object, or not any more."""

    def __init__(self, noun: str, identifier: str) -> None:
        super().__init__(f"{noun} {identifier} not found.")
        self.noun = noun
        self.identifier = identifier


class Conflict(RequestError):
    """The request clashes with another object or with a state. Clients retry it."""


class Transient(OctaviaError):
    """May succeed later, unchanged: timeouts, 5xx, no valid host, the cloud's quota."""

    def __init__(self, why: str, *, retry_after: timedelta = timedelta(seconds=1)) -> None:
        super().__init__(why)
        self.retry_after = retry_after


class Unreachable(Transient):
    """No connection could be made, so nothing was done on the other side."""


class Terminal(OctaviaError):
    """Fails until the user or the operator changes something; the status becomes ERROR."""


class Refused(Terminal):
    """HAProxy refused a configuration.

    :param line: 1-based line of the rejected file that HAProxy named first, if it named one.
    """

    def __init__(self, why: str, *, line: int | None = None) -> None:
        super().__init__(why)
        self.line = line


class Fenced(Terminal):
    """Another holder of the lease, with a higher fencing number, acts on this load balancer.

    :param highest: the number that the other side has seen.
    """

    def __init__(self, why: str, *, highest: int) -> None:
        super().__init__(why)
        self.highest = highest
