"""What tells a near miss from an answer, and answers that take two passages."""

from __future__ import annotations

from dataclasses import replace

import pytest

from voicerag_core.local.reading.agreement import AGREEMENT, agreement
from voicerag_core.local.reading.answer_scorer import AnswerScorer
from voicerag_core.local.reading.comparisons import compared
from voicerag_core.local.reading.dated import of_its_date
from voicerag_core.local.reading.dates import exactness, says_more_exactly
from voicerag_core.local.reading.features import candidates
from voicerag_core.local.reading.hops import about, bridges, described
from voicerag_core.local.reading.near_misses import missing_names, said_around
from voicerag_core.local.reading.numbered import conflicts, numbered
from voicerag_core.local.reading.reader import Reader
from voicerag_core.types import Passage


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(AnswerScorer(threads=2))


def against(column: str, question: str, text: str, title: str = "") -> float:
    passages = [Passage("one", text, {"title": title} if title else {})]
    sentences = candidates(passages)
    last = len(sentences) - 1
    return float(agreement(question, passages, sentences, [last])[0, AGREEMENT.index(column)])


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("Who won the regatta in 2019?", "The regatta of 2018 was won by Ida Holm."),
        ("Who won the regatta in 2019?", "Ida Holm has won the regatta since 2019."),
        ("Who won the women's final?", "Ola Moe won the men's final."),
        ("Who is the treasurer of the club?", "Ida Holm, the former treasurer of the club, left."),
        ("When does season 3 of Fjord start?", "Season 2 of Fjord starts in May."),
        ("When does season 3 of Fjord start?", "The fourth season of Fjord starts in May."),
        ("What is the first step?", "The second and the third step follow later."),
        ("What were sales in Q2?", "In the third quarter sales were 5 million."),
        ("What is the fee per month?", "The fee is 20 euros per year."),
        ("How many kilometres is the trail?", "The trail takes 5 hours."),
        ("What is the minimum order?", "The maximum order is ten boxes."),
        ("When was version 2.4 released?", "Version 2.5 was released in June."),
        ("Who got the Holm Prize?", "Ola Moe got the Young Reader Prize."),
        ("Who manages the Berlin Office?", "Ola Moe manages the Oslo Office."),
        ("What does the Pro plan cost?", "The Basic plan costs 9 euros."),
        ("Who won Best Actor?", "Ola Moe won best supporting actor."),
        ("When was Harbour Lights 2 released?", "Harbour Lights was released on 2 May."),
        ("Who won the regatta in 2019?", "Moe won it, the youngest since 2018."),
        ("Who won the regatta in 2019?", "As of 2020, Ida Holm has won most often."),
        ("Who won the regatta in 2019?", "In 2019 it rained. Ida Holm won in 2021."),
        ("What does a licensed copy cost?", "An unlicensed copy costs 9 euros."),
        ("What does an unlicensed copy cost?", "A licensed copy costs 9 euros."),
        ("How many days may interns be away?", "Partners may be away for ten days."),
        ("Who is the consultant in cardiology?", "Dr. Rao is the consultant in microbiology."),
        ("How much does a cat pay?", "A dog outside a basket pays half the fare."),
        ("When is the pool open on Sunday?", "The pool is open from 8 to 20, Mon-Fri."),
        ("Who approves more than 80 hours?", "For 80 hours or less ask your supervisor."),
        ("What does a parcel of up to 5 kg cost?", "Parcels over 5 kg cost 9 euros."),
        ("What is the default port of Fjord?", "The default host is the local one."),
        ("How high is the annual fee?", "The annual meeting is in May."),
    ],
)
def test_another_year_number_side_or_unit_contradicts(question: str, text: str) -> None:
    assert against("contradicts", question, text) == 1


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("Who won the regatta in 2019?", "The regatta of 2019 was won by Ida Holm."),
        ("Who led the firm in 2015?", "Ida Holm has led the firm since 2010."),
        ("Who led the firm in 2015?", "Ida Holm led the firm from 2010 to 2018."),
        ("Who led the firm in 2015?", "In 2015 the firm grew. Ida Holm led it then, as in 2014."),
        ("Are lunch breaks paid?", "Lunch breaks are unpaid."),
        ("What were sales in Q3?", "Third-quarter sales were 5 million."),
        ("When was the Definite Edition sold?", "The Definitive Edition was sold in May."),
        ("Who is the treasurer of the club?", "Ida Holm, a former sailor, is the treasurer."),
        ("When does season 3 of Fjord start?", "The third season of Fjord starts in May."),
        ("When was version 2.4 released?", "Version 2.4.1 was released in June."),
        ("How many hours is the trail?", "The trail takes 300 minutes."),
        (
            "Who got the Holm Prize?",
            "The Holm Prize went to Ola Moe, who has the Fjord Prize, too.",
        ),
        ("Who won Best Actor?", "Best Actor went to Ola Moe, best supporting actor to Ida Holm."),
        ("When was Harbour Lights 2 released?", "Harbour Lights 2 was released on 3 May."),
        ("Who approves more than 80 hours?", "80 hours or less: nobody; over 80: the board."),
        ("Can I take more than 80 hours?", "At most 80 hours are paid."),
        ("What is the default port?", "The default TCP port is 5432."),
        ("What is the default port?", "The default value is 5432."),
        ("What is the default port?", "The port is 5432, and the default host is this one."),
        ("How much is a permit for full-time staff a month?", "It is 9 a week or 31 a month."),
    ],
)
def test_what_is_said_in_other_words_does_not_contradict(question: str, text: str) -> None:
    assert against("contradicts", question, text) == 0


