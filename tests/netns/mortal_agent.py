# SPDX-License-Identifier: Apache-2.0
"""The world of an agent that is killed: PID 1 of it, what systemd would be there, and agents that start fast.

Run as a script, in network, mount and PID namespaces of its own. Each line on standard input is an order and
the answer a line: ``{"start": CONFIG_FILE, "first": BOOLEAN}`` forks an agent (its pid), ``{"kill": PID}``
kills it, ``{"wait": PID}`` buries it (its exit code). An agent that is ``first`` is PID 1 of a namespace
below, with a /run that is empty: its end is a reboot of the amphora.

An agent is a fork of a process that has imported everything. It ends at once before the n-th thing that it
does to the world outside of its memory, once the test has written n into the counter: files that it opens to
write, renames or removes, programs that it starts, sockets that it connects to. A hook of the interpreter
sees them (PEP 578), so nothing has to be marked in the agent, and what is new is found by itself. What it
does there is not here: see :mod:`tests.netns.test_agent_kills`.
"""

import ctypes
import json
import mmap
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, Final

EVENTS: Final = frozenset(
    {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree", "subprocess.Popen", "os.symlink"}
)
COUNTER_BYTES: Final = 4096
KILLED: Final = 99  # exit code
CLONE_NEWNS: Final = 0x00020000
CLONE_NEWPID: Final = 0x20000000
MOST_REPEATED: Final = 6  # of the same in a row: whoever waits for something asks often
SYSTEMCTL: Final = """\
#!/bin/bash
exec 3<>/dev/tcp/127.0.0.1/{port}
echo "$*" >&3
read -r code rest <&3
echo "$rest"
exit "$code"
"""

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    import octavia.amphora_agent.agent
    import octavia.amphora_agent.children
    import octavia.amphora_agent.handlers
    import octavia.amphora_agent.server
    import octavia.amphora_agent.systemd
    import octavia.cmd.amphora_agent

    assert octavia.amphora_agent.agent
    directory = Path(sys.argv[1])
    systemd = Systemd(directory)
    threading.Thread(target=systemd.serve, daemon=True).start()
    _say("ready")
    for line in sys.stdin:
        order = json.loads(line)
        if "start" in order:
            pid = _fork(first=order["first"])
            if pid == 0:
                _become_agent(order["start"], directory, first=order["first"])
            _say(pid)
        elif "kill" in order:
            os.kill(order["kill"], signal.SIGKILL)
            _say(order["kill"])
        else:
            _say(os.waitstatus_to_exitcode(os.waitpid(order["wait"], 0)[1]))


def _fork(*, first: bool) -> int:
    if not first:
        return os.fork()
    ours = os.open("/proc/self/ns/pid", os.O_RDONLY)
    try:
        _check(_libc.unshare(CLONE_NEWPID))
        pid = os.fork()
        if pid:
            _check(_libc.setns(ours, CLONE_NEWPID))  # a namespace has one PID 1 and no other
        return pid
    finally:
        os.close(ours)


def _reboot() -> None:
    _check(_libc.unshare(CLONE_NEWNS))
    for what, where in (("proc", "/proc"), ("tmpfs", "/run")):
        _check(_libc.mount(what.encode(), where.encode(), what.encode(), 0, None))


def _check(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _say(answer: object) -> None:
    sys.stdout.write(f"{answer}\n")
    sys.stdout.flush()


class Systemd:
    """As much of it as an agent needs: units outlive whoever has them started."""

    def __init__(self, directory: Path) -> None:
        self.units = directory / "units"
        self.units.mkdir()
        self._directory = directory
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._port = socket.create_server(("127.0.0.1", 0))
        program = directory / "systemctl"
        program.write_text(SYSTEMCTL.format(port=self._port.getsockname()[1]))
        program.chmod(0o755)

    def serve(self) -> None:
        """One command at a time, as they come."""
        while True:
            client, _ = self._port.accept()
            with client, client.makefile("rw") as file:
                verb, *names = file.readline().split() or [""]
                try:
                    said = self._do(verb, names[0] if names else "")
                except Exception as error:
                    traceback.print_exc()
                    said = f"1 {error!r}"
                try:
                    file.write(f"{said}\n")
                    file.flush()
                except OSError:
                    pass  # whoever asked was told to die with the agent

    def _do(self, verb: str, name: str) -> str:
        running = self._running.get(name)
        if running is not None and running.poll() is not None:
            running = None
        if verb == "start" and running is None:
            return self._start(name)
        if verb == "reload":
            if running is None:
                return "1 it is not active"
            running.send_signal(signal.SIGUSR2 if "haproxy-" in name else signal.SIGHUP)
        if verb == "stop" and running is not None:
            running.terminate()
            running.wait(10)
        return "0"

    def _start(self, name: str) -> str:
        text = (self.units / name).read_text()
        command = next(line for line in text.splitlines() if line.startswith("ExecStart="))
        path = self._directory / f"{name}.notify"
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
            heard.bind(str(path))
            heard.settimeout(0.05)
            with (self._directory / f"{name}.log").open("ab") as log:
                process = subprocess.Popen(
                    shlex.split(command.removeprefix("ExecStart=")),
                    env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "NOTIFY_SOCKET": str(path)},
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            self._running[name] = process
            while "Type=notify" in text:
                if process.poll() is not None:
                    return f"1 it ended with {process.returncode}"
                try:
                    if b"READY=1" in heard.recv(4096):
                        break
                except TimeoutError:
                    continue
        return "0"


def _become_agent(config: str, directory: Path, *, first: bool) -> None:
    code = 70
    try:
        if first:
            _reboot()
        log = os.open(directory / "agent.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        code = _run_agent(config, directory)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _run_agent(config: str, directory: Path) -> int:
    from octavia.amphora_agent import systemd
    from octavia.cmd import amphora_agent

    class Supervisor(systemd.SystemdSupervisor):
        def __init__(self, processes: Any, on_change: Any) -> None:
            super().__init__(
                processes,
                on_change,
                unit_directory=directory / "units",
                systemctl=str(directory / "systemctl"),
            )

    vars(systemd)["SystemdSupervisor"] = Supervisor
    with (directory / "counter").open("r+b") as file:
        counter = mmap.mmap(file.fileno(), COUNTER_BYTES)
    sys.addaudithook(_Mortal(counter))
    sys.argv = ["amphora-agent", "--config-file", config]
    return amphora_agent.main()


class _Mortal:
    """Counts down, and kills."""

    def __init__(self, counter: mmap.mmap) -> None:
        self._counter = counter
        self._last = b""
        self._repeated = 0

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        left = int.from_bytes(self._counter[:8], "little")
        if not left or not _touches_the_world(event, arguments):
            return
        said = f"{event} {arguments!r}".encode(errors="replace")[: COUNTER_BYTES - 8]
        self._repeated = self._repeated + 1 if said == self._last else 0
        self._last = said
        if self._repeated >= MOST_REPEATED:
            return
        self._counter[:8] = (left - 1).to_bytes(8, "little")
        self._counter[8:] = said.ljust(COUNTER_BYTES - 8)
        if left == 1:
            os._exit(KILLED)  # as SIGKILL does it, which PID 1 cannot send to itself


def _touches_the_world(event: str, arguments: tuple[Any, ...]) -> bool:
    if event == "open":  # what is replaced in one step is counted when it is; each start sets all sysctls
        path, how = arguments[0], str(arguments[1])[:1]
        return isinstance(path, str) and how in ("w", "a", "x") and not path.startswith("/proc/sys/")
    if event == "socket.connect":
        return isinstance(arguments[1], str)
    if event in ("os.mkdir", "os.remove", "shutil.rmtree"):  # of what is there already, or is not
        return os.path.lexists(arguments[0]) != (event == "os.mkdir")
    return event in EVENTS


if __name__ == "__main__":
    main()
