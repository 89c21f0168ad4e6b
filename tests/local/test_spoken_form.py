"""Figures, dates, money, units, numbers, numerals and marks, in the form in which they are said."""

from __future__ import annotations

import importlib.util
import re
from functools import cache
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicerag_core.local.speaking.segments import spoken_line
from voicerag_core.local.speaking.speech_stream import speech_segments
from voicerag_core.local.speaking.spoken_form import spoken_form

if TYPE_CHECKING:
    from piper.phonemize_espeak import EspeakPhonemizer


@cache
def _phonemizer() -> EspeakPhonemizer:
    """Return one for all tests: espeak-ng's library is not made to be started again and again."""
    from piper.phonemize_espeak import EspeakPhonemizer

    return EspeakPhonemizer()


SAID = """
It costs $500. = It costs 500 dollars.
It costs $1.5 million. = It costs 1.5 million dollars.
It costs $1. = It costs 1 dollar.
It costs $1,250.00 a month. = It costs 1,250 dollars a month.
A $500 deposit is due. = A 500 dollar deposit is due.
The $500 is due. = The 500 dollars is due.
The fee is €12.50 per day. = The fee is 12 euros and 50 cents per day.
It is £3 or £3.20. = It is 3 pounds or 3 pounds and 20 pence.
It is $0.99. = It is 99 cents.
It is 12,50 € or € 1.234,56. = It is 12 euros and 50 cents or 1234 euros and 56 cents.
It costs 500 EUR or USD 30. = It costs 500 euros or 30 U.S. dollars.
It is $5-7, $10–$20 or £10-15. = It is 5 to 7 dollars, 10 to 20 dollars or 10 to 15 pounds.
$1.5M, $2bn and $30k = 1.5 million dollars, 2 billion dollars and 30 thousand dollars
$10/month or €5/kg = 10 dollars per month or 5 euros per kilogram
-$5 and ¥500 = minus 5 dollars and 500 yen
Call 555-1234. = Call 5 5 5, 1 2 3 4.
Call (555) 123-4567. = Call 5 5 5, 1 2 3, 4 5 6 7.
Dial +49 30 1234567. = Dial plus 4 9, 3 0, 1 2 3 4 5 6 7.
Dial +1 (415) 555-2671. = Dial plus 1, 4 1 5, 5 5 5, 2 6 7 1.
Phone 030/1234567 = Phone 0 3 0, 1 2 3 4 5 6 7
Phone 020 7946 0958 = Phone 0 2 0, 7 9 4 6, 0 9 5 8
Call 1-800-555-0199 now. = Call 1, 8 0 0, 5 5 5, 0 1 9 9 now.
Call 911 or ext. 4512. = Call 9 1 1 or extension 4 5 1 2.
Call 500 people. = Call 500 people.
500-1000 people came. = 500 to 1000 people came.
Order PX-77213. = Order PX 7 7 2 1 3.
ISBN 978-3-16-148410-0 = ISBN 9 7 8, 3, 1 6, 1 4 8 4 1 0, 0
Card 4111 1111 1111 1111 = Card 4 1 1 1, 1 1 1 1, 1 1 1 1, 1 1 1 1
It was signed on 2024-05-03. = It was signed on May 3rd, 2024.
It was signed on 3 May 2024. = It was signed on the 3rd of May 2024.
On May 3, 2024 it opened. = On May 3rd, 2024 it opened.
On 03.05.2024 it opened. = On May 3rd, 2024 it opened.
12/25/2024 or 25/12/2024 = December 25th, 2024 or December 25th, 2024
On 03/05/2024 it opened. = On 3, 5, 2024 it opened.
From 2024-05 on, and 1/2024. = From May 2024 on, and January 2024.
By 2024-05-03T14:30:00Z = By May 3rd, 2024, 14 30
On 12 Mar. 2024 and Dec 5. = On the 12th of March 2024 and December 5th.
In May 3 people left. = In May 3 people left.
He left on 3 May. It rained. = He left on the 3rd of May. It rained.
from 1-3 May = from the 1st to the 3rd of May
Version 99-99-99 = Version 9 9, 9 9, 9 9
At 14:30 and 9:05 am = At 14 30 and 9 oh 5 AM
We open at 9 a.m. We close at 5 p.m. = We open at 9 AM. We close at 5 PM.
At 14:00, 00:00 and 12:00 = At 14 hundred, midnight and 12 o'clock
9am-5pm and 10 a.m.-2 p.m. daily = 9 AM to 5 PM and 10 AM to 2 PM daily
Mon–Fri: 8:00–18:00 = Monday to Friday: 8 o'clock to 18 hundred
Mon. 9:30 = Monday 9 30
The sun sat low. = The sun sat low.
The score was 3:1. = The score was 3 to 1.
The limit is 5 km/h. = The limit is 5 kilometers per hour.
The room has 3 m². = The room has 3 square meters.
The tank holds 25 m3 or 1 m³. = The tank holds 25 cubic meters or 1 cubic meter.
20 °C or 68°F, –5 °C = 20 degrees Celsius or 68 degrees Fahrenheit, minus 5 degrees Celsius
1 °C = 1 degree Celsius
9.81 m/s² = 9.81 meters per second squared
8 l/100 km = 8 liters per 100 kilometers
5 mg/l and m³/h = 5 milligrams per liter and cubic meters per hour
100 Mbit/s, 16 GB, 50 Hz = 100 megabits per second, 16 gigabytes, 50 hertz
A 5-km run = A 5 kilometer run
6 ft or 1 ft = 6 feet or 1 foot
10,5 kg and 1,500 kg = 10.5 kilograms and 1,500 kilograms
40 hours/week = 40 hours per week
5G, 4K, Gate 5A, the 5s = 5G, 4K, Gate 5A, the 5s
10^6 or 10⁶ cells = 10 to the power of 6 or 10 to the power of 6 cells
5×10^6 = 5 times 10 to the power of 6
5 x 10^-3 = 5 times 10 to the power of minus 3
x² + y³ = x squared + y cubed
The policy¹ of 2010³ holds. = The policy of 2010 holds.
10**6 = 10 to the power of 6
3 x 4 m, 10x faster = 3 by 4 meters, 10 times faster
The 1990s and the '80s and the 2000s. = The 19 nineties and the eighties and the 2 thousands.
In 1984, in 1905 and in 2024. = In 19 84, in 19 oh 5 and in 2024.
About 1250 people, 1,984 in all. = About 1250 people, 1,984 in all.
The 3rd, 21st, 100th and 1500th = The 3rd, 21st, 1 hundredth and 1 thousand 5 hundredth
We are open 24/7. = We are open 24 7.
It takes 5-7 days, 20–30 % more. = It takes 5 to 7 days, 20 to 30 % more.
1990-1995 and 2023/24 = 19 90 to 19 95 and 2023 to 24
1st-3rd, A–Z = 1st to 3rd, A to Z
about 5~10 minutes = about 5 to 10 minutes
Clause 252.227-7013 and 0x37 = Clause 252.227-7013 and 0x37
COVID-19, F-16, H2O = COVID-19, F-16, H2O
Version 2.32.5 is out. = Version 2 point 32 point 5 is out.
Use v2.3 or Python 3.11. = Use version 2 point 3 or Python 3 point 11.
It is 3.11 m. = It is 3.11 meters.
The server is 192.168.0.1. = The server is 192 dot 168 dot 0 dot 1.
1 000 000 or 1.000.000 people = 1000000 or 1000000 people
1/2 cup, 3/4 of it = one half cup, 3 quarters of it
2 1/2 or 2½ cups, ⅔ = 2 and a half or 2 and a half cups, 2 thirds
3/50 = 3 over 50
Henry VIII died before World War II. = Henry the 8th died before World War 2.
Elizabeth I was queen; I think so. = Elizabeth the 1st was queen; I think so.
As Henry I think so. = As Henry I think so.
King George VI's speech = King George the 6th's speech
Louis XIV, Pope John Paul II = Louis the 14th, Pope John Paul the 2nd
Chapter IV, Part I and Act V = Chapter 4, Part 1 and Act 5
Apollo XIII and Rocky II = Apollo 13 and Rocky 2
in the XIX century = in the 19th century
An IV drip in size XL = An I V drip in size X L
MIX, DVD, CD and I = MIX, DVD, CD and I
See No. 5, e.g. this, i.e. that. = See number 5, for example this, that is that.
No. It is not. = No. It is not.
See Fig. 3, Sec. 2, pp. 3-5. = See figure 3, section 2, pages 3 to 5.
See § 5 and #7. = See section 5 and number 7.
Mr. Smith and Dr. Jones = Mister Smith and Doctor Jones
St. Mary on Main St. = Saint Mary on Main Street.
Max. load is 40 kg incl. packaging. = Maximum load is 40 kilograms including packaging.
It is $3 excl. VAT. = It is 3 dollars excluding VAT.
Acme Inc. The firm = Acme Incorporated. The firm
A. Smith vs. B. Jones = A. Smith versus B. Jones
Tom & Jerry, R&D = Tom and Jerry, R and D
he/she, TCP/IP = he or she, TCP IP
x ≥ 5, p < 0.05, ~20 = x at least 5, p less than 0.05, about 20
±2 mm, 5 ± 0.5 kg = plus or minus 2 millimeters, 5 plus or minus 0.5 kilograms
The **warranty** lasts *two years*. = The warranty lasts two years.
## Warranty = Warranty.
- [x] one = one.
See [the manual](https://example.com/a_(b)). = See the manual.
See https://www.example.com/a/b?c. = See example.com.
It says so [12]. = It says so.
`Tock` is ~~bad~~ ==good== __now__. = Tock is bad good now.
Set max_retries and 5 * 3. = Set max retries and 5 times 3.
<b>Bold</b> &amp; <br>done = Bold and done
a < b and c > d = a < b and c > d
| a | b | = a, b
It is good 🙂👍🏽. = It is good.
The main\u00adten\u00adance fee is due. = The maintenance fee is due.
The o\ufb03ce\u200b is open\u2011air. = The office is open-air.
6'2" tall, 5 ft 11 in, a 12" disk = 6 feet 2 inches tall, 5 feet 11 inches, a 12 inch disk
He said "version 5" to me. = He said "version 5" to me.
It takes 1h 30m or 1h05. = It takes 1 hour 30 minutes or 1 hour 5 minutes.
A 5 km run, the 230 V socket, 5 km long = A 5 kilometer run, the 230 volt socket, 5 kilometers long
A 45° angle, the 5 km between them = A 45 degree angle, the 5 kilometers between them
$10/user/month, see docs/user/guide = 10 dollars per user per month, see docs user guide
Rs. 500 or CHF 20.– or R$ 5 = 500 rupees or 20 Swiss francs or 5 reals
5 px, 12pt = 5 pixels, 12 points
The network 10.0.0.0/8 = The network 10 dot 0 dot 0 dot 0 slash 8
Q1-Q3 2024 and H1–H2 = Q1 to Q3 2024 and H1 to H2
C# and F#, CO2 and FAQs = C sharp and F sharp, C O 2 and F A Q's
The CEO's PDFs, URLs and PINs = The C E O's P D F's, U R L's and PINs
Order 4711, ID: 12345, RFC 2119 = Order 4 7 1 1, ID: 1 2 3 4 5, RFC 2 1 1 9
In case 2024 is late, in order 4711 parts = In case 2024 is late, in order 4711 parts
Mon, Wed and Fri. Sat and Sun = Monday, Wednesday and Friday. Saturday and Sunday
Tues & Thurs, Jan.–Mar. 2024 = Tuesday and Thursday, January to March 2024
He sat and Sun Microsystems fell. = He sat and Sun Microsystems fell.
Scene ii, chapter iv, point (iii) = Scene 2, chapter 4, point (3)
In MMXXIV and MCMXCIX = In 2024 and 19 99
Sr. Engineer and Gov. Brown = Senior Engineer and Governor Brown
Mt. Everest, Ft. Worth = Mount Everest, Fort Worth
A 6 ft. wall, 5 lb. bags and 5 cu. ft. = A 6 foot wall, 5 pounds bags and 5 cubic feet
30x40x50 cm, 3/8" thick = 30 by 40 by 50 centimeters, 3 eighths inch thick
At 60 bpm = At 60 beats per minute
1.4bn people, up 3.5pp = 1.4 billion people, up 3.5 percentage points
€ 1.234 and $2 to $3 million = 1234 euros and 2 to 3 million dollars
Dial 555 1234 or 1-800-FLOWERS. = Dial 5 5 5, 1 2 3 4 or 1-800-FLOWERS.
IBAN DE89 3704 0044 0532 0130 00 = IBAN D E 8 9, 3 7 0 4, 0 0 4 4, 0 5 3 2, 0 1 3 0, 0 0
12/31/99 and 12/31/24 = December 31st, 19 99 and December 31st, 2024
28 Feb - 3 Mar, May 5 - June 3 = the 28th of February to the 3rd of March, May 5th to June 3rd
In Q4/2024, 2024-W05 and CW 23 = In Q4 2024, week 5 of 2024 and calendar week 23
At 8.30 am in the mid-1990s = At 8 30 AM in the mid-19 nineties
Rev. 2, Rev. B, cf. p. 12 = revision 2, Revision B, compare page 12
approx 10 vs 11 = approximately 10 versus 11
1.5e-3 at 1:10,000 in WWII = 1.5 times 10 to the power of minus 3 at 1 to 10,000 in World War 2
Rated 4 ★ at 0.5 % p.m. = Rated 4 stars at 0.5 % per month
10<sup>6</sup> :smile: >= 5 = 10 to the power of 6 at least 5
[[policy|the policy]] [!NOTE] Read. = the policy Read.
"""
CASES = [
    tuple(part.strip() for part in line.encode().decode("unicode_escape").split(" = "))
    if "\\u" in line
    else tuple(part.strip() for part in line.split(" = "))
    for line in SAID.strip().splitlines()
]


