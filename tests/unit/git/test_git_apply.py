"""Applying approved changes: exactly applied or exactly refused, whatever the user did, whenever it is killed."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import stat
from collections.abc import Callable
from pathlib import Path

import pygit2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ralph_loop.git import apply as applying
from ralph_loop.git import journal as journals
from ralph_loop.git import trees as tree_objects
from ralph_loop.git.apply import IncompleteError, recover
from ralph_loop.git.journal import ApplyError, Outcome, TreeChangedError
from ralph_loop.git.locate import locate
from ralph_loop.git.snapshot import SnapshotStore
from ralph_loop.protocol import Change

Git = Callable[..., bytes]
Tree = dict[str, tuple[str, bytes]]  # path to kind (file, script, link) and content


def write(root: Path, tree: Tree) -> None:
    """Makes a folder hold exactly a tree, and its git directory."""
    for entry in root.iterdir():
        if entry.name != ".git":
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    for path, (kind, data) in tree.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if kind == "link":
            file.symlink_to(os.fsdecode(data))
        else:
            file.write_bytes(data)
            file.chmod(0o755 if kind == "script" else 0o644)


def read(root: Path) -> Tree:
    tree: Tree = {}
    for file in root.rglob("*"):
        path = str(file.relative_to(root))
        if path.split("/")[0] == ".git":
            continue
        mode = file.lstat().st_mode
        if stat.S_ISLNK(mode):
            tree[path] = ("link", os.fsencode(file.readlink()))
        elif stat.S_ISREG(mode):
            tree[path] = ("script" if mode & stat.S_IXUSR else "file", file.read_bytes())
    return tree


def is_tree(tree: Tree) -> bool:
    """Whether no file lies where another has its folder."""
    return not any(path.startswith(f"{other}/") for path in tree for other in tree)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("apply") / "repo"
    pygit2.init_repository(str(folder))
    return folder


@pytest.fixture(scope="module")
def store(place: Path) -> SnapshotStore:
    return SnapshotStore(place.parent / "store", locate(place))


def staged(store: SnapshotStore, before: Tree, after: Tree) -> tuple[str, str, list[Change]]:
    """The trees of the user and of the agent, and the changes between; the first is what is on disk then."""
    write(store.place.root, after)
    new = store.take("after")
    write(store.place.root, before)
    old = store.take("before")
    return old, new, store.changes(old, new).files


def apply(store: SnapshotStore, plan: tuple[str, str, list[Change]], chosen: list[Change] | None = None) -> None:
    journal = journals_of(store) / "run"
    forget(journals_of(store))
    try:
        applying.apply(store, *plan, plan[2] if chosen is None else chosen, journal)
    except Exception:
        assert not journals.outcome(journal).applied
        raise
    else:
        assert journals.outcome(journal) == Outcome(True, [])
    finally:
        forget(journals_of(store))


def journals_of(store: SnapshotStore) -> Path:
    return store.place.root.parent / "journals"


def forget(folder: Path) -> None:
    """Nothing is needed any more once an apply has ended."""
    for journal in folder.glob("*"):
        journals.forget(journal)
    assert not list(folder.glob("*"))


names = st.sampled_from(["a", "b", "c", "d", "a/a", "a/b", "b/a", "b/c/a", "b/c/b", "d/e/f/g", "\n", "d/\udcff"])
contents = st.sampled_from([b"", b"1\n", b"2\n", b"1\n2\n3\n4\n5\n6\n", b"1\n2\n3\n4\n5\n7\n", bytes(range(256))])
files = st.tuples(st.sampled_from(["file", "script"]), contents)
links = st.tuples(st.just("link"), st.sampled_from([b"a", b"../b", b"/etc"]))
trees = st.dictionaries(names, st.one_of(files, files, links), max_size=6).filter(is_tree)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    before=trees,
    after=trees,
    edits=st.dictionaries(names, st.one_of(st.none(), files, links), max_size=2),
    data=st.data(),
)
def test_exactly_applied_or_exactly_refused(
    store: SnapshotStore,
    before: Tree,
    after: Tree,
    edits: dict[str, tuple[str, bytes] | None],
    data: st.DataObject,
) -> None:
    plan = staged(store, before, after)
    chosen = [change for change in plan[2] if data.draw(st.booleans(), label=change.path)]
    user = {**before, **{path: edit for path, edit in edits.items() if edit}}
    user = {path: edit for path, edit in user.items() if path not in edits or edits[path]}
    if not is_tree(user):
        user = before
    write(store.place.root, user)

    touched = {os.fsdecode(path) for change in chosen for path in applying.paths_of(change)}
    wanted = {path: state for path, state in user.items() if path not in touched}
    wanted.update({path: after[path] for path in touched if path in after})
    try:
        apply(store, plan, chosen)
    except IncompleteError as error:
        assert set(error.missing) <= set(plan[2]) - set(chosen)
        assert read(store.place.root) == user
        return
    except TreeChangedError:
        assert any(user.get(path) != before.get(path) for path in touched) or not is_tree(wanted)
        assert read(store.place.root) == user
        return
    assert all(user.get(path) == before.get(path) for path in touched)
    assert read(store.place.root) == wanted


BEFORE: Tree = {
    "edit": ("file", b"old\n"),
    "gone/deep/file": ("file", b"x\n"),
    "mode": ("file", b"#!\n"),
    "moved": ("script", b"1\n2\n3\n4\n5\n6\n7\n8\n"),
    "link": ("link", b"edit"),
    "folder/a": ("file", b"a\n"),
    "folder/b": ("file", b"b\n"),
    "file": ("file", b"f\n"),
    "kept": ("file", b"kept\n"),
}
AFTER: Tree = {
    "edit": ("file", b"new\n\0\xff"),
    "mode": ("script", b"#!\n"),
    "there/now": ("script", b"1\n2\n3\n4\n5\n6\n7\n9\n"),
    "link": ("link", b"mode"),
    "folder": ("file", b"a file\n"),
    "file/in/folder": ("file", b"f f\n"),
    "kept": ("file", b"kept\n"),
    "new/one": ("file", b"1\n"),
}
STEPS = ("mkdir", "rename", "replace", "unlink", "rmdir", "symlink", "write", "fsync")


def interrupt(at: int, how: Callable[[], None]) -> None:
    """In a child process: the step number `at` of those that change something does not happen."""
    count = 0

    def wrap(function: Callable[..., object]) -> Callable[..., object]:
        def step(*args: object, **kwargs: object) -> object:
            nonlocal count
            count += 1
            if count == at:
                how()
            return function(*args, **kwargs)

        return step

    for name in STEPS:
        setattr(os, name, wrap(getattr(os, name)))


def in_child(work: Callable[[], object]) -> int:
    """The exit status of a child process that does `work`: 0 when it could, 1 when it said why not, or its signal."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except (ApplyError, TreeChangedError):
            os._exit(1)
        finally:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_killed_at_every_step(store: SnapshotStore) -> None:
    root, folder = store.place.root, journals_of(store)
    plan = staged(store, BEFORE, AFTER)
    seen: set[bool] = set()
    for at in range(1, 1000):
        write(root, BEFORE)

        def work(at: int = at) -> None:
            interrupt(at, kill)
            applying.apply(store, *plan, plan[2], folder / "run")

        status = in_child(work)
        recover(folder / "run")
        outcome = journals.outcome(folder / "run")
        assert (read(root), outcome.left) == (AFTER if outcome.applied else BEFORE, []), at
        seen.add(outcome.applied)
        forget(folder)
        assert not list(root.glob(".ralph*"))
        if status == 0:
            assert read(root) == AFTER and at > 40
            break
        assert status == -signal.SIGKILL
    assert seen == {False, True}


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_killed_again_while_recovering(store: SnapshotStore) -> None:
    root, folder = store.place.root, journals_of(store)
    plan = staged(store, BEFORE, AFTER)
    for first in range(30, 75, 9):
        write(root, BEFORE)

        def work(at: int = first) -> None:
            interrupt(at, kill)
            applying.apply(store, *plan, plan[2], folder / "run")

        in_child(work)
        for at in range(1, 200, 5):

            def again(at: int = at) -> None:
                interrupt(at, kill)
                recover(folder / "run")

            if in_child(again) == 0:
                break
        assert read(root) == (AFTER if journals.outcome(folder / "run").applied else BEFORE)
        forget(folder)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_an_error_at_every_step(store: SnapshotStore) -> None:
    """A full disk, a lost right: refused with everything as it was, or applied."""
    root, folder = store.place.root, journals_of(store)
    plan = staged(store, BEFORE, AFTER)

    def fail() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    refused = 0
    for at in range(1, 1000):
        write(root, BEFORE)

        def work(at: int = at) -> None:
            interrupt(at, fail)
            applying.apply(store, *plan, plan[2], folder / "run")

        status = in_child(work)
        assert status in (0, 1)
        assert read(root) == (AFTER if status == 0 else BEFORE), at
        refused += status
        recover(folder / "run")
        assert read(root) == (AFTER if status == 0 else BEFORE), at
        assert journals.outcome(folder / "run").applied == (status == 0)
        forget(folder)
        assert not list(root.glob(".ralph*/*"))
        if at > 120:
            break
    assert refused > 20


