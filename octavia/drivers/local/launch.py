# SPDX-License-Identifier: Apache-2.0
"""The program between a controller and an amphora: makes the namespaces, then becomes the agent.

Run as a script by :mod:`octavia.drivers.local.process`, with nothing but the standard library: it is
waited for at every boot of an amphora. Setting up ``eth0`` is not here: the controller does that
from outside while this one waits.

The talk with the controller goes over two pipes. Standard input: ``go`` starts the command; its end
without ``go`` means that the controller died before it had recorded this process, so the process
ends too. The report: ``pid N``, then ``ready``, and then either the end of the file, which means
that the command runs, or ``failed WHY``.
"""

import ctypes
import fcntl
import json
import os
import select
import signal
import socket
import struct
import sys
from typing import Any, NoReturn

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_BIND, MS_REC, MS_PRIVATE, MS_SLAVE = 4096, 16384, 1 << 18, 1 << 19
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1

HOST_ETC = "/run/.host-etc"

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _mount(source: str, target: str, kind: str = "none", flags: int = 0, data: str = "") -> None:
    result = _libc.mount(
        source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode() or None
    )
    _check(result, f"mount {kind} on {target}")


def enter_private_root() -> None:
    """See the host's files through mounts of our own, which the host does not see."""
    # The usual "make / private" fails in a chroot whose root is no mount point, and mounting anything
    # there could reach the host. /proc always is a mount point: made private, it can carry a second
    # view of the whole root. As a slave the view still follows when the host unmounts a disk.
    _mount("none", "/proc", flags=MS_PRIVATE)
    _mount("/", "/proc", flags=MS_BIND | MS_REC)
    _mount("none", "/proc", flags=MS_SLAVE | MS_REC)
    os.chdir("/proc")
    os.chroot(".")
    os.chdir("/")


def mount_own(directory: int, mount_at: str) -> None:
    """A /proc, /sys and /run of its own; in /run, the directory that persists.

    :param directory: descriptor of it, opened before /run hides where it may live.
    """
    hardened = MS_NOSUID | MS_NODEV | MS_NOEXEC
    _mount("proc", "/proc", "proc", hardened)
    _mount("sysfs", "/sys", "sysfs", hardened | MS_RDONLY)
    _mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=64m")
    os.makedirs(mount_at, mode=0o700)
    _mount(f"/proc/self/fd/{directory}", mount_at, flags=MS_BIND)


def shadow_etc(own: str) -> None:
    """An /etc that leads to the host's, except for the entries of ``own``, which come from there.

    Links, because an overlay needs a kernel module and does not stack on every file system.
    """
    os.mkdir(HOST_ETC)
    _mount("/etc", HOST_ETC, flags=MS_BIND | MS_REC)
    _mount("tmpfs", "/etc", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=16m")
    replaced = set(os.listdir(own)) if os.path.isdir(own) else set()
    for name in replaced:
        os.symlink(f"{own}/{name}", f"/etc/{name}")
    with os.scandir(HOST_ETC) as entries:
        for entry in entries:
            if entry.name not in replaced:
                # A relative link means something only from where it is, so it is copied as it is.
                to = os.readlink(entry.path) if entry.is_symlink() else entry.path
                os.symlink(to, f"/etc/{entry.name}")


def bring_loopback_up() -> None:
    """The kernel adds 127.0.0.1 and ::1 by itself."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh14x", b"lo", 0)
        (flags,) = struct.unpack("16xh14x", fcntl.ioctl(any_socket, SIOCGIFFLAGS, request))
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


def become(order: dict[str, Any], report: int) -> NoReturn:
    """Inside the namespaces, as process 1: set up, wait for the word, run the command."""
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        directory = os.open(order["directory"], os.O_PATH | os.O_DIRECTORY)
        socket.sethostname(order["hostname"])
        enter_private_root()
        mount_own(directory, order["mount_at"])
        shadow_etc(f"{order['mount_at']}/etc")
        bring_loopback_up()
        os.write(report, b"ready\n")
        if os.read(0, 2) != b"go":
            os._exit(0)
        null = os.open("/dev/null", os.O_RDWR)
        os.dup2(null, 0)
        os.set_inheritable(report, False)
        os.execvpe(order["command"][0], order["command"], order["environment"])  # noqa: S606
    except BaseException as why:
        os.write(report, f"failed {type(why).__name__}: {why}\n".encode())
        os._exit(1)


def main() -> None:
    """Make the namespaces and process 1 in them, and stay until the controller holds on to it."""
    order, report = json.loads(sys.argv[1]), int(sys.argv[2])
    os.setsid()
    try:
        every = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET
        _check(_libc.unshare(every), "unshare namespaces")
    except OSError as why:
        os.write(report, f"failed {why}\n".encode())
        sys.exit(1)
    child = os.fork()
    if child == 0:
        become(order, report)
    os.write(report, f"pid {child}\n".encode())
    os.close(report)
    # As long as its parent lives and does not wait for it, the child's number cannot be given to
    # another process. The controller kills us as soon as it holds the child; or it dies itself.
    watch = select.poll()
    watch.register(0, 0)
    watch.poll()


if __name__ == "__main__":
    main()
