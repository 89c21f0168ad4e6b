"""What is told to go beyond the passages, and what is left alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from voicerag_core.local.caveats import without_caveats
from voicerag_core.local.reading.chat import OTHER_SOURCE, UNSUPPORTED, ChatMessage, ChatReader
from voicerag_core.local.reading.support import Support, Verdict
from voicerag_core.local.replies import replies_in
from voicerag_core.local.speaking.answer_speech import spoken_answer
from voicerag_core.local.speaking.speech_stream import spoken_sentences
from voicerag_core.types import Answer, Audio, Passage, Turn

TOWER = Passage(
    "a",
    "The tower is 48 metres tall and has 12 floors. Guests may bring dogs, but not cats. "
    "Tickets cost 5 euros for adults. Open Monday to Thursday.",
    {"title": "Tower"},
)
HISTORY = Passage(
    "b",
    "It was built in 1642 by Ida Berg for the Duke of Holm. It opens on 3 May 2024 at 9:30 am. "
    "About 1,200,000 people visit it each year. The museum is not open in winter.",
    {"title": "History"},
)
WORKS = Passage(
    "c",
    "Karl Holm restored the tower in the nineteenth century. The work took 18 months and cost "
    "$1.5 million. The lift carries 450 kg. It is a model KX-12.",
    {"title": "Works"},
)
PASSAGES = [TOWER, HISTORY, WORKS]


def verdict(sentence: str, *cited: int, question: str = "What about the tower?") -> Verdict:
    return Support.of(question, PASSAGES).verdict(sentence, cited)


@pytest.mark.parametrize(
    "sentence",
    [
        "The tower is forty-eight metres tall.",
        "It is 48 m high.",
        "It is 4,800 cm tall.",
        "Built in 1642, the tower has twelve floors.",
        "The 1642 tower has 12 storeys.",
        "An adult pays five euros.",
        "Tickets are \u20ac5.",
        "Admission costs 5 EUR.",
        "It opens on May 3rd, 2024, at 9:30.",
        "It opens on 03.05.2024.",
        "It opens on 2024-05-03 at 9.30 am.",
        "It opens at half past nine.",
        "It first opened in May 2024.",
        "About 1.2 million people visit it every year.",
        "The work took one and a half years.",
        "The work cost USD 1,500,000.",
        "It was restored in the 19th century by Karl Holm.",
        "The lift can carry 0.45 tonnes.",
        "It uses model KX12.",
        "You may visit it on Tuesdays.",
        "The museum is closed in winter.",
        "Yes, guests may bring dogs.",
        "There are two ways in.",
        "Berg's tower was built for the Duke.",
        "Ida Berg built it, and Karl Holm restored it in the nineteenth century.",
    ],
)
def test_what_the_passages_say_in_other_words_is_left_alone(sentence: str) -> None:
    assert verdict(sentence) is Verdict.BORNE


@pytest.mark.parametrize(
    "sentence",
    [
        "The tower is 50 metres tall.",
        "The tower is fifty metres tall.",
        "The tower is 1642 metres tall.",
        "The tower has 48 floors.",
        "The tower has eleven floors.",
        "The tower has 1642 steps.",
        "It was built in 1643.",
        "Ida Borg built it.",
        "The tower was built by Ida Bergs.",
        "Ida Holm built it.",
        "Karl Berg restored it.",
        "Mallory built the tower.",
        "It opens on 4 May 2024.",
        "It opens on June 3, 2024.",
        "It opens on 2025-05-03.",
        "It opens at 9:30 pm.",
        "It opens at nine.",
        "It opens at half past eight in the morning.",
        "More is at https://tower.example.org/floors?q=1.",
        "Write to ida@tower.example.org.",
        "It opens at half past ten, 10:30.",
        "Tickets cost 5 dollars.",
        "Tickets cost twelve euros.",
        "5 percent of the adults paid.",
        "About 1.3 million people visit it.",
        "The work took 18 weeks.",
        "The work took nineteen months.",
        "The lift carries 450 lbs.",
        "It is a model KX-13.",
        "It was restored in the 18th century.",
        "You may visit it on Sundays.",
        "Guests may not bring dogs.",
        "The museum is open in winter.",
        "Cats chase small grey mice.",
    ],
)
def test_what_is_invented_from_known_words_is_told(sentence: str) -> None:
    assert verdict(sentence) is Verdict.NOT_BORNE


def test_a_sentence_is_compared_with_what_it_cites() -> None:
    assert verdict("It was built in 1642.", 1) is Verdict.BORNE
    assert verdict("It was built in 1642.", 0) is Verdict.ELSEWHERE
    assert verdict("The tower of 1642 is 48 metres tall.", 0, 1) is Verdict.BORNE
    assert verdict("The tower of 1642 is 48 metres tall.", 0) is Verdict.ELSEWHERE
    assert verdict("It was built in 1700.", 0) is Verdict.NOT_BORNE


def test_the_question_may_be_repeated() -> None:
    question = "Is the tower of Anna Lund 60 metres tall?"
    sentence = "The tower of Anna Lund is 48 metres tall, and not 60 metres."
    assert verdict(sentence, question=question) is Verdict.BORNE


@pytest.mark.parametrize(
    ("question", "text", "good", "bad"),
    [
        (
            "Wie lange darf man bleiben?",
            "Gäste dürfen 30 Tage bleiben, das kostet 1.250,50 Euro. Ab dem 3. Mai 2024 ist zu.",
            ["Man darf dreißig Tage bleiben.", "Es kostet 1250,50 €.", "Am 03.05.2024 ist zu."],
            ["Man darf vierzig Tage bleiben.", "Es kostet 1.350,50 Euro.", "Am 4. Mai ist zu."],
        ),
        (
            "Combien de jours peut-on rester ?",
            "Les clients peuvent rester quatre-vingt-dix jours. Le musée de Jean Petit est ouvert.",
            ["On peut rester 90 jours.", "C'est le musée de Jean Petit."],
            ["On peut rester 80 jours.", "C'est le musée de Jean Petat."],
        ),
        (
            "¿Cuántos días se puede estar?",
            "Los huéspedes pueden estar treinta y un días. Cuesta 20 euros desde el 1 de enero.",
            ["Se puede estar 31 días.", "Desde el 1 de enero cuesta 20 €."],
            ["Se puede estar 32 días.", "Desde el 2 de enero cuesta 20 €."],
        ),
        (
            "塔有多高？",
            "这座塔高四十八米，建于1642年5月3日。每年约有120万人参观。",
            ["塔高48米。", "它建于1642年。", "每年有一百二十万人参观。"],
            ["塔高49米。", "它建于1643年。", "每年有130万人参观。", "塔高四十九米。"],
        ),
    ],
)
def test_other_languages(question: str, text: str, good: list[str], bad: list[str]) -> None:
    support = Support.of(question, [Passage("a", text)])
    assert [s for s in good if support.verdict(s) is not Verdict.BORNE] == []
    assert [s for s in bad if support.verdict(s) is Verdict.BORNE] == []


def test_only_figures_are_compared_across_languages() -> None:
    support = Support.of("How tall is the tower?", [Passage("a", "这座塔高四十八米，建于1642年。")])
    assert support.verdict("The tower by the sea is 48 metres tall.") is Verdict.BORNE
    assert support.verdict("The tower by the sea is 49 metres tall.") is Verdict.NOT_BORNE


def by_letter(text: str) -> Iterator[str]:
    yield from text


def by_three(text: str) -> Iterator[str]:
    yield from (text[at : at + 3] for at in range(0, len(text), 3))


@pytest.mark.parametrize("cut", [by_letter, by_three, lambda text: [text]])
@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            "It is 48 m tall [1]. Built in 1700 [2].\nIt has 12 floors. [1] It cost 9 euros [3]!",
            (
                f"It is 48 m tall. Built in 1700. {UNSUPPORTED}\nIt has 12 floors. It cost 9 euros!"
                f" {UNSUPPORTED}"
            ),
        ),
        ("It was built in 1642 [1].", f"It was built in 1642. {OTHER_SOURCE}"),
        ("It is 48 m tall [7].", "It is 48 m tall [\u26a0 there is no source 7]."),
        (
            "It is 48 m tall [1, 9]. [8]",
            "It is 48 m tall [\u26a0 there is no source 9]. [\u26a0 there is no source 8]",
        ),
        ("It is 48 m tall \u30101\u3011. It has 12 floors [Source 1].",
         "It is 48 m tall. It has 12 floors."),
        ("The tower of 1642 is 48 m tall [1-2].", "The tower of 1642 is 48 m tall."),
        ("It opened in [1642] or so [1].", f"It opened in [1642] or so. {OTHER_SOURCE}"),
    ],
)  # fmt: skip
def test_marks_in_streamed_text(cut: object, said: str, shown: str) -> None:
    assert callable(cut)
    answer = sum(ChatReader(lambda messages: cut(said)).answer("How tall?", PASSAGES), Answer())
    assert answer.text == shown


def test_marks_are_in_the_language_of_the_question() -> None:
    answer = sum(
        ChatReader(lambda messages: by_letter("塔高49米[1]。建于1642年[5]。")).answer(
            "这座塔有多高？", [Passage("a", "这座塔高48米，建于1642年。")]
        ),
        Answer(),
    )
    chinese = replies_in("zh")
    missing = chinese.no_source.format(number=5)
    assert answer.text == f"塔高49米。 {chinese.unsupported}建于1642年 {missing}。"


class Listener:
    """A speaker that keeps what it is given."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def warm(self) -> None:
        pass

    def speak(self, text: str) -> Audio:
        self.said.append(text)
        return Audio(np.zeros(100, np.float32), 16_000)

    def close(self) -> None:
        pass


