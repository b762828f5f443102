"""Runs a command that cannot write below given folders: `python -I -S confine.py --ro PATH … [--rw PATH …] -- argv…`.

A user and mount namespace with read-only bind mounts; the command needs no privilege for it. The mounts are made in one
namespace and the command runs in a second one below: there they are locked (mount_namespaces(7), "Restrictions on mount
namespaces"), so that they can be neither removed nor made writable again, also by a command that makes namespaces of
its own. `--rw` leaves a folder inside a read-only one writable. Nothing but the standard library, and Linux only.

The command keeps its process id, its user and its groups. Exit status 125 when it could not be confined and was not
started, 127 when it was not found.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import subprocess
import sys
import tempfile

_CLONE_NEWNS = 0x00020000
_CLONE_NEWUSER = 0x10000000
_MS_RDONLY, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_SLAVE = 1, 32, 4096, 16384, 1 << 19
_MOUNT_ATTR_RDONLY = 1
_AT_RECURSIVE, _AT_SYMLINK_NOFOLLOW = 0x8000, 0x100
_SYS_MOUNT_SETATTR = 442  # the same on every architecture but alpha
# Flags of the mount that a remount has to repeat: an unprivileged one may not clear them (mount(2)).
_FLAGS = {"nosuid": 2, "nodev": 4, "noexec": 8, "noatime": 1024, "nodiratime": 2048, "relatime": 1 << 21}
_FAILED = 125


class ConfineError(Exception):
    """The command cannot be confined here; the message says why."""


class _MountAttr(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd")]


def confinement_available() -> str | None:
    """None when commands can be confined on this machine, else the reason. Takes some 50 ms: ask once."""
    if sys.platform != "linux":
        return "Read-only protection of the working tree needs Linux."
    with tempfile.TemporaryDirectory() as folder:
        probe = "import os, sys; open(os.path.join(sys.argv[1], 'probe'), 'w')"
        confined = [sys.executable, "-I", "-S", os.path.abspath(__file__), "--ro", folder, "--"]  # noqa: PTH100
        done = subprocess.run(
            [*confined, sys.executable, "-I", "-S", "-c", probe, folder],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        if done.returncode == _FAILED:
            return done.stderr.decode(errors="replace").strip().removeprefix("confine: ")
        if done.returncode == 0 or b"Read-only file system" not in done.stderr:
            return "A read-only mount did not hold on this machine."
    return None


def confine(read_only: list[str], writable: list[str]) -> None:
    """Confines this process, which must have one thread, and what it starts. Raises ConfineError."""
    paths = [(os.path.realpath(path), True) for path in read_only]
    paths += [(os.path.realpath(path), False) for path in writable]
    for path, _ in paths:
        if not os.path.lexists(path):
            raise ConfineError(f"{path} does not exist")
    directory = os.getcwd()  # noqa: PTH109
    _enter()
    _mount(None, "/", _MS_REC | _MS_SLAVE)
    for path, locked in sorted(paths, key=lambda one: (one[0].count("/"), one[0])):
        _mount(path, path, _MS_BIND | _MS_REC)
        _set_read_only(path, locked)
    _enter()
    os.chdir(directory)  # through the new mounts: the old descriptor leads past them


def _enter() -> None:
    """Moves into new namespaces, with every user the same as outside where that is allowed, else only our own."""
    uid, gid = os.geteuid(), os.getegid()
    process = os.getpid()
    ready, start = os.pipe()
    answer, done = os.pipe()
    helper = os.fork()
    if helper == 0:  # stays outside: only from there more than one user can be mapped
        try:
            os.close(start)
            if os.read(ready, 1):
                os.write(done, b"1" if _map_everybody(process) else b"0")
        finally:
            os._exit(0)
    os.close(done)
    try:
        if _libc().unshare(_CLONE_NEWUSER | _CLONE_NEWNS) != 0:
            raise ConfineError(f"user namespaces are not allowed ({os.strerror(ctypes.get_errno())})")
        os.write(start, b"1")
        mapped = os.read(answer, 1) == b"1"
    finally:
        for handle in (ready, start, answer):
            os.close(handle)
        os.waitpid(helper, 0)
    if not mapped:
        try:
            _write("/proc/self/setgroups", "deny")
            _write("/proc/self/uid_map", f"{uid} {uid} 1")
            _write("/proc/self/gid_map", f"{gid} {gid} 1")
        except OSError as error:
            raise ConfineError(f"user namespaces are not allowed ({error.strerror})") from error


def _map_everybody(process: int) -> bool:
    """Whether this process may give another, in a namespace below, all users and groups it sees itself."""
    try:
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/self/{name}") as file:  # noqa: PTH123
                extents = [line.split() for line in file]
            _write(f"/proc/{process}/{name}", "".join(f"{inside} {inside} {count}\n" for inside, _, count in extents))
    except OSError:
        return False
    return True


def _write(path: str, text: str) -> None:
    handle = os.open(path, os.O_WRONLY)
    try:
        os.write(handle, text.encode())
    finally:
        os.close(handle)


def _set_read_only(path: str, locked: bool) -> None:
    flags = (_MOUNT_ATTR_RDONLY, 0) if locked else (0, _MOUNT_ATTR_RDONLY)
    attributes = _MountAttr(*flags, 0, 0)
    result = _libc().syscall(
        ctypes.c_long(_SYS_MOUNT_SETATTR),
        ctypes.c_int(-1),
        ctypes.c_char_p(os.fsencode(path)),
        ctypes.c_uint(_AT_RECURSIVE | _AT_SYMLINK_NOFOLLOW),
        ctypes.byref(attributes),
        ctypes.c_size_t(ctypes.sizeof(attributes)),
    )
    if result == 0:
        return
    if ctypes.get_errno() not in (errno.ENOSYS, errno.EPERM):  # before Linux 5.12, or kept away by a filter
        raise ConfineError(f"{path} cannot be made read-only ({os.strerror(ctypes.get_errno())})")
    for mount, flags in _mounts_below(path):
        _mount(None, mount, _MS_REMOUNT | _MS_BIND | flags | (_MS_RDONLY if locked else 0))


def _mounts_below(path: str) -> list[tuple[str, int]]:
    """The mounts at and below a path with the flags a remount has to repeat (proc(5), mountinfo)."""
    found: dict[str, int] = {}
    with open("/proc/self/mountinfo", errors="surrogateescape") as file:  # noqa: PTH123
        for line in file:
            fields = line.split(" ")
            mount = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4])
            if mount == path or mount.startswith(path.rstrip("/") + "/"):
                found[mount] = sum(_FLAGS.get(option, 0) for option in fields[5].split(","))
    return list(found.items())


def _mount(source: str | None, target: str, flags: int) -> None:
    origin = None if source is None else os.fsencode(source)
    if _libc().mount(origin, os.fsencode(target), None, ctypes.c_ulong(flags), None) != 0:
        problem = os.strerror(ctypes.get_errno())
        raise ConfineError(f"{target} cannot be mounted in a user namespace ({problem})")


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def main(arguments: list[str]) -> int:
    paths: dict[str, list[str]] = {"--ro": [], "--rw": []}
    rest = iter(arguments)
    for option in rest:
        if option == "--":
            break
        if option not in paths:
            sys.stderr.write(f"confine: unknown option {option}\n")
            return _FAILED
        paths[option].append(next(rest, ""))
    argv = list(rest)
    if not argv:
        sys.stderr.write("confine: no command after --\n")
        return _FAILED
    try:
        confine(paths["--ro"], paths["--rw"])
    except (ConfineError, OSError) as error:
        sys.stderr.write(f"confine: {error}\n")
        return _FAILED
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        sys.stderr.write(f"confine: {argv[0]}: {error.strerror}\n")
        return 127


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
