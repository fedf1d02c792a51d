# SPDX-License-Identifier: Apache-2.0
"""One load balancer's HAProxy: validate, then change what runs by the gentlest means.

``haproxy.cfg`` is always what *runs*: a change by runtime commands rewrites it too, because a reload
forgets what the socket was told. What is only staged lies beside it as ``haproxy.cfg.staged``.

The order makes every interruption harmless. Runtime commands come before the file, a reload after it. While
either is under way ``haproxy.cfg.previous`` is there: an agent that starts beside it has a process that may
run the one, the other or half of a change, and a reload makes that whole. Certificates are written right
before the file that names them, and removed after it.

Which commands make a change, or why none do, is not here: see :mod:`octavia.dataplane.haproxy.diff`.
"""

import contextlib
import logging
import re
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from octavia.amphora_agent import durable, stats_socket, stick_tables
from octavia.amphora_agent.certificates import CertificateDirectory, Files
from octavia.amphora_agent.config import AgentConfig
from octavia.amphora_agent.details import Versions
from octavia.amphora_agent.processes import Processes
from octavia.amphora_agent.supervisor import Service, ServiceFailed, Supervisor
from octavia.dataplane.haproxy import certificates, diff, runtime, values
from octavia.dataplane.haproxy.certificates import CertificateChange
from octavia.dataplane.haproxy.diff import RemoveServer
from octavia.dataplane.haproxy.parse import parse
from octavia.dataplane.haproxy.peer import peer_name
from octavia.dataplane.haproxy.reload import Cause, Reload
from octavia.dataplane.haproxy.runtime import Command, Verdict
from octavia.dataplane.haproxy.server import Server, ServerKey, all_servers
from octavia.wire.agent import CertificateFile

LOG = logging.getLogger(__name__)

# Both workers have the same listening socket: until the old one lets go of it, it may answer.
OLD_WORKER_SECONDS: Final = 1.0
NEW_WORKER_SECONDS: Final = 20.0  # for the new worker to answer, where the supervisor cannot tell
CHECK_BLOCKS: Final = 1000  # of the cache of TLS sessions of a process that only validates
OLD_PROCESSES: Final = 16  # that may still serve connections of before a reload
_POLL_SECONDS: Final = 0.01
# Old controllers sent a directive that belongs to the agent. Its line stays, empty: lines are numbered.
_GROUP = re.compile(r"^[ \t]+group[ \t].*", re.MULTILINE)
_HTTP_CLIENT_SINCE: Final = (2, 6)
_EMPTY_STATE: Final = "1\n# be_id be_name srv_id srv_name\n"  # HAProxy warns about a missing file


class Invalid(Exception):
    """HAProxy refuses a configuration; the text is what it says. What ran before still runs."""