@pytest.mark.parametrize(
    ("question", "text", "lacks"),
    [
        ("When was the bridge opened?", "The bridge was opened with a large party.", 1),
        ("When was the bridge opened?", "The bridge was opened in May.", 0),
        ("When the pump leaks, what should I do?", "Call the desk.", 0),
        ("How many seats has the hall?", "The hall of 1931 has seats.", 1),
        ("How many seats has the hall?", "The hall has two hundred seats.", 0),
        ("Who won the race?", "The race was won in rain.", 1),
        ("Who won the race?", "The race was won by Ida Holm.", 0),
        ("Who pays for shipping?", "Shipping is paid by the buyer.", 0),
    ],
)
def test_a_sentence_lacks_the_kind_that_is_asked_for(
    question: str, text: str, lacks: float
) -> None:
    assert against("unkind", question, text) == lacks


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("How many days may interns be away?", "An intern may be away for ten days."),
        ("How many days may interns be away?", "Everybody may be away for ten days."),
        ("Who may give pupils medicine?", "Staff give it only if a doctor has prescribed it."),
        ("Who is the consultant in microbiology?", "Dr. Rao is the consultant. Microbiology."),
        ("Who is the head of invoices?", "Ida Holm runs finance."),
        ("How many days may guests stay?", "Visitors may stay for ten days."),
        ("When is the pool open on Sunday?", "The pool is open from 8 to 20, Saturday to Monday."),
        ("Is the pool open on Sunday?", "The pool is open from 8 to 20, Mon-Fri."),
        ("How many days is a licensed copy valid?", "A copy is valid for ten days."),
    ],
)
def test_the_same_group_opposite_or_day_does_not_contradict(question: str, text: str) -> None:
    assert against("contradicts", question, text) == 0


def test_another_kind_of_a_thing_contradicts_where_the_kind_asked_for_is_at_hand() -> None:
    asked = "Until when can I cancel a flex ticket?"
    saver = "Saver tickets cannot be cancelled after midnight."
    assert against("contradicts", asked, f"Flex tickets can be cancelled. {saver}") == 1
    assert against("contradicts", asked, saver) == 0
    assert against("contradicts", asked, f"Flex tickets are dear. {saver}", "Flex tickets") == 0


def test_a_section_about_another_kind_contradicts() -> None:
    text = "Student nurses work by day. The plan is published in May."
    for heading, value in (("Registered nurses", 1), ("Student nurses", 0), ("Plans", 0)):
        passage = Passage("one", text)
        sentences = [replace(one, path=(heading,)) for one in candidates([passage])]
        found = agreement("When is the plan of student nurses out?", [passage], sentences, [1])
        assert found[0, AGREEMENT.index("contradicts")] == value


@pytest.mark.parametrize(
    ("question", "text", "lacks"),
    [
        ("What is the email address of Ida Holm?", "Ida Holm: extension 4480", 1),
        ("What is the email address of Ida Holm?", "Ida Holm: ida@holm.example", 0),
        ("What is the phone number of the linen room?", "The linen room is in the basement.", 1),
        ("What is the phone number of the linen room?", "Linen room: 4480", 0),
        ("linen room phone", "The linen room is in the basement.", 1),
        ("How do I send an email?", "Press the letter.", 0),
        ("What is the email policy?", "Keep private mail out.", 0),
        ("email in the evening", "Keep private mail out.", 0),
    ],
)
def test_an_address_looks_like_one(question: str, text: str, lacks: float) -> None:
    assert against("unkind", question, text) == lacks