def test_what_belongs_together(store: SnapshotStore) -> None:
    plan = staged(store, BEFORE, AFTER)
    changes = {change.path: change for change in plan[2]}
    with pytest.raises(IncompleteError, match="folder/a, folder/b"):
        apply(store, plan, [changes["folder"]])
    with pytest.raises(IncompleteError) as caught:
        apply(store, plan, [changes["file"], changes["edit"]])
    assert [change.path for change in caught.value.missing] == ["file/in/folder"]
    assert changes["there/now"].old_path == "moved"
    apply(store, plan, [changes["there/now"], changes["file"], changes["file/in/folder"]])
    expected = {path: state for path, state in BEFORE.items() if path not in ("file", "moved")}
    assert read(store.place.root) == {**expected, **{path: AFTER[path] for path in ("there/now", "file/in/folder")}}


def test_ignored_files_in_the_way(store: SnapshotStore) -> None:
    root = store.place.root
    (root / ".git" / "info").mkdir(exist_ok=True)
    (root / ".git" / "info" / "exclude").write_text("*.o\n")
    plan = staged(store, {"d/f": ("file", b"")}, {"d": ("file", b"x"), "n.o/f": ("file", b"x")})
    (root / "d" / "x.o").write_text("mine")
    with pytest.raises(TreeChangedError, match=r"d/x\.o"):
        apply(store, plan)
    assert (root / "d" / "x.o").read_text() == "mine"