class NotFound(Exception):
    """There is no such load balancer here."""


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a request: ``unchanged``, ``started``, ``changed``, ``reloaded`` or ``stopped``.

    :param reason: why it had to be a reload.
    """

    action: str
    reason: str | None = None


class Haproxy:
    """The HAProxy of one load balancer. Callers hold the agent's lock for everything that changes."""

    def __init__(
        self,
        load_balancer_id: str,
        config: AgentConfig,
        supervisor: Supervisor,
        processes: Processes,
        versions: Versions,
        reloads: "Counter[str]",
    ) -> None:
        base = config.base_path
        self.load_balancer_id = load_balancer_id
        self.directory = base / load_balancer_id
        self.live = self.directory / "haproxy.cfg"
        self.staged = self.directory / "haproxy.cfg.staged"
        self.certificates = CertificateDirectory(config.base_cert_dir / load_balancer_id)
        self.stats_socket = base / f"{load_balancer_id}.sock"
        self.admin_socket = base / f"{load_balancer_id}.adm"
        self._previous = self.directory / "haproxy.cfg.previous"
        self._state_file = self.directory / "servers-state"
        self._own_file = self.directory / "agent.cfg"
        self._check_file = self.directory / "agent-check.cfg"
        self._group_file = base / "haproxy-default-user-group.conf"
        self._config = config
        self._supervisor = supervisor
        self._processes = processes
        self._versions = versions
        self._reloads = reloads
        # Members removed from traffic that HAProxy still knows: as they were, and since when.
        self._removed: dict[ServerKey, Server] = {}
        self._draining_since: dict[ServerKey, float] = {}
        self.service = Service(
            name=f"haproxy-{load_balancer_id}",
            argv=(
                *(config.haproxy_cmd, "-Ws"),
                *("-f", str(self.live), "-f", str(self._group_file), "-f", str(self._own_file)),
                *("-p", str(self.directory / f"{load_balancer_id}.pid")),
                *("-L", peer_name(config.amphora_id)),
            ),
            pid_file=self.directory / f"{load_balancer_id}.pid",
            reload_signal=signal.SIGUSR2,
            notify_socket=base / f"{load_balancer_id}.ntf",
            notifies=True,
            unit_options=("KillMode=mixed", "SuccessExitStatus=143"),
        )

    # --- reading ------------------------------------------------------------------------------

    @property
    def exists(self) -> bool:
        """Has it a configuration, running or staged?"""
        return self.live.exists() or self.staged.exists()

    @property
    def is_running(self) -> bool:
        """Is its process there?"""
        return self._supervisor.main_pid(self.service) is not None

    def text(self) -> str:
        """The newest configuration that was accepted.

        :raises NotFound: there is none.
        """
        for path in (self.staged, self.live):
            with contextlib.suppress(FileNotFoundError):
                return path.read_text(encoding="utf-8")
        raise NotFound(self.load_balancer_id)

    def ask(self, command: str) -> str:
        """One command to the running process. :raises stats_socket.NoAnswer:"""
        return stats_socket.ask(self.admin_socket, command)

    # --- changing -----------------------------------------------------------------------------

    def stage(self, text: str) -> None:
        """Accept a configuration for a later :meth:`reload`.

        :raises Invalid: HAProxy refuses it.
        """
        self._validate(_GROUP.sub("", text))
        durable.rename(self._new, self.staged)

    def reload(self, *, certificates_changed: bool = False) -> Change:
        """Make what is staged live, or start what is not running.

        :raises NotFound: there is no configuration.
        :raises Invalid: HAProxy refuses it after all.
        """
        if not self.exists:
            raise NotFound(self.load_balancer_id)
        change = self.apply(self.text(), certificates_changed=certificates_changed)
        self.staged.unlink(missing_ok=True)
        return change

    def apply(
        self,
        text: str,
        *,
        certificates_changed: bool = False,
        wanted_files: Mapping[str, CertificateFile] | None = None,
    ) -> Change:
        """Make a configuration live, by the gentlest means; the same again changes nothing.

        :param wanted_files: the files that it names; None: they are in their places.
        :raises Missing: not all of them are here.
        :raises Invalid: HAProxy refuses it; what ran before still runs.
        :raises ServiceFailed: HAProxy died meanwhile; it comes back with what ran before.
        """
        running = self._running_text()
        files = None if wanted_files is None else self.certificates.resolve(wanted_files)
        if files == self.certificates.read():
            files = None
        if running == text and files is None and not certificates_changed:
            return Change("unchanged")
        self._validate(text, files)
        if not self.is_running:
            change = self._start_with_new(files)
        elif running is None:
            change = self._reload_with_new(Reload(Cause.UNKNOWN, "it was not known what runs"), files)
        elif certificates_changed:
            change = self._reload_with_new(Reload(Cause.CERTIFICATE, "a certificate has changed"), files)
        else:
            change = self._change_from(running, text, files)
        if files is not None:
            self.certificates.keep_only(files)
        self.staged.unlink(missing_ok=True)
        return change

    def stop(self) -> None:
        """Stop the process; the configuration stays."""
        self._supervisor.stop(self.service)

    def remove(self) -> Change:
        """Stop the process and take away all that belongs to the load balancer; absent is a success."""
        existed = self.exists
        self._supervisor.stop(self.service)
        # Its file first: an agent that is killed in here must not bring it back, with its keys gone.
        for path in (self.staged, self.live, self.stats_socket, self.admin_socket):
            path.unlink(missing_ok=True)
        self.certificates.remove()
        shutil.rmtree(self.directory, ignore_errors=True)
        self._forget_removed()
        return Change("stopped" if existed else "unchanged")

    def restore(self) -> None:
        """After a start of the agent or of the machine: run what was live.

        :raises Invalid: HAProxy does not start with it any more.
        """
        self._write_own_files()
        if not self._supervisor.adopt(self.service):
            self._previous.unlink(missing_ok=True)
            if self.live.exists():
                self._run()
            return
        if self._previous.exists():
            # The agent died amid runtime commands, or between swapping the file and seeing the new worker.
            durable.write(self._new, self.live.read_text(encoding="utf-8"))
            self._reload_with_new(Reload(Cause.UNKNOWN, "the agent was interrupted during a change"))

    def remove_leftovers(self) -> None:
        """What a killed agent was validating; nothing reads it any more."""
        for path in (self._new, self._trial):
            path.unlink(missing_ok=True)
        self.certificates.remove_trial()

    # --- members that were removed --------------------------------------------------------------

    def delete_drained(self) -> bool:
        """Delete removed members whose last session is over, or whose time is; True while some are left.

        They are found by comparing: in the process, but not in its file. So a restarted agent goes on.
        """
        running = self._running_text()
        if running is None:
            self._forget_removed()
            return False
        try:
            leftovers = self._leftovers(running)
            for key in leftovers:
                self._delete_if_drained(RemoveServer(key))
        except (stats_socket.NoAnswer, ValueError) as error:
            LOG.warning("Cannot look for removed members of %s: %s", self.load_balancer_id, error)
            return False
        return bool(self._draining_since)

    def _delete_if_drained(self, removal: RemoveServer) -> None:
        key = removal.key
        since = self._draining_since.setdefault(key, time.monotonic())
        if time.monotonic() - since > self._config.haproxy_drain_limit:
            LOG.warning("Closing the last sessions of removed member %s", key.server)
            self.ask(removal.at_limit.text)
        verdict = removal.deferred.verdict(answer := self.ask(removal.deferred.text))
        if verdict is Verdict.BUSY:
            return
        if verdict is Verdict.FAILED:
            LOG.warning("Removed member %s stays until the next reload: %s", key.server, answer)
        else:
            LOG.info("Removed member %s has no session left and is deleted", key.server)
        self._draining_since.pop(key)
        self._removed.pop(key, None)

    def _leftovers(self, running: str) -> list[ServerKey]:
        in_file = all_servers(parse(running))
        rows = runtime.parse_servers_state(self.ask(runtime.SHOW_SERVERS_STATE)).rows
        in_process = [ServerKey(row["be_name"], row["srv_name"]) for row in rows]
        return [key for key in in_process if key not in in_file]

    def _forget_removed(self) -> None:
        self._draining_since.clear()
        self._removed.clear()

    # --- how ------------------------------------------------------------------------------------

    @property
    def _new(self) -> Path:
        return self.directory / "haproxy.cfg.new"

    @property
    def _trial(self) -> Path:
        return self.directory / "haproxy.cfg.trial"

    def _running_text(self) -> str | None:
        """What the running process was told; None if nothing runs, or one cannot know."""
        if not self.is_running or self._previous.exists():
            return None
        with contextlib.suppress(FileNotFoundError):
            return self.live.read_text(encoding="utf-8")
        return None

    def _write_own_files(self) -> None:
        """Beside the controller's file: the group, and a socket that may change things."""
        durable.write(self._group_file, "global\n    group nogroup\n", mode=0o644)
        # Without strict limits it serves fewer connections where the kernel allows fewer files, instead
        # of none at all.
        # A reload leaves a process behind for its last connections: there are only so many, for so long.
        own = (
            "global",
            f"stats socket {self.admin_socket} mode 600 level admin",
            "no strict-limits",
            f"hard-stop-after {self._config.haproxy_hard_stop_after}s",
            f"mworker-max-reloads {OLD_PROCESSES}",
            *self._without_system_cas(),
        )
        durable.write(self._own_file, "\n    ".join(own) + "\n")
        if not self._state_file.exists():
            durable.write(self._state_file, _EMPTY_STATE)
        # HAProxy writes to the whole cache of TLS sessions when it starts, also if that is only to validate.
        durable.draft(self._check_file, f"global\n    tune.ssl.cachesize {CHECK_BLOCKS}\n")

    def _without_system_cas(self) -> Iterable[str]:
        """HAProxy's own HTTP client is for Lua and updates of OCSP, which nothing here uses.

        For it every process, also one that only validates, reads all CAs of the system: 20 ms.
        """
        if values.version(self._versions.haproxy or "0.0") >= _HTTP_CLIENT_SINCE:
            yield "httpclient.ssl.verify none"

    def _validate(self, text: str, files: Files | None = None) -> None:
        """Leaves the text as the new one. :raises Invalid:"""
        if not self._check_file.exists():  # the last of them
            self._write_own_files()
        candidate = self._new
        if files is not None:
            candidate = self._trial
            durable.write(candidate, self.certificates.try_out(files, text))
        durable.draft(self._new, text)
        result = self._processes.run(
            (
                *(self._config.haproxy_cmd, "-c", "-L", peer_name(self._config.amphora_id)),
                *("-f", str(candidate), "-f", str(self._group_file), "-f", str(self._own_file)),
                *("-f", str(self._check_file)),
            )
        )
        output = result.output
        if files is not None:
            candidate.unlink()
            output = self.certificates.end_trial(output)
        if result.returncode:
            self._new.replace(self._new.with_name("haproxy.cfg.new-failed"))
            raise Invalid(output)

    def _start_with_new(self, files: Files | None = None) -> Change:
        before = self.live.read_text(encoding="utf-8") if self.live.exists() else None
        certificates = self.certificates.read()
        self.certificates.write(files or {})
        durable.rename(self._new, self.live)
        self._previous.unlink(missing_ok=True)
        try:
            self._run()
        except Invalid:
            self.certificates.write(certificates)
            self._put_back(before)
            if before is not None:
                with contextlib.suppress(Invalid):
                    self._run()
            raise
        return Change("started")

    def _run(self) -> None:
        try:
            self._supervisor.start(self.service)
        except ServiceFailed as error:
            raise Invalid(str(error)) from error

    def _change_from(self, running: str, wanted: str, files: Files | None = None) -> Change:
        verdict = diff.change(running, wanted, pending=self._removed)
        if isinstance(verdict, Reload):
            return self._reload_with_new(verdict, files)
        secured: Reload | CertificateChange = CertificateChange()
        if files is not None:
            directory = str(self.certificates.path)
            secured = certificates.change(wanted, directory, self.certificates.read(), files)
        if isinstance(secured, Reload):
            return self._reload_with_new(secured, files)
        servers = (command for one in verdict for command in one.commands)
        self._previous.touch()  # not on the disk yet: a machine that dies takes the process along
        try:
            self._tell((*secured.first, *servers, *secured.last))
        except (stats_socket.NoAnswer, _Unwilling) as error:
            return self._reload_half_changed(
                Reload(Cause.REFUSED, f"a change at runtime failed: {error}"), files
            )
        self.certificates.write(files or {})
        durable.rename(self._new, self.live)
        self._previous.unlink()
        self._removed.update(diff.removed(verdict, running))
        for key in all_servers(parse(wanted)):  # wanted again, so not to be deleted
            self._removed.pop(key, None)
            self._draining_since.pop(key, None)
        return Change("changed")

    def _tell(self, commands: Iterable[Command]) -> None:
        for command in commands:
            answer = stats_socket.ask(self.admin_socket, command.text, command.payload)
            if command.verdict(answer) is not Verdict.DONE:
                raise _Unwilling(f"'{command.text}' was answered with {answer[:200]!r}")

    def _reload_half_changed(self, why: Reload, files: Files | None) -> Change:
        """Only a whole file makes the process whole again; if not this one, the next one."""
        try:
            return self._reload_with_new(why, files)
        except (Invalid, ServiceFailed):
            self._previous.touch()
            raise

    def _reload_with_new(self, why: Reload, files: Files | None = None) -> Change:
        """Swap the file and let HAProxy read it; put the old one back if no new worker comes."""
        if not self.is_running:  # it has died since we looked
            return self._start_with_new(files)
        self._reloads[why.cause.value] += 1
        LOG.info("Reloading HAProxy of %s (%s): %s", self.load_balancer_id, why.cause.value, why.reason)
        stick_tables.await_learnt(self.admin_socket)
        before = self.live.read_text(encoding="utf-8")
        self._save_server_states(self._new.read_text(encoding="utf-8"))
        old_worker = stats_socket.worker_pid(self.admin_socket)
        loaded = self.certificates.read()
        durable.write(self._previous, before)
        self.certificates.write(files or {})
        durable.rename(self._new, self.live)
        try:
            self._supervisor.reload(self.service)
            self._await_other_worker_than(old_worker)
        except ServiceFailed as error:
            self.certificates.write(loaded)
            self._put_back(before)
            if old_worker is not None and stats_socket.worker_pid(self.admin_socket) == old_worker:
                self._previous.unlink()  # else nobody knows what runs, or will run in a moment
            if not self.is_running:
                raise  # killed meanwhile, which says nothing about the configuration
            raise Invalid(str(error)) from error
        self._previous.unlink()
        # A start after a crash must not believe what checks found before this reload.
        durable.write(self._state_file, _EMPTY_STATE)
        self._forget_removed()
        return Change("reloaded", why.reason)

    def _await_other_worker_than(self, old: int | None) -> None:
        started = time.monotonic()
        while True:
            worker = stats_socket.worker_pid(self.admin_socket)
            if worker is not None and worker != old:
                return
            settled = worker == old and self._supervisor.reload_is_synchronous
            if time.monotonic() - started > (OLD_WORKER_SECONDS if settled else NEW_WORKER_SECONDS):
                raise ServiceFailed(
                    f"no new worker after a reload\n{self._supervisor.last_words(self.service)}"
                )
            time.sleep(_POLL_SECONDS)

    def _put_back(self, before: str | None) -> None:
        if self.live.exists():
            self.live.replace(self.live.with_name("haproxy.cfg.new-failed"))
        if before is not None:
            durable.write(self.live, before)

    def _save_server_states(self, wanted: str) -> None:
        """So that the new worker knows who is down; failures only delay that by a few checks."""
        try:
            state = runtime.state_for_reload(self.ask(runtime.SHOW_SERVERS_STATE), parse(wanted))
        except (stats_socket.NoAnswer, ValueError) as error:
            LOG.warning("Server states are not kept over this reload: %s", error)
            state = _EMPTY_STATE
        durable.write(self._state_file, state)


class _Unwilling(Exception):
    """HAProxy did not do what a runtime command asked."""