@pytest.mark.parametrize(("text", "said"), CASES, ids=[text for text, _ in CASES])
def test_what_is_said(text: str, said: str) -> None:
    assert spoken_form(text) == said
    assert spoken_form(said) == said, "what is spoken already changes once more"


def test_lists_and_headings_end_as_sentences_and_code_blocks_are_left_out() -> None:
    text = "# Steps\n\n1. Close the valve.\n- Call us\n- Wait\n```sh\nrm -rf /\n```\nDone."
    assert spoken_form(text) == "Steps. 1. Close the valve. Call us. Wait. Done."
    assert spoken_form("wrapped\nprose goes on") == "wrapped prose goes on"


def test_a_raised_figure_in_a_formula_is_a_power_and_behind_a_word_a_note() -> None:
    assert spoken_form("E = mc²") == "E = mc squared"
    assert spoken_form("The policy² holds.") == "The policy holds."


@pytest.mark.parametrize("text", ["", "...", "🙂", "![](chart.png)", "```\ncode\n```", "---", "**"])
def test_nothing_is_left_of_what_cannot_be_said(text: str) -> None:
    assert spoken_line(text) == ""
    assert speech_segments(text) == []


PIECES = st.sampled_from(
    """
    $5 $1.5 million €12,50 £3 500 EUR 5-7 5 – 7 1990s 1984 2024-05-03 3 May May 3 9:05 am 14:00 p.m.
    555-1234 +49 30 123456 km/h m² 10^6 x³ ½ 1/2 24/7 II IV XL Henry VIII World War Chapter I v2.3
    2.32.5 192.168.0.1 No. e.g. Mr. St. Inc. max. & / % °C ** _ ` [a](b) <b> # - * | ~ ≥ 🙂 .
    """.split()
)
TEXTS = st.lists(PIECES | st.text("aI5.,-/:$ ", max_size=4), max_size=8).map(" ".join)