def test_a_folder_with_many_changes_is_read_once(store: SnapshotStore, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = staged(store, {}, {f"d/{number}": ("file", b"x") for number in range(50)})
    entries, seen = tree_objects.entries, list[bytes]()

    def counting(repo: pygit2.Repository, tree: bytes) -> dict[bytes, tuple[int, bytes]]:
        seen.append(tree)
        return entries(repo, tree)

    monkeypatch.setattr(tree_objects, "entries", counting)
    apply(store, plan)
    assert len(seen) == 3  # both roots and the folder


def test_links_are_never_followed(store: SnapshotStore, tmp_path: Path) -> None:
    root = store.place.root
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "f").write_text("1\n")
    plan = staged(store, {"d/f": ("file", b"1\n")}, {"d/f": ("file", b"2\n"), "d/g": ("file", b"")})
    shutil.rmtree(root / "d")
    (root / "d").symlink_to(tmp_path / "outside")
    with pytest.raises(TreeChangedError) as caught:
        apply(store, plan)
    assert caught.value.paths == ["d", "d/f"]
    assert sorted(path.name for path in (tmp_path / "outside").iterdir()) == ["f"]


def test_rights_stay(store: SnapshotStore) -> None:
    root = store.place.root
    before: Tree = {"secret": ("file", b"1\n" * 9), "tool": ("script", b"1\n"), "move": ("file", b"12345678\n" * 9)}
    after: Tree = {"secret": ("file", b"2\n"), "tool": ("file", b"2\n"), "moved": ("file", b"12345678\n" * 9)}
    plan = staged(store, before, after)
    (root / "secret").chmod(0o600)
    (root / "tool").chmod(0o750)
    (root / "move").chmod(0o440)
    apply(store, plan)
    assert [stat.S_IMODE((root / name).stat().st_mode) for name in ("secret", "tool", "moved")] == [0o600, 0o640, 0o440]


def test_modes_that_do_not_count(tmp_path: Path, repo: Path, git: Git, env: dict[str, str]) -> None:
    git(repo, "config", "core.fileMode", "false")
    (repo / "a.txt").chmod(0o755)
    store = SnapshotStore(tmp_path / "store", locate(repo), env)
    before = store.take("before")
    (repo / "a.txt").write_text("x\n")
    after = store.take("after")
    (repo / "a.txt").write_text("".join(f"line {n}\n" for n in range(10)))
    changes = store.changes(before, after).files
    applying.apply(store, before, after, changes, changes, tmp_path / "journal")
    assert (repo / "a.txt").read_text() == "x\n" and (repo / "a.txt").stat().st_mode & 0o111


def test_changed_between_a_crash_and_the_next_start(store: SnapshotStore) -> None:
    root, folder = store.place.root, journals_of(store)
    plan = staged(store, BEFORE, AFTER)

    def work() -> None:
        moved = 0

        def rename(*args: object, **kwargs: object) -> None:
            nonlocal moved
            moved += 1
            if moved == 4:
                kill()
            original(*args, **kwargs)

        original: Callable[..., None] = os.rename
        setattr(os, "rename", rename)  # noqa: B010
        applying.apply(store, *plan, plan[2], folder / "run")

    assert in_child(work) == -signal.SIGKILL
    (root / "link").unlink()
    (root / "link").write_text("mine\n")
    recover(folder / "run")
    assert journals.outcome(folder / "run") == Outcome(True, ["link"])
    forget(folder)
    assert read(root) == {**AFTER, "link": ("file", b"mine\n")}


def test_a_path_out_of_the_repository_is_refused(store: SnapshotStore) -> None:
    plan = staged(store, BEFORE, AFTER)
    for path in ("../x", "/etc/x", "a//b", ".git/config", "d/.GIT/x"):
        bad = Change(path=path, kind="create", added=0, removed=0, binary=False)
        with pytest.raises(ApplyError):
            applying.apply(store, plan[0], plan[1], [bad], [bad], journals_of(store) / "bad")
