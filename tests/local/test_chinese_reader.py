"""The reader of Chinese: what it chooses, how much it quotes, and when it declines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from voicerag_core.errors import CheckpointError, MissingExtraError
from voicerag_core.local.multilingual.embedder import WEIGHTS, MultilingualEmbedder
from voicerag_core.local.reading.chinese import MEASURES, ChineseReader, measure_chinese
from voicerag_core.local.reading.chinese_words import (
    asked_in_chinese,
    fits_chinese,
    numbers,
    pairs,
    question_pairs,
)
from voicerag_core.local.weights.files import weight_path
from voicerag_core.types import Embeddings, Passage

TOWER = Passage(
    "t", "铁塔位于巴黎。它高330米。铁塔建于1889年，由埃菲尔的公司建造。", {"title": "铁塔"}
)
BREAD = Passage("b", "面包用面粉、水和盐制作。烘烤需要四十分钟。", {"title": "面包"})


class ByPairs:
    """Embeds a text by its pairs of characters, near enough to each other for the thresholds."""

    model_id, dim = "pairs", 512

    def embed_passages(self, texts: Sequence[str]) -> Embeddings:
        """Embed texts."""
        rows = np.full((len(texts), self.dim), 0.35, np.float32)
        for row, text in zip(rows, texts, strict=True):
            for pair in pairs(text):
                row[sum(map(ord, pair)) % self.dim] += 1
        found: Embeddings = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return found

    embed_questions = embed_passages


@pytest.fixture(scope="module")
def real() -> ChineseReader:
    try:
        weight_path(WEIGHTS)
    except (MissingExtraError, CheckpointError):
        pytest.skip("the extra 'multilingual' is not installed")
    return ChineseReader(MultilingualEmbedder())


def test_chinese_is_cut_into_pairs_and_other_words_stay() -> None:
    assert pairs("TiDB 默认端口是4000。") == ["tidb", "默认", "认端", "端口", "口是", "4000"]
    assert question_pairs("铁塔是什么时候建成的？") == ["铁塔", "建成"]
    assert numbers("1,024 个，2.5 倍") == {"1024", "2.5"}


@pytest.mark.parametrize(
    ("question", "fitting", "other"),
    [
        ("铁塔是什么时候建成的？", "建于1889年。", "位于巴黎。"),
        ("谁建造了铁塔？", "由建筑家埃菲尔建造。", "建于1889。"),
        ("铁塔有多高？", "高330米。", "很高。"),
        ("铁塔在哪里？", "位于法国。", "很高。"),
        ("为什么要拆？", "因为它太旧。", "它太旧。"),
    ],
)
def test_a_sentence_fits_the_form_that_is_asked_for(
    question: str, fitting: str, other: str
) -> None:
    assert (fits_chinese(question, fitting), fits_chinese(question, other)) == (1.0, 0.0)


def test_a_question_without_a_form_is_fitted_by_none() -> None:
    assert fits_chinese("支持加密吗？", "支持。") == 0.5


def test_lists_and_ways_to_do_something_are_asked_for() -> None:
    assert asked_in_chinese("支持哪些公有云？").many
    assert asked_in_chinese("怎么修改密码？").how_to
    assert asked_in_chinese("你好！").greeting
    assert not asked_in_chinese("你好吗，铁塔有多高？").greeting


def test_the_sentence_with_most_of_the_question_is_measured_highest() -> None:
    seen = measure_chinese("铁塔建于哪一年？", [TOWER, BREAD], ByPairs())
    share = seen.table[:, MEASURES.index("share")]
    assert "1889" in seen.sentences[seen.read[int(share.argmax())]].text
    assert seen.table[:, MEASURES.index("first")].tolist() == [1.0, 1.0, 1.0, 0.0, 0.0]


def test_a_number_that_the_passage_lacks_is_noticed() -> None:
    column = MEASURES.index("unknown")
    near = measure_chinese("铁塔1989年多高？", [TOWER], ByPairs())
    assert near.table[:, column].min() == 1.0
    known = measure_chinese("铁塔1889年多高？", [TOWER], ByPairs())
    assert known.table[:, column].max() == 0.0


@pytest.mark.parametrize("question", ["你好", "？", "是什么"])
def test_what_asks_nothing_is_not_answered(question: str) -> None:
    assert not ChineseReader(ByPairs()).read(question, [TOWER]).answered


def test_no_passages_and_empty_ones_are_not_answered() -> None:
    reader = ChineseReader(ByPairs())
    assert not reader.read("铁塔有多高？", []).answered
    assert not reader.read("铁塔有多高？", [Passage("e", "")]).answered


def test_the_answer_is_quoted_with_its_place(real: ChineseReader) -> None:
    (answer,) = real.answer("铁塔是哪一年建成的？", [TOWER, BREAD])
    assert answer.text == "铁塔建于1889年，由埃菲尔的公司建造。"
    (citation,) = answer.citations
    assert TOWER.text[citation.start : citation.end] == answer.text


def test_what_is_not_there_is_declined_in_chinese(real: ChineseReader) -> None:
    (answer,) = real.answer("公司的首席执行官是谁？", [TOWER, BREAD])
    assert not answer.answered
    assert answer.text.startswith("文档没有回答这个问题。")
