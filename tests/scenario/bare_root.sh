#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A machine with nothing installed, on a machine that has everything: a bare Debian root with only Python, entered
# with mount, pid and network namespaces of its own.
#
#   bare_root.sh make DIRECTORY           a bare root there, with this working tree in /octavia (needs mmdebstrap)
#   bare_root.sh install DIRECTORY        ./dev install in it: the one step that needs the network
#   bare_root.sh enter DIRECTORY COMMAND… in /octavia, in a network namespace that leads nowhere
#
# Installing uses this machine's network namespace, since a private one leads to no package index; it starts nothing.
set -euo pipefail

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

make_root() {
  local root=$1
  mmdebstrap --quiet --variant=apt --include=python3 --components=main bookworm "$root"
  mkdir "$root/octavia"
  git -C "$checkout" ls-files -z --cached --others --exclude-standard \
    | (cd "$checkout" && xargs -0 sh -c 'for f; do [ ! -e "$f" ] || printf "%s\0" "$f"; done' sh) \
    | tar -C "$checkout" --null --files-from=- -c | tar -C "$root/octavia" -x
}

# In a mount namespace of its own: what a booted machine has in /dev, /proc, /sys and /run; then the command.
inside() {
  local root=$1
  shift
  mount --make-rprivate /
  mount --bind "$root" "$root"
  mount -t proc proc "$root/proc"
  mount -t sysfs sysfs "$root/sys"
  mount --rbind /dev "$root/dev"
  mount -t tmpfs tmpfs "$root/run"
  mount -t tmpfs tmpfs "$root/tmp"
  # How this machine reaches a package index is a matter of this machine.
  local file
  for file in /etc/resolv.conf /etc/pip.conf "${HOME:-/root}/.config/pip/pip.conf"; do
    if [ -e "$file" ]; then
      mkdir -p "$root$(dirname "$file")"
      touch "$root$file"
      mount --bind "$file" "$root$file"
    fi
  done
  local certificates=()
  if [ -e /etc/ssl/certs/ca-certificates.crt ]; then
    touch "$root/run/certificates.crt"
    mount --bind /etc/ssl/certs/ca-certificates.crt "$root/run/certificates.crt"
    certificates=(PIP_CERT=/run/certificates.crt)
  fi
  exec chroot "$root" /usr/bin/env -i HOME="${HOME:-/root}" TERM=dumb "${certificates[@]}" \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    sh -c 'cd /octavia && exec "$@"' sh "$@"
}

command=$1 root=$(realpath -m "$2")
shift 2
case "$command" in
  make) make_root "$root" ;;
  install) exec unshare --mount --pid --fork "$0" inside "$root" ./dev install </dev/null ;;
  enter) exec unshare --mount --pid --net --uts --ipc --fork "$0" lonely "$root" "$@" </dev/null ;;
  lonely) ip link set lo up && inside "$root" "$@" ;;
  inside) inside "$root" "$@" ;;
  *) echo "bare_root.sh: no such command: $command" >&2; exit 2 ;;
esac