def test_a_dated_heading_tells_when() -> None:
    text = "It dropped the console."
    passage = Passage("one", text, {"path": ["4.0 (2025-06-17)"]})
    sentences = [replace(candidates([passage])[0], path=("4.0 (2025-06-17)",))]
    found = agreement("When did it drop the console?", [passage], sentences, [0])
    assert found[0, AGREEMENT.index("unkind")] == 0
    assert against("unkind", "When did it drop the console?", text) == 1


def test_a_weekday_may_lie_between_others() -> None:
    said = said_around(Passage("one", "Open from Monday to Thursday."))
    assert missing_names("Is it open on Tuesday?", said) == 0
    assert missing_names("Is it open on Tuesday?", said_around(Passage("one", "Open."))) == 1


MINUTES = (
    "Budget. The deficit has come down to £9,750 after a grant for energy saving. "
    "The auditors, Baines LLP, had no remarks."
)


def test_minutes_are_read_without_the_date_that_names_them(reader: Reader) -> None:
    june = Passage("june", MINUTES, {"title": "Meeting of the board, 18 June 2025"})
    march = Passage(
        "march", "The forecast shows a deficit of £18,400.",
        {"title": "Meeting of the board, 12 March 2025"},
    )  # fmt: skip
    reading = reader.read("How large is the deficit in June 2025?", [march, june])
    assert "9,750" in reading.text
    assert [one.passage_id for one in reading.citations] == ["june"]
    assert not reader.read("How large is the deficit in July 2025?", [march, june]).answered


@pytest.mark.parametrize(
    ("question", "short", "titles"),
    [
        ("Who was at the meeting on 12 March 2025?", "Who was at the meeting?", ["2025-03-12"]),
        ("Who was at the meeting in March 2025?", "Who was at the meeting?", ["2025-03-12"]),
        ("Who was at the meeting in April 2025?", "", []),
        ("Who was at the meeting in 2025?", "", []),
        ("On 12 March 2025?", "", []),
    ],
)
def test_a_date_in_a_question_names_documents(question: str, short: str, titles: list[str]) -> None:
    passages = [
        Passage(day, "All is well.", {"title": day}) for day in ("2025-03-12", "2025-06-01")
    ]
    found = of_its_date(question, passages)
    assert (found is not None) == bool(titles)
    if found is not None:
        assert (found[0], [one.title for one in found[1]]) == (short, titles)


def test_names_are_missed_in_the_sentence_but_known_to_its_passage() -> None:
    text = "Moss is made in Oslo. It is sold there. The price is 5 euros."
    assert against("around", "What is the price of Moss?", text) == 0
    assert against("unnamed", "What is the price of Moss?", text) == 1
    assert against("unnamed", "What is the price of Moss?", text, title="Moss") == 0


def test_a_relation_is_said_by_another_word() -> None:
    assert against("unrelated", "Who bought the mill?", "The mill was acquired by Ida Holm.") == 0
    assert against("unrelated", "Who bought the mill?", "The mill was painted by Ida Holm.") == 1


def test_numbered_things_are_told_apart() -> None:
    assert numbered("Part II, section 5 and the 93rd Academy Awards") == {
        "part": {"2"},
        "section": {"5"},
        "academy": {"93"},
        "award": {"93"},
    }
    assert numbered("in 12 days, on May 3, at 5 pm") == {}
    assert conflicts(numbered("Part 2?"), "Part III begins here")
    assert not conflicts(numbered("Part 2?"), "Parts 2 and 3; part 2 is short")


@pytest.mark.parametrize(
    ("question", "text", "templates"),
    [
        (
            "How old is the man who built the Red Tower?",
            "the man who built the Red Tower",
            ("How old is {}",),
        ),
        (
            "The village where Ann Bell was born lies on which river?",
            "The village where Ann Bell was born",
            ("{} lies on which river",),
        ),
        (
            "Tom Hill teaches at a college that was founded in what year?",
            "Tom Hill teaches at a college",
            ("{} was founded in what year",),
        ),
        (
            "Where is the firm that Ann Bell works for based?",
            "the firm that Ann Bell works for",
            ("Where is {} based", "Where is {}"),
        ),
        (
            "When was the founder of Acme Corp born?",
            "the founder of Acme Corp",
            ("When was {} born",),
        ),
        (
            "The tune is by someone born in what year?",
            "The tune is by someone",
            ("{} was born in what year",),
        ),
    ],
)
def test_a_description_stands_for_a_name(
    question: str, text: str, templates: tuple[str, ...]
) -> None:
    hop = described(question)
    assert hop is not None
    assert (hop.text, hop.templates) == (text, templates)


