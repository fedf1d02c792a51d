# SPDX-License-Identifier: Apache-2.0
"""The agent's directory of certificates: the old files or the new ones, and nobody else's eyes."""

import stat
from pathlib import Path

import pytest

from octavia.amphora_agent.certificates import CertificateDirectory, Missing, digest
from octavia.wire.agent import CertificateFile


@pytest.fixture
def directory(tmp_path: Path) -> CertificateDirectory:
    return CertificateDirectory(tmp_path / "certs" / "lb")


def named(content: bytes, *, sent: bool = False) -> CertificateFile:
    return CertificateFile(sha256=digest(content), content=content.decode() if sent else None)


def test_what_is_here_need_not_be_sent(directory: CertificateDirectory) -> None:
    directory.write({"a.pem": b"one", "b.pem": b"two"})
    wanted = {
        "a.pem": named(b"one"),
        "b.pem": named(b"changed", sent=True),
        "c.pem": named(b"new", sent=True),
    }
    assert directory.resolve(wanted) == {"a.pem": b"one", "b.pem": b"changed", "c.pem": b"new"}
    kept = CertificateFile(sha256=None)
    assert directory.resolve({"b.pem": kept}) == {"b.pem": b"two"}
    with pytest.raises(Missing) as missing:
        directory.resolve(wanted | {"b.pem": named(b"changed"), "d.pem": kept})
    assert missing.value.names == ["b.pem", "d.pem"]
    assert directory.read() == {"a.pem": b"one", "b.pem": b"two"}


def test_nothing_is_here_before_there_is_something(directory: CertificateDirectory) -> None:
    assert directory.read() == {}
    directory.write({})
    directory.keep_only({})
    directory.remove()
    assert not directory.path.exists()


def test_files_and_directories_are_roots_alone(directory: CertificateDirectory) -> None:
    directory.write({"a.pem": b"one"})
    text = directory.try_out({"a.pem": b"one"}, "")
    assert text == ""
    for path in (directory.path, directory.path.with_name("lb.trial")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert stat.S_IMODE((path / "a.pem").stat().st_mode) == 0o600


def test_a_trial_names_its_own_files_and_leaves_nothing(directory: CertificateDirectory) -> None:
    directory.write({"a.pem": b"old"})
    listed = f"{directory.path}/a.pem\n".encode()
    text = directory.try_out({"a.pem": b"new", "l.pem": listed}, f"crt-list {directory.path}/l.pem")
    trial = Path(text.split()[1]).parent
    assert (trial / "l.pem").read_text() == f"{trial}/a.pem\n"
    assert (trial / "a.pem").read_bytes() == b"new"
    assert directory.read() == {"a.pem": b"old"}
    assert directory.end_trial(f"{trial}/a.pem is odd") == f"{directory.path}/a.pem is odd"
    assert not trial.exists()


def test_only_what_is_wanted_stays(directory: CertificateDirectory) -> None:
    directory.write({"a.pem": b"one", "b.pem": b"two"})
    directory.write({"b.pem": b"three"})
    assert directory.read() == {"a.pem": b"one", "b.pem": b"three"}
    directory.keep_only({"b.pem": b"three"})
    assert directory.read() == {"b.pem": b"three"}
    directory.remove()
    assert directory.read() == {}
