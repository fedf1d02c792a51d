# SPDX-License-Identifier: Apache-2.0
"""``octavia-standalone``: a whole load balancing service on one machine, without OpenStack.

The commands and their order of steps. The controller itself is not here: see :mod:`octavia.cmd.controller`.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.error import URLError

from octavia.cmd.standalone import clouds, controller_process, preflight
from octavia.cmd.standalone.configuration import api_url, configuration
from octavia.cmd.standalone.errors import Refusal
from octavia.cmd.standalone.narrator import Narrator
from octavia.cmd.standalone.state import State, default_path
from octavia.config.checks import Contradiction
from octavia.domain.errors import OctaviaError


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, or 1 after one sentence on standard error."""
    arguments = _parser(sys.argv[1:] if argv is None else argv).parse_args(argv)
    command: Callable[[argparse.Namespace, State], None] = arguments.command
    try:
        preflight.require_package()
        command(arguments, State(arguments.state_dir.resolve()))
    except (Refusal, Contradiction, OctaviaError) as why:
        print(f"octavia-standalone: {why}", file=sys.stderr)
        return 1
    except PermissionError as why:
        print(f"octavia-standalone: {why.filename} is root's: run it again with sudo.", file=sys.stderr)
        return 1
    except URLError as why:
        print(f"octavia-standalone: the API does not answer any more ({why.reason}).", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="octavia-standalone",
        description="Load balancing as a service on one machine: real HAProxy, real VRRP, no OpenStack.",
    )
    parser.add_argument(
        "--state-dir",
        type=Path,
        default=default_path(),
        help="where everything that must survive lives; one installation a directory"
        " (default: $OCTAVIA_STATE_DIR, else %(default)s)",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="start everything and play the demo; again changes nothing")
    up.add_argument("--no-demo", action="store_true", help="only start")
    up.set_defaults(command=_up)
    down = commands.add_parser("down", help="stop everything; load balancers come back with the next up")
    down.add_argument("--purge", action="store_true", help="forget them, and remove the state directory")
    down.set_defaults(command=_down)
    commands.add_parser("status", help="what runs").set_defaults(command=_status)
    commands.add_parser("demo", help="play the demo again").set_defaults(command=_demo)
    why = commands.add_parser("why", help="what a load balancer waits for, since when, and what happened")
    why.add_argument("load_balancer", metavar="LOAD_BALANCER", help="name or id")
    why.set_defaults(command=_why)
    if "secret" in argv:  # SQLAlchemy and cryptography take their time
        from octavia.cmd.standalone import secret  # noqa: PLC0415

        secret.add_parser(commands)
    else:
        commands.add_parser("secret", help="keep certificates for listeners and pools that speak TLS")
    # What `up` starts in the background; useful in the foreground under a service manager.
    commands.add_parser("run", help="be the controller, in the foreground").set_defaults(command=_run)
    return parser


def _up(arguments: argparse.Namespace, state: State) -> None:
    narrator = Narrator()
    preflight.use_system_programs()
    preflight.require_root()
    programs = preflight.require_programs()
    preflight.require_namespaces()
    narrator.say(f"{programs}, network namespaces: all here")
    state.make()
    conf = configuration(state)
    url = api_url(conf)
    pid = controller_process.running_pid(state)
    if pid is None:
        preflight.require_free_ports(conf)
        pid = controller_process.start(state, url)
        narrator.say(f"the controller runs (pid {pid}); its API answers at {url}")
    else:
        controller_process.wait_until_it_answers(
            state, url, lambda: controller_process.running_pid(state) is not None
        )
        narrator.say(f"the controller already runs (pid {pid}); its API is at {url}")
    first = clouds.write(state, url)
    if not arguments.no_demo:
        from octavia.cmd.standalone import demo  # noqa: PLC0415  # needs what only the demo needs

        demo.play(conf, state, narrator)
    narrator.say("done; everything is left running")
    _summary(state, url, first)


def _summary(state: State, url: str, first: str | None) -> None:
    beside = Path(sys.executable).parent / "activate"
    steps = [
        *([f". {beside}"] if beside.exists() else []),
        *([first] if first else []),
        f"export OS_CLOUD={clouds.CLOUD}",
        "openstack loadbalancer status show demo",
    ]
    print(
        "\n"
        f"  API      {url}\n"
        f"  state    {state.path}\n"
        f"  log      {state.log}\n"
        "  go on    " + "\n           ".join(steps) + "\n"
        "  why      octavia-standalone why demo\n"
        "  stop     octavia-standalone down [--purge]\n"
    )


def _down(arguments: argparse.Namespace, state: State) -> None:
    from octavia.cmd.standalone import host  # noqa: PLC0415  # pyroute2 is an optional dependency

    narrator = Narrator()
    preflight.use_system_programs()
    preflight.require_root()
    if controller_process.stop(state):
        narrator.say("the controller has ended")
    removed = host.remove_everything(state)
    narrator.say(f"removed {removed}")
    clouds.remove(state)
    if arguments.purge:
        state.purge()
        narrator.say(f"removed {state.path}")


def _demo(_arguments: argparse.Namespace, state: State) -> None:
    from octavia.cmd.standalone import demo  # noqa: PLC0415  # pyroute2 is an optional dependency

    preflight.use_system_programs()
    preflight.require_root()
    _require_running(state)
    demo.play(configuration(state), state, Narrator())


def _status(_arguments: argparse.Namespace, state: State) -> None:
    from octavia.cmd.standalone import report  # noqa: PLC0415  # pyroute2 is an optional dependency

    print(report.status(state))


def _why(arguments: argparse.Namespace, state: State) -> None:
    from octavia.cmd.standalone import report  # noqa: PLC0415  # SQLAlchemy takes its time

    preflight.require_root()
    _require_made(state)
    print(report.why(configuration(state), arguments.load_balancer))


def _run(_arguments: argparse.Namespace, state: State) -> None:
    from oslo_log import log  # noqa: PLC0415

    from octavia.cmd import controller  # noqa: PLC0415  # all of the service

    preflight.use_system_programs()
    preflight.require_root()
    state.make()
    with controller_process.running_lock(state):
        conf = configuration(state)
        log.setup(conf, "octavia-standalone")
        controller.run(conf)


def _require_made(state: State) -> None:
    if not state.exists():
        raise Refusal(f"there is nothing in {state.path}: run 'octavia-standalone up' first.")


def _require_running(state: State) -> None:
    if controller_process.running_pid(state) is None:
        raise Refusal("the controller does not run: start it with 'octavia-standalone up'.")
