"""No spelling of a path leads out of the allowed folders."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.serving.fakes import fake_serving
from voicerag_core import AudioError, ConfigError, DocumentError
from voicerag_core.serving import AllowedPaths, Caller, Job, Limits, Query, QuestionSource

SECRET = b"RIFF secret"


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """An allowed folder with a file in it, beside a folder with a secret."""
    inside, outside = tmp_path / "open", tmp_path / "shut"
    inside.mkdir()
    outside.mkdir()
    (inside / "ok.wav").write_bytes(b"RIFF ok")
    (inside / "sub").mkdir()
    (outside / "secret.wav").write_bytes(SECRET)
    (tmp_path / "open-too").mkdir()
    (tmp_path / "open-too" / "secret.wav").write_bytes(SECRET)
    (inside / "link.wav").symlink_to(outside / "secret.wav")
    (inside / "linked").symlink_to(outside)
    (inside / "sub" / "up").symlink_to("../../shut")
    (inside / "chain").symlink_to("linked")
    (inside / "loop").symlink_to("loop")
    (inside / "root").symlink_to("/")
    return inside, outside


def escapes(inside: Path, outside: Path) -> list[str]:
    secret = str(outside / "secret.wav")
    return [
        secret,
        "/etc/passwd",
        "/proc/self/environ",
        f"/proc/self/root{secret}",
        f"/proc/self/cwd/{os.path.relpath(secret)}",
        "../shut/secret.wav",
        "sub/../../shut/secret.wav",
        "./.././shut/secret.wav",
        "..//shut//secret.wav",
        f"{inside}/../shut/secret.wav",
        f"{inside}/sub/../../shut/secret.wav",
        "nowhere/../../shut/secret.wav",
        "ok.wav/../../shut/secret.wav",
        "link.wav",
        "linked/secret.wav",
        "sub/up/secret.wav",
        "chain/secret.wav",
        "linked/../shut/secret.wav",
        f"root{secret}",
        f"{inside}-too/secret.wav",
        "../open-too/secret.wav",
        "..%2fshut%2fsecret.wav",
        "%2e%2e/shut/secret.wav",
        "..%252fshut/secret.wav",
        "..\\shut\\secret.wav",
        "\u2025/shut/secret.wav",
        "..\uff0fshut\uff0fsecret.wav",
        "..\0/shut/secret.wav",
        f"{secret}\0.wav",
        f"file://{secret}",
        "~root/.profile",
        "\udcff/../../shut/secret.wav",
        "loop/secret.wav",
        "a" * 5000 + "/../../shut/secret.wav",
    ]


def test_no_escape_gets_through(folders: tuple[Path, Path]) -> None:
    allowed = AllowedPaths.of([folders[0]])
    tries = escapes(*folders)
    assert len(tries) >= 30
    for given in tries:
        with pytest.raises(DocumentError, match="not in a folder"):
            allowed.read(given, 1000)
    assert allowed.read("ok.wav", 1000) == b"RIFF ok"
    assert allowed.read("sub/../ok.wav", 1000) == b"RIFF ok"


def test_what_is_outside_is_told_like_what_is_not_there(folders: tuple[Path, Path]) -> None:
    allowed = AllowedPaths.of([folders[0]])
    said = set()
    for given in ("../shut/secret.wav", "../shut/nothing.wav"):
        with pytest.raises(DocumentError) as caught:
            allowed.find(given)
        said.add(str(caught.value).replace(repr(given), ""))
    assert len(said) == 1


def test_only_files_of_bounded_size_are_read(folders: tuple[Path, Path]) -> None:
    inside, _ = folders
    os.mkfifo(inside / "pipe.wav")
    allowed = AllowedPaths.of([inside])
    for given in ("sub", "pipe.wav"):
        with pytest.raises(AudioError, match="not a file"):
            allowed.read(given, 1000)
    with pytest.raises(AudioError, match="more than 3 bytes"):
        allowed.read("ok.wav", 3)


def test_an_allowed_path_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a folder"):
        AllowedPaths.of([tmp_path / "none"])


def test_links_in_an_ingested_folder_do_not_lead_out(folders: tuple[Path, Path]) -> None:
    inside, outside = folders
    (outside / "secret.txt").write_text("The password is swordfish.")
    (inside / "innocent.txt").symlink_to(outside / "secret.txt")
    (inside / "tea.txt").write_text("Tea grows in Assam.")
    query = Query(QuestionSource(text="the password is swordfish"))
    with fake_serving(limits=Limits(allowed_paths=(inside,))) as serving:
        taken = serving.ingesting.take_paths(Job(), Caller("default", may_write=True), ["."])
        found = serving.asking.search(Job(), "default", query)
    assert taken.sources == 1
    assert "leads out" in taken.failures[0]
    assert not [hit for hit in found.hits if "swordfish" in hit.passage.text]


def test_a_swap_between_the_check_and_the_opening_leads_nowhere(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, outside = folders
    (outside / "sub").mkdir()
    for folder in (outside, outside / "sub"):
        (folder / "deep.txt").write_text("The password is swordfish.")
    (inside / "sub" / "below").mkdir()
    real = AllowedPaths.inside

    def swapped(path: Path, target: Path, directory: bool) -> Callable[..., Path | None]:
        def judged(self: AllowedPaths, given: Path) -> Path | None:
            found = real(self, given)
            if found is not None and not path.is_symlink():
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
                path.symlink_to(target, directory)
            return found

        return judged

    for path, target, directory in (
        (inside / "deep.txt", outside / "deep.txt", False),
        (inside / "sub", outside / "sub", True),
        (inside / "sub", outside, True),
        (inside / "deep.txt", outside, True),
    ):
        given = path / "deep.txt" if path.name == "sub" else path
        shutil.rmtree(inside)
        given.parent.mkdir(parents=True)
        given.write_text("Open words.")
        allowed = AllowedPaths.of([inside])
        with allowed.open(given) as file:
            assert file.read() == b"Open words."
        monkeypatch.setattr(AllowedPaths, "inside", swapped(path, target, directory))
        with pytest.raises(DocumentError, match=r"became a link|leads out"):
            allowed.open(given)
        with pytest.raises((DocumentError, AudioError)):
            allowed.read(str(given), 1000)
        monkeypatch.setattr(AllowedPaths, "inside", real)


def test_links_that_stay_inside_are_followed(folders: tuple[Path, Path]) -> None:
    inside, _ = folders
    (inside / "lead").symlink_to(inside / "sub", target_is_directory=True)
    (inside / "sub" / "tea.txt").write_text("Tea grows in Assam.")
    (inside / "tea.txt").symlink_to(inside / "lead" / "tea.txt")
    allowed = AllowedPaths.of([inside])
    for given in ("tea.txt", "lead/tea.txt"):
        with allowed.open(inside / given) as file:
            assert file.read() == b"Tea grows in Assam."


@pytest.mark.parametrize("given", ["x" * 300, "a/" * 3000, "\0", "", ".", "sub/" + "y" * 256])
def test_odd_names_are_refused_in_words(folders: tuple[Path, Path], given: str) -> None:
    allowed = AllowedPaths.of([folders[0]])
    for attempt in (lambda: allowed.find(given + "/none"), lambda: allowed.read(given, 10)):
        with pytest.raises((DocumentError, AudioError)):
            attempt()


def test_messages_name_the_variable_of_the_server(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="VOICERAG_X_ALLOWED_PATHS"):
        AllowedPaths.of([], prefix="VOICERAG_X_").find("a.wav")
