"""A command that cannot write below given folders, whatever it tries."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ralph_loop.git import confine
from ralph_loop.git.confine import confinement_available

LAUNCHER = Path(confine.__file__)
reason = confinement_available()
pytestmark = pytest.mark.skipif(reason is not None, reason=f"not on this machine: {reason}")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder to protect, with a file in it, that everybody could write to."""
    folder = tmp_path / "tree"
    (folder / "inner").mkdir(parents=True)
    (folder / "file").write_text("mine\n")
    for path in (folder, folder / "inner"):
        path.chmod(0o777)
    (folder / "file").chmod(0o666)
    for parent in folder.parents:
        if parent.stat().st_mode & 0o5 != 0o5:
            parent.chmod(parent.stat().st_mode | 0o5)
    return folder


def run(
    *argv: str,
    ro: Path,
    rw: Path | None = None,
    cwd: Path | None = None,
    launcher: Path = LAUNCHER,
    user: int | None = None,
) -> subprocess.CompletedProcess[str]:
    options = ["--ro", str(ro)] + (["--rw", str(rw)] if rw else [])
    python = sys.executable if user is None else "/usr/bin/python3"
    return subprocess.run(
        [python, "-I", "-S", str(launcher), *options, "--", *argv],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        user=user,
        group=user,
        extra_groups=None if user is None else [],
    )


def test_reading_works_and_writing_does_not(tree: Path, tmp_path: Path) -> None:
    done = run("sh", "-c", f"cat file; echo x > file; echo x > {tmp_path}/outside; id -u", ro=tree, cwd=tree)
    assert "Read-only file system" in done.stderr
    assert done.stdout == f"mine\n{os.geteuid()}\n"
    assert (tree / "file").read_text() == "mine\n"
    assert (tmp_path / "outside").read_text() == "x\n"


@pytest.mark.parametrize(
    "attack",
    [
        "mount -o remount,bind,rw {tree}",
        "mount -o remount,rw {tree}",
        "umount {tree}",
        "umount -l {tree}",
        "unshare -rm sh -c 'mount -o remount,bind,rw {tree}; umount {tree}; echo x > {tree}/file'",
        "unshare -rm sh -c 'mount --rbind / /mnt; echo x > /mnt{tree}/file'",
        "unshare -rm sh -c 'mount --rbind {tree} /mnt; mount -o remount,bind,rw /mnt; echo x > /mnt/file'",
        "nsenter -t 1 -m sh -c 'echo x > {tree}/file'",
        "nsenter -t {outside} -U -m sh -c 'echo x > {tree}/file'",
        "echo x > /proc/{outside}/root{tree}/file",
        "mv {tree} {tree}2",
        "ln {tree}/file {tree}2; echo x > {tree}2",
        "rm -rf {tree}/file; chmod 000 {tree}/file; touch -d 2001-01-01 {tree}/file",
    ],
)
def test_the_command_cannot_get_around_it(tree: Path, attack: str) -> None:
    def seen() -> tuple[int, ...]:
        status = (tree / "file").stat()
        return status.st_mode, status.st_mtime_ns, status.st_ino, status.st_nlink

    before = seen()
    script = attack.format(tree=tree, outside=os.getpid())
    done = run("sh", "-c", f"{script}; echo x > {tree}/file && echo written", ro=tree)
    assert "written" not in done.stdout
    assert (tree / "file").read_text() == "mine\n"
    assert seen() == before


def test_a_folder_inside_can_stay_writable(tree: Path) -> None:
    done = run("sh", "-c", "echo x > inner/new; echo x > file", ro=tree, rw=tree / "inner", cwd=tree)
    assert "Read-only file system" in done.stderr
    assert (tree / "inner" / "new").read_text() == "x\n" and (tree / "file").read_text() == "mine\n"


def test_mounts_below_are_read_only_too(tree: Path, tmp_path: Path) -> None:
    """As in a folder with another file system in it; also where the kernel has no mount_setattr."""
    old = tmp_path / "old.py"
    old.write_text(LAUNCHER.read_text().replace("_SYS_MOUNT_SETATTR = 442", "_SYS_MOUNT_SETATTR = 9999"))
    for launcher in (LAUNCHER, old):
        inner = (
            f"{sys.executable} -I -S {launcher} --ro {tree} -- sh -c 'echo x > {tree}/inner/f; echo x > {tree}/file'"
        )
        done = subprocess.run(
            ["unshare", "-rm", "sh", "-c", f"mount -t tmpfs -o nosuid,nodev none {tree}/inner && {inner}"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr.count("Read-only file system") == 2, (launcher, done.stderr)


def test_without_privileges(tree: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0 or not Path("/usr/bin/python3").exists():
        pytest.skip("needs root to become somebody else")
    launcher = tmp_path / "confine.py"
    launcher.write_text(LAUNCHER.read_text())
    attack = f"id -u; unshare -rm mount -o remount,bind,rw {tree}; echo x > {tree}/file; echo x > {tree}/inner/y"
    done = run("sh", "-c", attack, ro=tree, rw=tree / "inner", launcher=launcher, user=12345)
    assert done.stdout == "12345\n"
    assert (tree / "file").read_text() == "mine\n" and (tree / "inner" / "y").read_text() == "x\n"


def test_status_signals_and_mistakes(tree: Path, tmp_path: Path) -> None:
    assert run("sh", "-c", "exit 7", ro=tree).returncode == 7
    assert run("sh", "-c", "kill -9 $$", ro=tree).returncode == -9
    missing = run("no-such-command", ro=tree)
    assert (missing.returncode, missing.stderr) == (127, "confine: no-such-command: No such file or directory\n")
    nowhere = run("true", ro=tmp_path / "nowhere")
    assert (nowhere.returncode, nowhere.stderr) == (125, f"confine: {tmp_path}/nowhere does not exist\n")
    assert run(ro=tree).returncode == 125


def test_the_process_is_the_one_that_was_started(tree: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(LAUNCHER), "--ro", str(tree), "--", "sh", "-c", "echo $$"],
        stdout=subprocess.PIPE,
        text=True,
    )
    out, _ = process.communicate()
    assert int(out) == process.pid


def test_where_namespaces_are_not_allowed(tree: Path) -> None:
    limited = f"echo 0 > /proc/sys/user/max_user_namespaces; {sys.executable} -I -S {LAUNCHER} --ro {tree} -- echo ran"
    done = subprocess.run(["unshare", "-rm", "sh", "-c", limited], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.startswith("confine: user namespaces are not allowed")