@given(TEXTS)
def test_the_spoken_form_of_any_text_can_be_spoken(text: str) -> None:
    said = spoken_form(text)
    assert "\n" not in said
    assert not re.search(r"\*\*|`", said), said
    for piece in speech_segments(text):
        assert spoken_line(piece), "a piece that cannot be spoken would end the answer"


@given(st.text(max_size=80))
def test_no_text_is_too_strange(text: str) -> None:
    assert "\u00ad" not in spoken_form(text)


def test_a_long_text_is_said_in_no_time() -> None:
    # A pattern that tries everything twice would not end here.
    for text in ("1-" * 5_000, "*_" * 5_000, "[" * 5_000, "$1," * 5_000, "I" * 5_000, "a/" * 5_000):
        spoken_form(text)


phonemes_needed = pytest.mark.skipif(
    importlib.util.find_spec("piper") is None, reason="piper-tts is not installed"
)


@phonemes_needed
@pytest.mark.parametrize(
    ("text", "heard", "not_heard"),
    [
        ("It costs $500.", "faɪvhʌndɹɪd dɑlɚz", "dɑlɚ faɪv"),
        ("Call 555-1234.", "faɪv faɪv faɪv, wʌn tu θɹi fɔɹ", "dæʃ|hʌndɹɪd|θaʊzənd"),
        ("It was signed on 2024-05-03.", "meɪ θɜd", "dæʃ"),
        ("The limit is 5 km/h.", "k[ɪə]l.*ɾɚz p[ɚɜ]", "slæʃ"),
        ("Henry VIII died before World War II.", "ði eɪtθ|ðɪʲ eɪtθ", "ɹoʊmən"),
        ("The room has 3 m².", "skwɛɹ miɾɚz", "ɛm"),
        ("The main\u00adten\u00adance fee is due.", "meɪntənəns|meɪntnəns", "mɛn tɛn"),
        ("In the 1990s, in 1984.", "naɪntin naɪntiz", "hʌndɹɪd| z"),
        ("10^6 cells", "paʊɚɹ", "tɛn sɪks"),
        ("At 9:05 am", "naɪn oʊ faɪv eɪɛm", "ziəɹoʊ"),
        ("PDFs and TVs", "ɛfs ænd ti viz", "ɛf ænd"),
        ("It is 6'2\" tall.", "sɪks fit tu ɪntʃ", "sɪks tu"),
        ("CO2 in C#", "si.? oʊ tu ɪn si ʃɑɹp", "koʊ|hæʃ"),
        ("Mon, Wed and Fri", "mʌndeɪ, wɛnzdeɪ ænd fɹaɪdeɪ", "mɑn"),
        ("RFC 2119", "tu wʌn wʌn naɪn", "θaʊzənd"),
        ("17:00", "sɛvəntin", "klɑk"),
    ],
)
def test_what_is_heard(text: str, heard: str, not_heard: str) -> None:
    sounds = _phonemizer().phonemize("en-us", spoken_line(text))
    plain = re.sub("[ˈˌː]", "", " ".join("".join(sentence) for sentence in sounds))
    assert re.search(heard, plain), plain
    assert not re.search(not_heard, plain), plain
