"""How an answer is cut into pieces to speak."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voicerag_core.local.speaking.marks import without_marks
from voicerag_core.local.speaking.segments import (
    FIRST_WORDS,
    MAX_CHARACTERS,
    speakable,
    spoken_line,
)
from voicerag_core.local.speaking.speech_stream import (
    MOST_ITEMS,
    SpeechStream,
    speech_segments,
    spoken_sentences,
)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("Paris.", ["Paris."]),
        (
            "The Normans were in the region. They came from the north.",
            ["The Normans were in the region.", "They came from the north."],
        ),
        (
            "After the war had ended, the city was rebuilt by its people in less than ten years.",
            [
                "After the war had ended,",
                "the city was rebuilt by its people in less than ten years.",
            ],
        ),
        (
            "The council met in the old hall because the new one had burnt down.",
            ["The council met in the old hall", "because the new one had burnt down."],
        ),
        (
            "It was an old, cold and dark house beside the river in the north.",
            ["It was an old, cold and dark house", "beside the river in the north."],
        ),
        ("It cost 1,500,000 dollars.", ["It cost 1,500,000 dollars."]),
        ("Dr. Smith lived there.", ["Dr. Smith lived there."]),
        ("One line\nand another.", ["One line and another."]),
        ("", []),
        ("... \n — !", []),
    ],
)
def test_pieces(text: str, pieces: list[str]) -> None:
    assert speech_segments(text) == pieces


def test_sound_never_has_to_wait_for_a_much_longer_piece() -> None:
    text = (
        "When the king returned, he found that the gates, which had been open for a hundred years, "
        "were shut, that the bridges over the river had been taken down, and that nobody in the "
        "city would say who had given the order to do so. He left the next day."
    )
    lengths = [len(piece.split()) for piece in speech_segments(text)]
    assert lengths[0] <= FIRST_WORDS
    assert all(
        later <= 3 * max(earlier, FIRST_WORDS) for earlier, later in itertools.pairwise(lengths)
    )


@given(st.text(max_size=600))
def test_nothing_that_can_be_spoken_is_lost_or_spoken_twice(text: str) -> None:
    pieces = speech_segments(text)
    for piece in pieces:
        assert 0 < len(piece) <= MAX_CHARACTERS
        assert piece == speakable(piece)
    said = [letter for letter in "".join(pieces) if letter.isalnum()]
    words = without_marks(text)
    assert said == [letter for letter in speakable(words) if letter.isalnum()]


@given(st.text())
def test_a_line_for_piper_is_one_line(text: str) -> None:
    line = speakable(text)
    assert len(line.splitlines()) <= 1
    assert line == line.strip()
    assert "[[" not in line
    assert line == "" or any(letter.isalnum() for letter in line)
    assert speakable(line) == line
    line.encode()


MARKED = st.sampled_from(
    """
    **Note.** _Well._ *a* b** `rm -rf /.` ``` ```sh ~~~ [the&manual](https://example.com/a.&b) [x]
    [1] ]( ) <b> </b> <!-- --> <br> | |---|---| - * 1. 2) # ## > & &amp; 🙂 👍🏽 Dr. Smith e.g.
    this. That? Yes! No: 3.5 $5. p.m. The https://example.com. :smile: \\* end. And so on; of all,
    that which is here, stays.
    """.split()
).map(lambda word: word.replace("&", " "))
ANSWERS = st.lists(
    MARKED | st.sampled_from(["\n", "\n\n", "\n- ", "\n1. ", "\n| ", " |\n", "\n```\n", "\n# "]),
    max_size=40,
).map(" ".join)


def streamed(text: str, ends: list[int]) -> list[str]:
    stream = SpeechStream()
    said: list[str] = []
    cuts = sorted({0, len(text), *(end % (len(text) + 1) for end in ends)})
    for start, end in itertools.pairwise(cuts):
        said += stream.feed(text[start:end])
    return said + stream.rest()


@settings(max_examples=100)
@given(ANSWERS | st.text(max_size=200), st.lists(st.integers(0, 10_000), max_size=20))
def test_what_is_spoken_does_not_depend_on_how_the_text_arrives(text: str, ends: list[int]) -> None:
    whole = streamed(text, [])
    assert streamed(text, ends) == whole
    assert streamed(text, list(range(len(text)))) == whole
    assert speech_segments(text) == whole


ANSWER = """**Note.** Close the valve first. See [the manual. Part 2](https://a.com/b.c) for it:

```sh
rm -rf /tmp/x. Then
ls
```

| Day | Opens |
|---|---|
| Monday | 9:00 |
| Sunday | closed |

- Call `Anna. B`. She knows 🙂.
- Wait.

Done."""


def test_marks_are_not_spoken_however_the_text_arrives() -> None:
    said = " ".join(streamed(ANSWER, list(range(len(ANSWER)))))
    assert said == (
        "Note. Close the valve first. See the manual. Part 2 for it: | Day | Opens | "
        "| Monday | 9:00 | | Sunday | closed | Call Anna. B. She knows. Wait. Done."
    )
    spoken = " ".join(map(spoken_line, streamed(ANSWER, [])))
    assert not re.search(r"[`*|#\[\]]|rm|https|---", spoken), spoken


def test_a_sentence_is_spoken_as_soon_as_the_next_has_begun() -> None:
    stream = SpeechStream()
    words = re.findall(r"\S+\s*", "It is open. It closes at six. Yes, it does.")
    said = [stream.feed(word) for word in words]
    assert [words for words in said if words] == [["It is open."], ["It closes at six."]]
    assert stream.rest() == ["Yes, it does."]


@pytest.mark.parametrize("mark", ["- ", "* ", "", "| "])
def test_of_a_long_list_the_first_items_are_spoken_and_how_many_more(mark: str) -> None:
    gap = "\n" if mark else "\n\n"
    items = [f"{mark}Item {number}" for number in range(MOST_ITEMS + 5)]
    text = gap.join(["The following apply:", *items, "", "That is all. Ask us."])
    said = " ".join(speech_segments(text))
    assert f"Item {MOST_ITEMS - 1}" in said
    assert f"Item {MOST_ITEMS}" not in said
    assert re.search(r"And [56] more\. That is all\. Ask us\.$", said), said
    assert f"Item {MOST_ITEMS + 4}" in " ".join(spoken_sentences(text))


def test_one_item_too_many_and_numbered_steps_are_spoken() -> None:
    items = [f"- Item {number}" for number in range(MOST_ITEMS + 1)]
    assert "more" not in " ".join(speech_segments("\n".join(items)))
    steps = [f"{number + 1}. Step {number}" for number in range(MOST_ITEMS + 5)]
    assert f"Step {MOST_ITEMS + 4}" in " ".join(speech_segments("\n".join(steps)))


@pytest.mark.parametrize("filling", ["-" * 300 + " ", "--- " * 300, "\n" * 20_000])
def test_long_rules_and_gaps_do_not_hold_up_the_speech(filling: str) -> None:
    assert speech_segments(f"{filling}It opens at nine.")[-1].endswith("It opens at nine.")
