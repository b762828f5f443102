"""Which repository a folder belongs to."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ralph_loop.git.locate import locate

Git = Callable[..., bytes]


def test_every_way_into_a_repository_has_one_key(tmp_path: Path, repo: Path, git: Git) -> None:
    (tmp_path / "link").symlink_to(repo / "dir")
    git(repo, "worktree", "add", "-q", str(tmp_path / "tree"))
    key = repo / ".git"
    for folder in (repo, repo / "dir", tmp_path / "link", tmp_path / "tree"):
        assert locate(folder).key == key, folder
    assert locate(tmp_path / "link").workspace == repo / "dir"
    assert locate(tmp_path / "link").root == repo
    tree = locate(tmp_path / "tree")
    assert (tree.root, tree.git_dir, tree.common_dir) == (tmp_path / "tree", key / "worktrees" / "tree", key)


def test_a_submodule_is_its_own_repository(tmp_path: Path, repo: Path, git: Git) -> None:
    other = tmp_path / "other"
    git(tmp_path, "clone", "-q", str(repo), str(other))
    git(repo, "submodule", "add", "-q", str(other), "sub")
    assert locate(repo / "sub" / "dir").key == repo / ".git" / "modules" / "sub"
    assert locate(repo / "sub" / "dir").root == repo / "sub"


def test_a_plain_folder_is_its_own_key(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "link").symlink_to("plain")
    place = locate(tmp_path / "link")
    assert (place.git, place.key, place.root, place.reason) == (False, tmp_path / "plain", tmp_path / "plain", None)


def test_bare_repositories_and_the_inside_of_git_directories(tmp_path: Path, repo: Path, git: Git) -> None:
    git(tmp_path, "clone", "-q", "--bare", str(repo), "bare.git")
    bare = locate(tmp_path / "bare.git" / "hooks")
    assert (bare.git, bare.bare, bare.root, bare.key) == (True, True, tmp_path / "bare.git", tmp_path / "bare.git")
    inside = locate(repo / ".git" / "hooks")
    assert (inside.bare, inside.key) == (True, repo / ".git")


def test_broken_repositories_are_still_the_place(tmp_path: Path, repo: Path) -> None:
    shutil.rmtree(repo / ".git" / "objects")
    (repo / ".git" / "HEAD").write_bytes(b"\0garbage")
    assert locate(repo / "dir").key == repo / ".git"


def test_a_pointer_to_nothing_is_a_plain_folder_with_a_reason(repo: Path) -> None:
    (repo / "dir" / ".git").write_text("gitdir: ../gone\n")
    place = locate(repo / "dir")
    assert (place.git, place.root) == (False, repo / "dir")
    assert place.reason is not None and "gone" in place.reason
    (repo / "dir" / ".git").write_bytes(b"\xff\xfe")
    assert "pointer" in (locate(repo / "dir").reason or "")


def test_an_empty_git_folder_is_nothing(repo: Path) -> None:
    (repo / "dir" / ".git").mkdir()
    assert locate(repo / "dir").root == repo


def test_the_environment_of_the_process_does_not_count(
    tmp_path: Path, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plain").mkdir()
    monkeypatch.setenv("GIT_DIR", str(repo / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(repo))
    monkeypatch.chdir(repo)
    assert not locate(tmp_path / "plain").git
    with pytest.raises(ValueError, match="absolute"):
        locate(Path("dir"))


def test_what_is_no_folder_is_an_error(tmp_path: Path, repo: Path) -> None:
    with pytest.raises(FileNotFoundError):
        locate(tmp_path / "nowhere")
    with pytest.raises(NotADirectoryError):
        locate(repo / "a.txt")


def test_repositories_of_other_people(repo: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    for folder, _, files in os.walk(repo):
        for name in (".", *files):
            os.chown(Path(folder, name), 12345, 12345)
    assert locate(repo / "dir").key == repo / ".git"