@pytest.mark.parametrize(
    "question",
    [
        "Who is the man who built the Red Tower?",
        "What is the name of the river that flows through Ghent?",
        "Who is the director of Sales?",
        "Who do I call when the person who manages me is away?",
        "What is the phone number of the manager of the Berlin office?",
        "How do I reset the router?",
    ],
)
def test_what_one_passage_answers_needs_no_second(question: str) -> None:
    assert described(question) is None


def test_a_bridge_is_a_name_that_the_question_lacks_with_a_passage_about_it() -> None:
    passages = [
        Passage("tower", "The Red Tower was built by Ida Holm.", {"title": "Red Tower"}),
        Passage("ida", "She was born in Ghent.", {"title": "Ida Holm"}),
    ]
    found = list(bridges("How old is the builder of the Red Tower?", passages[0].text, 0, passages))
    assert found == [("Ida Holm", [1])]
    assert about("Ida Holm", passages) == [passages[1]]


TOWER = Passage(
    "tower",
    "The Red Tower stands in Ghent. It was designed by the architect Ida Holm. "
    "It is 48 metres tall.",
    {"title": "Red Tower"},
)
IDA = Passage(
    "ida",
    "Ida Holm was a Danish architect. She was born on 4 March 1931 in Aarhus and studied in Rome.",
    {"title": "Ida Holm"},
)
MILL = Passage(
    "mill",
    "The Old Mill stands in Bruges. It was designed by Ola Moe. It is 20 metres tall.",
    {"title": "Old Mill"},
)


def test_two_hops_quote_the_name_and_what_is_asked_of_it(reader: Reader) -> None:
    reading = reader.read(
        "When was the architect who designed the Red Tower born?", [TOWER, MILL, IDA]
    )
    assert reading.answered
    assert "Ida Holm" in reading.text
    assert "4 March 1931" in reading.text
    assert [place.passage_id for place in reading.citations][-1] == "ida"


def test_two_hops_without_the_second_passage_are_declined(reader: Reader) -> None:
    question = "When was the architect who designed the Red Tower born?"
    assert not reader.read(question, [TOWER, MILL]).answered


def test_a_comparison_quotes_both_sides_or_neither(reader: Reader) -> None:
    question = "Which is taller, the Red Tower or the Old Mill?"
    reading = reader.read(question, [MILL, IDA, TOWER])
    assert "48 metres" in reading.text
    assert "20 metres" in reading.text
    assert {place.passage_id for place in reading.citations} == {"tower", "mill"}
    assert not reader.read(question, [TOWER, IDA]).answered


@pytest.mark.parametrize(
    ("question", "asked"),
    [
        (
            "Who is older, Ida Holm or Ola Moe?",
            ("When was Ida Holm born?", "When was Ola Moe born?"),
        ),
        (
            "who is younger Ida Holm or Ola Moe?",
            ("When was Ida Holm born?", "When was Ola Moe born?"),
        ),
        (
            "Were Ida Holm and Ola Moe of the same nationality?",
            ("What is the nationality of Ida Holm?", "What is the nationality of Ola Moe?"),
        ),
        (
            "Are both Ghent and Bruges located in Belgium?",
            ("Is Ghent located in Belgium?", "Is Bruges located in Belgium?"),
        ),
        (
            "Which club, Rovers or Wanderers, has more members?",
            ("How many members has Rovers?", "How many members has Wanderers?"),
        ),
        (
            "What hobby do Ida Holm and Ola Moe share?",
            ("What is the hobby of Ida Holm?", "What is the hobby of Ola Moe?"),
        ),
        ("Are tea and coffee free?", ()),
        ("Do I need a badge and a key?", ()),
    ],
)
def test_each_side_of_a_comparison_is_asked_about(question: str, asked: tuple[str, ...]) -> None:
    assert compared(question)[1] == asked


def test_a_date_is_as_exact_as_the_best_sentence_has_it(reader: Reader) -> None:
    year = Passage("year", "The Red Tower was opened in 1931.", {"title": "Red Tower"})
    day = Passage(
        "day", "On 4 March 1931 the Red Tower was opened by the mayor.", {"title": "News"}
    )
    other = Passage("other", "The Old Mill was opened on 5 May 1931.", {"title": "Old Mill"})
    for order in ([year, day, other], [other, year, day]):
        assert "4 March 1931" in reader.read("When was the Red Tower opened?", order).text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on 4 March 1931", 3),
        ("on March 4th, 1931", 3),
        ("1931-03-04", 3),
        ("in March 1931", 2),
        ("on 4 March", 2),
        ("in 1931", 1),
        ("long ago", 0),
        ("it may be 12 of 30", 0),
    ],
)
def test_dates_differ_in_how_exact_they_are(text: str, value: int) -> None:
    assert exactness(text) == value


