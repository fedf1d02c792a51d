# SPDX-License-Identifier: Apache-2.0
"""A detached process in namespaces of its own, found again after a restart of the controller.

It is process 1 of its pid namespace, so that killing it takes down everything in it; and nothing
pins its namespaces, so that they and the far ends of its veth pairs vanish with it. One lives in one
directory:

.. code-block:: text

    process.json   who it is: pid, start time, boot; written before the command may start, and
                   again when it has: one that was never seen to start is killed and made anew
    ports/         a file a port, named by the port's id: its veth pairs, made or about to be
    inside/        what it sees as /run/amphora; inside/etc/* appear in its /etc
        log/output.log   what it and its children print; AMPHORA_OUTPUT tells it the path, for it to
                         begin another one when this is big

It runs once: a process that ended is not started again. What runs in it is not here: see
:mod:`octavia.drivers.compute.local`.
"""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Final

from octavia.domain.errors import Terminal, Transient
from octavia.drivers.local import launch, links
from octavia.drivers.local.installation import Installation
from octavia.drivers.local.storage import make_private_directory, write_private

MOUNT_AT: Final = "/run/amphora"  # short, since a socket's path has at most 107 characters
_OUTPUT: Final = "log/output.log"
_PACKAGE_PARENT: Final = str(Path(__file__).resolve().parents[3])
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class ProcessState(StrEnum):
    """How far a process has come."""

    UNSTARTED = "UNSTARTED"  # its directory may be there, half made: start it, or remove it
    RUNNING = "RUNNING"
    ENDED = "ENDED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """The far end of a veth pair, as a process in a namespace of its own gets it.

    :param interfaces: addresses with their prefix lengths, ``198.18.0.7/20``; with none it stays down.
    """

    port_id: str
    bridge: str
    name: str
    mac_address: str
    mtu: int
    interfaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec:
    """What to run.

    :param command: looked for in PATH as the process sees it.
    :param files: path beneath /etc to content; each mode 0600.
    :param environment: beside PATH, LANG, HOME and what Python needs to find this package.
    """

    hostname: str
    command: tuple[str, ...]
    files: Mapping[str, bytes] = field(default_factory=dict)
    interfaces: tuple[Interface, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Identity:
    """A pid alone may be given to a stranger; with start time and boot it is one process only.

    :param started: whoever launched it lived to see the command run.
    """

    pid: int
    start_ticks: int
    boot_id: str
    started: bool


class NamespacedProcess:
    """One directory and the process that belongs to it. The caller holds the directory's lock."""

    def __init__(self, directory: Path, installation: Installation) -> None:
        self.directory = directory
        self._installation = installation

    @property
    def log(self) -> Path:
        """What the process and its children print."""
        return self.directory / "inside" / _OUTPUT

    @property
    def pid(self) -> int | None:
        """As this machine counts; None if it does not run."""
        identity = self._identity()
        return identity.pid if identity and _is_alive(identity) else None

    def state(self) -> ProcessState:
        """As it is now; costs two small files."""
        identity = self._identity()
        if identity is None or not identity.started:
            return ProcessState.UNSTARTED
        return ProcessState.RUNNING if _is_alive(identity) else ProcessState.ENDED

    def last_words(self) -> str:
        """The last line of its log, at most 300 characters."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 2048))
                lines = file.read().decode(errors="replace").split("\n")
        except FileNotFoundError:
            return ""
        return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")

    def start(self, spec: ProcessSpec, *, timeout_seconds: float = 10.0) -> None:
        """Make it run; running is a success.

        :raises Transient: the machine is out of something, or too slow.
        :raises Terminal: the namespaces cannot be made, or there is no such command.
        """
        if self.state() is not ProcessState.UNSTARTED:
            return
        self.stop(timeout_seconds=timeout_seconds)  # launched by somebody who died over it
        make_private_directory(self.directory.parent)
        make_private_directory(self.directory)
        inside = self.directory / "inside"
        with suppress(FileNotFoundError):
            shutil.rmtree(inside)
        make_private_directory(inside)
        make_private_directory(self.log.parent)
        _write_files(inside, spec.files)
        with _launched(spec, inside, self.log, time.monotonic() + timeout_seconds) as waiting:
            for interface in spec.interfaces:
                self._plug(interface, waiting.namespace)
            self._record(waiting.identity)
            waiting.go()
            self._record(replace(waiting.identity, started=True))

    def plug(self, interface: Interface) -> None:
        """Give the running process one more interface; plugged is a success.

        :raises Terminal: it does not run.
        """
        with self._namespace() as namespace:
            if interface.port_id in self.port_ids() and self._pair(interface.port_id) in links.names():
                return
            self._plug(interface, namespace)

    def unplug(self, port_id: str) -> None:
        """Take an interface away; an absent one is a success."""
        links.remove(self._pair(port_id))
        (self.directory / "ports" / port_id).unlink(missing_ok=True)

    def port_ids(self) -> Sequence[str]:
        """Of the interfaces that it has, or is about to have."""
        try:
            return sorted(os.listdir(self.directory / "ports"))
        except FileNotFoundError:
            return []

    def stop(self, *, timeout_seconds: float = 10.0) -> None:
        """Kill it and all in it, and return when it is gone; ended is a success.

        :raises Transient: the kernel has not finished in time.
        """
        identity = self._identity()
        if identity is not None:
            _kill(identity, timeout_seconds)

    def stop_and_unplug(self) -> None:
        """Kill it and take all its interfaces away, even if the kernel cannot finish the first.

        They would vanish with the namespace, but when is up to the kernel: an address must be free
        when this returns.
        """
        try:
            self.stop()
        finally:
            links.remove(*map(self._pair, self.port_ids()))

    def remove(self) -> None:
        """Stop it and remove its veth pairs and its directory; absent is a success."""
        self.stop_and_unplug()
        with suppress(FileNotFoundError):
            shutil.rmtree(self.directory)

    def _pair(self, port_id: str) -> str:
        return self._installation.pair(port_id)

    def _plug(self, interface: Interface, namespace: int) -> None:
        make_private_directory(self.directory / "ports")
        (self.directory / "ports" / interface.port_id).touch(mode=0o600)  # before the pair: see the sweep
        name = self._pair(interface.port_id)
        # Of an earlier, killed attempt: its far end is in a namespace that is going away.
        links.remove(name)
        links.ensure_pair(
            name,
            bridge=interface.bridge,
            far_namespace=namespace,
            far_name=interface.name,
            mac_address=interface.mac_address,
            mtu=interface.mtu,
        )
        if interface.interfaces:
            links.configure_inside(namespace, interface.name, interface.interfaces)

    @contextmanager
    def _namespace(self) -> Iterator[int]:
        identity = self._identity()
        held = _hold(identity) if identity and identity.started else None
        if identity is None or held is None:
            raise Terminal(f"There is no process in {self.directory} to plug an interface into.")
        try:
            with _open_namespace(identity.pid, held) as namespace:
                yield namespace
        finally:
            os.close(held)

    def _identity(self) -> _Identity | None:
        try:
            return _Identity(**json.loads((self.directory / "process.json").read_bytes()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):
            # A power cut can leave the file empty, and no process survives that.
            return _Identity(pid=0, start_ticks=0, boot_id="", started=True)

    def _record(self, identity: _Identity) -> None:
        write_private(self.directory / "process.json", json.dumps(asdict(identity)).encode(), durable=False)


def processes_in(directory: Path, installation: Installation) -> Sequence[NamespacedProcess]:
    """Those that live in directories of ``directory``, by name."""
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        return []
    return [
        NamespacedProcess(directory / name, installation) for name in names if (directory / name).is_dir()
    ]


def _write_files(inside: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        path = PurePosixPath(name)
        if path.parts[:2] != ("/", "etc") or len(path.parts) < 3 or ".." in path.parts:
            raise Terminal(f"{name}: only files beneath /etc can be put into a local amphora.")
        target = inside.joinpath(*path.parts[1:])
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(target, content, durable=False)


def _stat(pid: int) -> tuple[str, int] | None:
    """State letter and start time in clock ticks since boot (proc(5))."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in parentheses may itself hold blanks and parentheses.
    fields = text[text.rindex(b")") + 2 :].split()
    return fields[0].decode(), int(fields[19])


