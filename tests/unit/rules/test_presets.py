"""Presets: the built-in ones, whose comes first, and that none leads out of its place."""

import os
from pathlib import Path

import pytest

from ralph_loop.engine.presets import Folders, PresetError, available, load
from ralph_loop.engine.prompt import PromptInput, check_template, render

BUILTIN = ["default", "debug", "feature", "refactor", "review", "tdd-red-green"]


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    user, repository = tmp_path / "config/presets", tmp_path / "work/.ralph/presets"
    user.mkdir(parents=True)
    repository.mkdir(parents=True)
    return Folders(user=user, repository=repository)


def put(folder: Path | None, name: str, text: str) -> Path:
    assert folder is not None
    path = folder / name
    path.write_text(text)
    return path


def test_the_built_in_presets(tmp_path: Path) -> None:
    found = available(Folders(user=tmp_path / "missing", repository=tmp_path / "missing too"), trusted=False)
    assert [preset.id for preset in found] == BUILTIN
    assert len({preset.title for preset in found} | {preset.description for preset in found}) == 12
    for preset in found:
        assert preset.source == "builtin"
        assert 15 <= len(preset.text.splitlines()) <= 40
        assert "---" not in preset.text
        assert "promise>" not in preset.text  # how to promise is said once, with the loop's own words
        assert check_template(preset.text) == []


@pytest.mark.parametrize("name", BUILTIN)
def test_each_really_shapes_the_prompt(name: str, folders: Folders) -> None:
    preset = load(name, folders, trusted=False)
    prompt = render(
        PromptInput(
            task="T", iteration=1, max_iterations=0, min_iterations=1, completion_promise="X", preset=preset.text
        )
    )
    assert f"\n\n## How to Work\n\n{preset.text}\n\n" in prompt
    lines = set(preset.text.splitlines()) - {""}
    for other in BUILTIN:
        if other != name:
            assert not lines & set(load(other, folders, trusted=False).text.splitlines())


def test_front_matter_and_its_absence(folders: Folders) -> None:
    put(folders.user, "mine.md", "---\ntitle: My way\ndescription: 'a: b'\n---\n\nDo.\n---\nThis.\n")
    put(folders.user, "bare.md", "# First line\n\nDo that.\n")
    mine, bare = load("mine", folders, trusted=False), load("bare", folders, trusted=False)
    assert (mine.title, mine.description, mine.source, mine.text) == ("My way", "a: b", "user", "Do.\n---\nThis.")
    assert (bare.title, bare.description, bare.text) == ("bare", "First line", "# First line\n\nDo that.")


def test_whose_comes_first(folders: Folders) -> None:
    put(folders.user, "debug.md", "the user's")
    for name in ("debug", "review", "own"):
        put(folders.repository, f"{name}.md", "the repository's")
    assert [load(name, folders, trusted=True).source for name in ("debug", "review", "own")] == ["repository"] * 3
    # before it is trusted, a repository adds presets but replaces none
    sources = [load(name, folders, trusted=False).source for name in ("debug", "review", "own")]
    assert sources == ["user", "builtin", "repository"]
    listed = {preset.id: preset.source for preset in available(folders, trusted=False)}
    assert (listed["debug"], listed["review"], listed["own"]) == ("user", "builtin", "repository")
    assert {preset.id: preset.source for preset in available(folders, trusted=True)}["review"] == "repository"


@pytest.mark.parametrize("name", ["../secret", "a/b", "", "Default", "a.b", "/etc/passwd", "a\n", "é"])
def test_names_that_could_lead_anywhere_are_refused(name: str, folders: Folders) -> None:
    put(folders.user, "../secret.md", "no")
    with pytest.raises(PresetError, match="is no name of a preset"):
        load(name, folders, trusted=True)


def test_an_unknown_preset_names_those_there_are(folders: Folders) -> None:
    put(folders.user, "mine.md", "x")
    put(folders.user, "Not.this.md", "x")
    with pytest.raises(PresetError, match=r"no preset 'other'. Known are: debug, default, feature, mine, refactor"):
        load("other", folders, trusted=False)


def test_links(folders: Folders, tmp_path: Path) -> None:
    outside = put(tmp_path, "outside.md", "text")
    inside = put(tmp_path / "work", "inside.md", "text")
    for folder in (folders.user, folders.repository):
        assert folder is not None
        (folder / "out.md").symlink_to(outside)
        (folder / "in.md").symlink_to(inside)
        (folder / "loop.md").symlink_to("loop.md")
    assert load("out", folders, trusted=False).source == "user"  # people link their own configuration
    assert load("in", folders, trusted=True).source == "repository"
    with pytest.raises(PresetError, match="outside of the workspace"):
        load("out", folders, trusted=True)
    with pytest.raises(PresetError, match="not a file"):
        load("loop", folders, trusted=True)


def test_a_linked_folder_is_outside_too(folders: Folders, tmp_path: Path) -> None:
    assert folders.repository is not None
    folders.repository.rmdir()
    (tmp_path / "elsewhere").mkdir()
    put(tmp_path / "elsewhere", "x.md", "text")
    folders.repository.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PresetError, match="outside of the workspace"):
        load("x", folders, trusted=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"---\ntitle: x\n---\n\n", "is empty"),
        (b"\xff", "not UTF-8"),
        (b"x" * (256 * 1024 + 1), "larger than 256 KiB"),
        (b"---\ntitle: x\nallowAll: true\n---\nDo", "line 3: only title and description"),
        (b"---\ntitle: 5\n---\nDo", "line 2: only title and description"),
        (b"---\ntitle: [\n---\nDo", "mistake in line"),
    ],
)
def test_presets_that_cannot_be_used_say_why(content: bytes, message: str, folders: Folders) -> None:
    (folders.user / "bad.md").write_bytes(content)
    with pytest.raises(PresetError, match=message):
        load("bad", folders, trusted=False)
    listed = {preset.id: preset for preset in available(folders, trusted=False)}
    assert message in listed["bad"].description


def test_a_pipe_is_no_preset(folders: Folders) -> None:
    os.mkfifo(folders.user / "pipe.md")
    with pytest.raises(PresetError, match="not a file"):
        load("pipe", folders, trusted=False)
