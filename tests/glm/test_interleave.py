from __future__ import annotations

from copy import copy

import numpy as np
import pytest

from tests.glm import tiny_lm
from voicerag_core.errors import GenerationError
from voicerag_core.glm.lm.interleave import Interleave, ReplyForm, TokenKind
from voicerag_core.glm.text_tokenizer import TextTokenizer

TEXT, AUDIO, STOP = 65, 340, 307


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> TextTokenizer:
    folder = tmp_path_factory.mktemp("lm")
    tiny_lm.write_text_files(folder)
    return TextTokenizer.load(folder)


@pytest.fixture(scope="module")
def form(tokenizer: TextTokenizer) -> ReplyForm:
    return ReplyForm(tokenizer, tiny_lm.VOCAB)


def allowed(reply: Interleave) -> str:
    mask = reply.allowed().mask
    kinds = {"t": TEXT, "a": AUDIO, "s": STOP}
    return "".join(letter for letter, token in kinds.items() if mask[token])


def after(form: ReplyForm, *tokens: int) -> Interleave:
    reply = Interleave(form)
    for token in tokens:
        reply.push(token)
    return reply


@pytest.mark.parametrize(
    ("text", "audio", "legal"),
    [
        (0, 0, "t"), (1, 0, "tas"), (12, 0, "tas"), (13, 0, "a"), (13, 1, "as"), (13, 25, "as"),
        (13, 26, "tas"), (13, 27, "as"), (5, 1, "as"), (5, 26, "as"),
    ],
)  # fmt: skip
def test_what_may_follow_in_each_phase(form: ReplyForm, text: int, audio: int, legal: str) -> None:
    assert allowed(after(form, *[TEXT] * text, *[AUDIO] * audio)) == legal


def test_blocks_repeat_until_a_short_one(form: ReplyForm) -> None:
    block = [TEXT] * 13 + [AUDIO] * 26
    assert allowed(after(form, *block, TEXT)) == "tas"
    assert allowed(after(form, *block, *block)) == "tas"
    last = after(form, *block, *[TEXT] * 4, *[AUDIO] * 60)
    assert (allowed(last), last.text_done) == ("as", True)


def test_only_ids_with_a_meaning_are_ever_legal(form: ReplyForm) -> None:
    meaning = np.zeros(tiny_lm.VOCAB, bool)
    meaning[:300] = meaning[330:458] = True
    meaning[[300, 307, 309]] = True
    for legal in (form.text, form.audio, form.any, form.audio_or_stop):
        assert not (legal.mask & ~meaning).any()
        assert not legal.mask[: legal.start].any()
    assert (form.any.mask == meaning).all()


@pytest.mark.parametrize("token", [310, 329, 458, 479, 9999, -1])
def test_an_id_without_a_meaning_is_refused(form: ReplyForm, token: int) -> None:
    with pytest.raises(GenerationError, match=str(token)):
        Interleave(form).push(token)


def test_a_kind_out_of_turn_is_refused(form: ReplyForm) -> None:
    with pytest.raises(GenerationError, match="instead of speech"):
        after(form, *[TEXT] * 14)
    with pytest.raises(GenerationError, match="instead of text"):
        Interleave(form).push(AUDIO)
    assert Interleave(form).push(TEXT) is TokenKind.TEXT


def test_english_only_leaves_no_way_to_write_chinese(tokenizer: TextTokenizer) -> None:
    english = ReplyForm(tokenizer, tiny_lm.VOCAB, english_only=True).text.mask
    for text in ("中文", "かな", "한글"):
        assert not all(english[token] for token in tokenizer.encode(text))
    for text in ("What's 12 + 3?", "café — naïve", "😀"):
        assert all(english[token] for token in tokenizer.encode(text))


def test_tables_of_another_model_are_refused(tokenizer: TextTokenizer) -> None:
    with pytest.raises(GenerationError, match="not of one model"):
        ReplyForm(tokenizer, 457)


@pytest.mark.parametrize("text", [1, 7, 13])
@pytest.mark.parametrize("audio", [0, 1, 10, 25, 26])
@pytest.mark.parametrize("speech", [0, 1, 16, 17, 30, 80])
def test_how_many_ids_come_until_some_speech(
    form: ReplyForm, text: int, audio: int, speech: int
) -> None:
    reply = after(form, *[TEXT] * text, *[AUDIO] * audio)
    expected = reply.ids_until(speech)
    ids = 0
    while speech:
        token = TEXT if "t" in allowed(reply) else AUDIO
        reply.push(token)
        ids += 1
        speech -= token == AUDIO
    assert ids == expected


def test_a_copy_of_a_form_with_other_ids_has_tables_of_its_own(form: ReplyForm) -> None:
    table = Interleave(form).table()
    assert Interleave(form).table() is table
    speaking = copy(form)
    speaking.any = form.text
    assert form.any in Interleave(form).table().allowed
    assert form.any not in Interleave(speaking).table().allowed