def test_an_exacter_date_of_another_year_does_not_count() -> None:
    assert says_more_exactly("on 4 March 1931", "in 1931")
    assert not says_more_exactly("on 4 March 1930", "in 1931")


@pytest.mark.parametrize(
    ("question", "before", "sentence"),
    [
        (
            "What was decided on parking?",
            "The committee met on Monday.",
            "The panel decided that parking stays free.",
        ),
        (
            "How many members has the board?",
            "The board meets monthly.",
            "The body has nine members.",
        ),
        (
            "When is the deposit returned?",
            "The tenant pays a deposit.",
            "That sum is returned in May.",
        ),
        (
            "Which languages are taught?",
            "French is taught in year one.",
            "Other languages taught are Danish and Polish.",
        ),
    ],
)
def test_a_thing_told_of_before_brings_the_sentence_before(
    reader: Reader, question: str, before: str, sentence: str
) -> None:
    assert (
        reader.read(question, [Passage("x", f"{before} {sentence}")]).text == f"{before} {sentence}"
    )


def test_a_bare_reply_stands_in_front_of_what_explains_it(reader: Reader) -> None:
    text = "No. Only people over 16 may enter the halls."
    passage = Passage("x", text)
    assert reader.read("Can I bring my children into the halls?", [passage]).text == text
    why = reader.read("Who may enter the halls?", [passage]).text
    assert why == "Only people over 16 may enter the halls."


def test_a_thing_that_the_question_names_needs_no_sentence_before(reader: Reader) -> None:
    passage = Passage("x", "The Moss 2 is a lamp. The device weighs 900 grams.")
    assert (
        reader.read("What does the device weigh?", [passage]).text == "The device weighs 900 grams."
    )


@pytest.mark.parametrize(
    ("question", "text", "unsaid"),
    [
        ("Who won the regatta?", "Ida Holm and Ola Moe sailed in the regatta.", 1),
        ("Who won the regatta?", "Ida Holm is a favourite to win the regatta.", 1),
        ("Who won the regatta?", "The regatta ended with a victory of Ida Holm.", 0),
        ("Who acquired Fjord Ltd?", "Fjord Ltd was founded by two sailors.", 1),
        ("Who acquired Fjord Ltd?", "Holm AG bought Fjord Ltd.", 0),
        ("When was the game released?", "The game was announced on 3 May.", 1),
        ("When was the game released?", "The game was originally released on 3 May.", 1),
        ("When was the game originally released?", "Originally released on 3 May.", 0),
        ("When was the game released?", "The original release date was 3 May.", 1),
        (
            "When was the game released?",
            "It has the original music of the game of 3 May, out now.",
            0,
        ),
        ("When was the game released?", "The game came out on 3 May.", 0),
        ("What was the revenue of Fjord?", "Fjord delivered 200 boats.", 1),
        ("What was the revenue of Fjord?", "Fjord earned 2 million.", 0),
        ("Why won't the pump start?", "The plug is loose.", 0),
        ("Did Ida Holm win the regatta?", "Ida Holm came second.", 0),
    ],
)
def test_an_event_is_told_as_a_fact(question: str, text: str, unsaid: float) -> None:
    assert against("unsaid", question, text) == unsaid


@pytest.mark.parametrize(
    ("question", "text", "lacks"),
    [
        ("What is the price of the boat?", "The boat is blue.", 1),
        ("What is the price of the boat?", "The boat is free.", 0),
        ("What is the price list for?", "It is for dealers.", 0),
        ("Where is the office?", "The office is large.", 1),
        ("Where is the office?", "The office is behind the church.", 0),
        ("Where is the Oslo office?", "Your first day takes place in the Oslo office.", 1),
        ("Where is the Oslo office?", "Send it to the Oslo office in Quay Street.", 0),
        ("Where is the Oslo office?", "You find it in Quay Street.", 0),
        ("Where are the spare keys?", "The box with the spare keys hangs in the hall.", 0),
        ("Where are the forms kept?", "The forms are kept in the archive.", 0),
        ("When was the game released?", "The game was released last year.", 1),
    ],
)
def test_a_sum_has_a_figure_and_a_place_is_told(question: str, text: str, lacks: float) -> None:
    assert against("unkind", question, text) == lacks
