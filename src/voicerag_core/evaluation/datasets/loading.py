"""Every set by its name: one loader each, in a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from voicerag_core.errors import ConfigError
from voicerag_core.evaluation.datasets.hotpot import load_hotpotqa
from voicerag_core.evaluation.datasets.own import load_beir, load_simple
from voicerag_core.evaluation.datasets.rgb import load_rgb
from voicerag_core.evaluation.datasets.spoken import (
    load_llama_questions,
    load_nq_open,
    load_sdqa,
    load_svq,
    with_clips,
)
from voicerag_core.evaluation.datasets.squad import (
    load_heysquad,
    load_squad,
    load_xquad,
    load_xquad_across,
)
from voicerag_core.evaluation.datasets.values import EvalSet, checked

__all__ = ["SETS", "SetSource", "load_set", "parsed"]

Load = Callable[[Path], EvalSet]


@dataclass(frozen=True, slots=True)
class SetSource:
    """Where a set comes from.

    Args:
        load: Reads it from the data folder, or from the path given with its name.
        needs_path: Whether it is named as ``NAME=PATH``.
        usual: Whether a run takes it unless told otherwise.
        about: One line for help and reports.
    """

    load: Load
    needs_path: bool = False
    usual: bool = False
    about: str = ""


def _rgb(name: str, file: str, language: str, case: str) -> Load:
    return lambda data: load_rgb(
        data / "rgb" / file,
        name=name,
        language=language,
        case=case,  # type: ignore[arg-type]
    )


def _xquad(language: str) -> Load:
    return lambda data: load_xquad(
        data / "xquad" / f"xquad.{language}.json", name=f"xquad-{language}", language=language
    )


def _heysquad(form: str) -> Load:
    return lambda data: load_heysquad(data, form)


def _nq_open(data: Path) -> EvalSet:
    return load_nq_open(data, _xquad("en")(data).passages)


def _squtr(path: Path) -> EvalSet:
    """Read ``FOLDER@CLIPS``."""
    folder, _, clips = str(path).partition("@")
    return load_beir(Path(folder), clips=Path(clips) if clips else None)


def _svq(path: Path) -> EvalSet:
    """Read ``FOLDER@LOCALE``."""
    folder, _, locale = str(path).partition("@")
    return load_svq(Path(folder), locale=locale or "en_us")


def _hotpot_and_clips(path: Path) -> EvalSet:
    """Read ``QUESTIONS.json@CLIPS``."""
    file, _, clips = str(path).partition("@")
    found = load_hotpotqa(Path(file), name="glm-hotpotqa")
    return with_clips(found, Path(clips)) if clips else found


def _rgb_and_clips(path: Path) -> EvalSet:
    file, _, clips = str(path).partition("@")
    language = "zh" if Path(file).name.startswith("zh") else "en"
    found = load_rgb(Path(file), name="glm-rgb", language=language, noise_ratio=0.8)
    return with_clips(found, Path(clips)) if clips else found


SETS: Mapping[str, SetSource] = MappingProxyType(
    {
        "xquad-en": SetSource(_xquad("en"), usual=True, about="questions over 240 paragraphs"),
        "hotpotqa": SetSource(
            lambda data: load_hotpotqa(data / "hotpotqa" / "hotpot_dev_distractor_100.json"),
            usual=True,
            about="two paragraphs of ten are needed",
        ),
        **{
            f"heysquad-{form}": SetSource(_heysquad(form), usual=True, about=about)
            for form, about in (
                ("original", "SQuAD questions as written"),
                ("human-transcribed", "as people said them"),
                ("machine-transcribed", "as a recogniser heard these people"),
            )
        },
        "rgb-en": SetSource(
            _rgb("rgb-en", "en_fact.json", "en", "noise"), usual=True, about="news among noise"
        ),
        "rgb-en-counterfactual": SetSource(
            _rgb("rgb-en-counterfactual", "en_fact.json", "en", "counterfactual"),
            usual=True,
            about="news with falsified facts",
        ),
        "rgb-en-refusal": SetSource(
            _rgb("rgb-en-refusal", "en_fact.json", "en", "refusal"),
            usual=True,
            about="noise alone",
        ),
        "llama-questions": SetSource(
            load_llama_questions, usual=True, about="300 recordings: word errors, nearest text"
        ),
        "nq-open": SetSource(_nq_open, usual=True, about="unanswerable over XQuAD's paragraphs"),
        "xquad-zh": SetSource(_xquad("zh"), about="the same in Chinese"),
        "xquad-en-zh": SetSource(
            lambda data: load_xquad_across(data, "en", "zh"), about="asked in English, Chinese text"
        ),
        "xquad-zh-en": SetSource(
            lambda data: load_xquad_across(data, "zh", "en"), about="asked in Chinese, English text"
        ),
        "rgb-zh": SetSource(_rgb("rgb-zh", "zh_refine.json", "zh", "noise"), about="Chinese news"),
        "rgb-zh-counterfactual": SetSource(
            _rgb("rgb-zh-counterfactual", "zh_fact.json", "zh", "counterfactual"),
            about="Chinese news with falsified facts",
        ),
        "rgb-zh-refusal": SetSource(
            _rgb("rgb-zh-refusal", "zh_refine.json", "zh", "refusal"), about="Chinese noise alone"
        ),
        "simple": SetSource(load_simple, needs_path=True, about="a folder of your own questions"),
        "beir": SetSource(load_beir, needs_path=True, about="corpus, queries and qrels"),
        "squtr": SetSource(_squtr, needs_path=True, about="BEIR with clips: FOLDER@CLIPS"),
        "hotpotqa-file": SetSource(
            _hotpot_and_clips, needs_path=True, about="the full file: FILE.json, or FILE.json@CLIPS"
        ),
        "rgb-file": SetSource(
            _rgb_and_clips, needs_path=True, about="one file of RGB: FILE.json, or FILE.json@CLIPS"
        ),
        "sd-qa": SetSource(load_sdqa, needs_path=True, about="one file of SD-QA"),
        "svq": SetSource(
            _svq, needs_path=True, about="Simple Voice Questions, clean: FOLDER, or FOLDER@LOCALE"
        ),
        "spoken-squad": SetSource(
            lambda path: load_squad(path, name="spoken-squad", seen="nothing was chosen by it"),
            needs_path=True,
            about="SQuAD over transcripts of its paragraphs",
        ),
    }
)
"""All sets, by name."""


def parsed(named: str) -> tuple[str, Path | None]:
    """Split ``NAME`` or ``NAME=PATH``.

    Raises:
        ConfigError: There is no such set, or it lacks its path.
    """
    name, equals, path = named.partition("=")
    source = SETS.get(name)
    if source is None:
        raise ConfigError(f"there is no set {name!r}; choose of {', '.join(SETS)}")
    if source.needs_path != bool(equals and path):
        form = f"{name}=PATH" if source.needs_path else name
        raise ConfigError(f"the set {name!r} is given as {form}, not {named!r}")
    return name, Path(path) if path else None


def load_set(named: str, data: Path | None = None) -> EvalSet:
    """Read a set by its name.

    Args:
        named: ``NAME``, or ``NAME=PATH`` for sets that are given by a path.
        data: Folder with one folder for each published set; see docs/evaluation.md.

    Raises:
        ConfigError: There is no such set, or the data folder is needed and was not given.
        DocumentError: The files cannot be used.
    """
    name, path = parsed(named)
    if path is None and data is None:
        raise ConfigError(f"the set {name!r} is read from a folder of data; give --data FOLDER")
    return checked(SETS[name].load(path or data))  # type: ignore[arg-type]