def _boot_id() -> str:
    return _BOOT_ID.read_text().strip()


def _is_alive(identity: _Identity) -> bool:
    found = _stat(identity.pid)
    if found is None or identity.boot_id != _boot_id():
        return False
    state, start_ticks = found
    return start_ticks == identity.start_ticks and state not in "ZX"


def _hold(identity: _Identity) -> int | None:
    """A descriptor of exactly this process; None if it has ended."""
    if not _is_alive(identity):
        return None
    try:
        held = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return None
    # Compared again after the opening: from now on the descriptor cannot come to mean a stranger.
    if _is_alive(identity):
        return held
    os.close(held)
    return None


def _has_ended(held: int, timeout_seconds: float = 0) -> bool:
    watch = select.poll()
    watch.register(held, select.POLLIN)
    return bool(watch.poll(timeout_seconds * 1000))


def _kill(identity: _Identity, timeout_seconds: float) -> None:
    held = _hold(identity)
    if held is None:
        return
    try:
        _kill_held(held)
        if not _has_ended(held, timeout_seconds):
            raise Transient(f"Process {identity.pid} has not ended within {timeout_seconds:g} s of SIGKILL.")
        # Where this program is process 1 or a subreaper, the orphan has become its child.
        with suppress(ChildProcessError):
            os.waitid(os.P_PIDFD, held, os.WEXITED | os.WNOHANG)
    finally:
        os.close(held)