@pytest.mark.parametrize("cut", [by_letter, by_three, lambda text: [text]])
def test_marks_are_not_spoken(cut: object) -> None:
    assert callable(cut)
    said = "It is 50 metres tall [1]. It was built in 1642 [1]. It has 12 floors [7]."
    listener = Listener()
    pieces = ChatReader(lambda messages: cut(said)).answer("How tall?", PASSAGES)
    answer = sum(spoken_answer(pieces, listener), Answer())
    assert answer.text.count("\u26a0") == 3
    assert " ".join(listener.said) == (
        "It is 50 metres tall. It was built in 1642. It has 12 floors."
    )
    assert "\u26a0" not in answer.spoken
    assert spoken_sentences(answer.text) == [
        "It is 50 metres tall.", "It was built in 1642.", "It has 12 floors.",
    ]  # fmt: skip
    assert without_caveats(answer.text) == " ".join(listener.said)


def test_the_model_does_not_see_the_marks_of_earlier_answers() -> None:
    seen: list[ChatMessage] = []

    def chat(messages: list[ChatMessage]) -> str:
        seen.extend(messages)
        return "It has 12 floors [1]."

    before = Turn("How tall?", Answer(f"It is 50 metres tall. {UNSUPPORTED}"))
    list(ChatReader(chat).answer("How many floors?", PASSAGES, history=[before]))
    assert seen[2] == ChatMessage("assistant", "It is 50 metres tall.")