def _kill_held(held: int) -> None:
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(held, signal.SIGKILL)


@contextmanager
def _open_namespace(pid: int, held: int) -> Iterator[int]:
    """A descriptor of the network namespace of a process that ``held`` stands for."""
    try:
        namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError) as gone:
        raise Terminal(f"Process {pid} ended before it had its network interface.") from gone
    try:
        if _has_ended(held):
            raise Terminal(f"Process {pid} ended before it had its network interface.")
        yield namespace
    finally:
        os.close(namespace)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A launched process that waits for the word."""

    identity: _Identity
    namespace: int
    word: int
    report: "_Report"

    def go(self) -> None:
        """Let it run its command, and return when it does."""
        self.report.expect("ready")
        os.write(self.word, b"go")
        self.report.expect_end()


class _Report:
    """What the launcher and its child say, each in lines of its own, until a deadline.

    :param deadline: monotonic seconds.
    """

    def __init__(self, descriptor: int, deadline: float) -> None:
        self._descriptor = descriptor
        self._deadline = deadline
        self._heard: dict[str, str] = {}
        self._unread = b""

    def expect(self, word: str) -> str:
        """Wait for the line that starts with ``word``, in any order; the rest of it."""
        while word not in self._heard:
            if not self._hear():
                raise Terminal("An amphora could not be launched on this machine: it ended too early.")
        return self._heard[word]

    def expect_end(self) -> None:
        """Wait until nobody can say anything any more: the command has begun."""
        while self._hear():
            pass

    def _hear(self) -> bool:
        """One more piece; False at the end."""
        watch = select.poll()
        watch.register(self._descriptor, select.POLLIN)
        left = self._deadline - time.monotonic()
        if left <= 0 or not watch.poll(left * 1000):
            raise Transient("The launcher of an amphora did not answer in time; is the machine overloaded?")
        piece = os.read(self._descriptor, 4096)
        *lines, self._unread = (self._unread + piece).split(b"\n")
        for line in lines:
            word, _, rest = line.decode(errors="replace").partition(" ")
            self._heard[word] = rest
        if "failed" in self._heard:
            raise Terminal(f"An amphora could not be launched on this machine: {self._heard['failed']}.")
        return bool(piece)


def _environment(spec: ProcessSpec) -> dict[str, str]:
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "HOME": "/root",
        "PYTHONPATH": _PACKAGE_PARENT,
        "PYTHONUNBUFFERED": "1",
        "AMPHORA_OUTPUT": f"{MOUNT_AT}/{_OUTPUT}",
        **spec.environment,
    }


@contextmanager
def _launched(spec: ProcessSpec, inside: Path, log: Path, deadline: float) -> Iterator[_Waiting]:
    """A process in its namespaces that has not run the command yet; killed if the block fails."""
    order = json.dumps(
        {
            "directory": str(inside.resolve()),
            "mount_at": MOUNT_AT,
            "hostname": spec.hostname,
            "command": spec.command,
            "environment": _environment(spec),
        }
    )
    heard, said = os.pipe()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        launcher = subprocess.Popen(
            [sys.executable, "-I", "-S", launch.__file__, order, str(said)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            pass_fds=(said,),
            cwd="/",
        )
    except OSError as why:
        os.close(heard)
        raise Transient(f"The launcher of an amphora could not be started: {why}.") from why
    finally:
        os.close(said)
        os.close(output)
    held: int | None = None
    try:
        with launcher:
            assert launcher.stdin is not None
            try:
                report = _Report(heard, deadline)
                pid = int(report.expect("pid"))
                held = os.pidfd_open(pid)
                found = _stat(pid)
                assert found is not None  # its parent has not waited for it
            finally:
                launcher.kill()
            with _open_namespace(pid, held) as namespace:
                identity = _Identity(pid, found[1], _boot_id(), started=False)
                yield _Waiting(identity, namespace, launcher.stdin.fileno(), report)
    except BaseException:
        if held is not None:
            _kill_held(held)
        raise
    finally:
        os.close(heard)
        if held is not None:
            os.close(held)
