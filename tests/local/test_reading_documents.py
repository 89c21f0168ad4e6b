"""Answers over documents with structure, with the real models from file to quote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from voicerag_core.chunking import chunk_document, split_sentences
from voicerag_core.documents import read_file
from voicerag_core.local.minilm import MiniLMEmbedder
from voicerag_core.local.reading.answer_scorer import AnswerScorer
from voicerag_core.local.reading.reader import Reader
from voicerag_core.local.reading.readings import Reading
from voicerag_core.types import Passage

PUMP = """\
# Pump FAQ

## How long is the warranty of the pump?

Two years from the day of purchase.

## Who pays for shipping?

The seller does, within the country.

## Can I return the goods?

Yes, within thirty days of delivery.

## What do I do when the pump leaks?

Close the valve and call the service desk.
"""
FERRY = """\
<!DOCTYPE html><html><head><title>Page</title></head><body><h1>Ferry</h1>
<h3>When does the last ferry leave?</h3><p>At half past ten in the evening.</p>
<h3>How much luggage may I take?</h3><p>One bag of up to twenty kilos.</p>
<h3>Are dogs allowed on board?</h3><p>Only small ones, in a basket.</p></body></html>
"""
PLANS = """\
# Cloud plans

## Basic plan

The monthly price is 10 euros. Storage is limited to 5 gigabytes. Support is given by mail only.

## Pro plan

The monthly price is 40 euros. Storage is limited to 100 gigabytes.
Support is given by phone on working days.

## Team plan

The monthly price is 90 euros. Storage is limited to 900 gigabytes.
Support is given by phone at all hours.
"""
LEAVE = """\
# Leave

## Drivers

Overtime is paid in money. Leave is asked for two weeks ahead.

## Office staff

Overtime is given back as free time. Leave is asked for three days ahead.

## Apprentices

Overtime is forbidden. Leave is asked for in person.
"""
VALVES = "# Price list\n\n| Part | Supplier | Price | Weight |\n|---|---|---|---|\n" + "".join(
    f"| Valve {letter}{number} | {('Norden', 'Ostling', 'Suedhaus')[(number + row) % 3]} "
    f"| {100 + 7 * number + row} euros | {10 + number} kg |\n"
    for row, letter in enumerate("ABCDEFGH")
    for number in range(1, 16)
)
START = """\
# Starting the pump

Do this in the given order:

1. Open the inlet valve.
2. Wait for the green light.
3. Press the start button.
4. Close the bypass.
"""
LOAD = (
    "Max. load is 40 kg incl. packaging. The fee is approx. 40 euros. The desk has tel. 555 1234."
)
PRICE = "The price is 5 euros excl. VAT. Min. age is 12 years. The tower is old."

GYM = """\
# Gym handbook

## Membership

The membership costs 35 euros a month.

The fee includes:

- a locker
- two classes a week
- the sauna

## How do I cancel?

To cancel the membership, follow these steps:

1. Print the form.
2. Sign it.
3. Send it to the office.

## Trainers

| Trainer | Room | Grade |
|---|---|---|
| Ada Holm | 12 | A |
| Ben Orr | 14 | B |
| Cleo Park | 15 | A |

## Is there a car park?

There is one behind the house. It is free for members.

## Installing the app

To install the app, run this command:

    gymctl install --latest

## 4.2.0 (2024-03-01)

- The app dropped support for Android 9.
"""


KITCHEN = """\
# Staff kitchen

## The kitchen closes at 19:30

Please be out by then. The cleaners start at once.

## Only the caretaker may open the fuse box

Phone him on 4411. He comes within ten minutes.

## Guests

Guests may eat in the kitchen. Except on Fridays, when it is reserved for the board.

## What may be bought

Every team has a budget for the kitchen.

- coffee
- tea and sugar
- fruit
"""
DAEMON = """\
# Relay daemon

## Settings

A sample file looks like this:

```yaml
listen: 0.0.0.0:7000
workers: 4
log_level: info
idle_timeout: 300
tls_key: /etc/relay/key.pem
retry_limit: 5
spool_folder: /var/spool/relay
```

## Options

Run relay with the options that you need.

- `--quiet` prints errors only.
- `--dry-run` shows what would be sent.

## Upgrade

- Stop the daemon.
- Copy the spool folder.
- Start the daemon again.
"""
WORKSHOP = """\
# Workshop handbook

## Machines

| Machine | Hall | Max. load | Inspected |
|---|---|---|---|
| Lathe Orion | 2 | 900 kg | 2023-04-11 |
| Mill Vega | 3 | 1,200 kg | 2022-11-30 |
| Press Altair | 2 | 4,500 kg | 2024-01-15 |

## Opening hours

### Summer

The workshop is open from 6 am to 9 pm.

### Winter

The workshop is open from 8 am to 5 pm.

## Fire drill 2023

The fire drill took place on 4 May. 212 people left the building in six minutes.

## Fire drill 2024

The fire drill took place on 17 June. 240 people left the building in five minutes.

## How do I book a machine?

1. Open the calendar.
2. Choose a free hour.
3. Write your badge number into the note.

Bookings of more than four hours need the consent of Rita Vance.

## Other rules

Other visitors must wear a yellow vest. Eating is forbidden in the halls.

## Can I bring my children?

No. Only people over 16 may enter the halls.

## Is parking free?

It costs 2 euros a day, except for night shifts.
"""
TRAVEL = """\
# Travel policy

## Europe

Hotel costs are paid up to 140 euros a night. Trains are booked in second class.

## Overseas

Hotel costs are paid up to 210 euros a night.
Flights of more than six hours may be booked in premium economy.

## Claims

Receipts must be handed in within 30 days.
Claims without receipts are rejected, unless the amount is under 15 euros.

A travel request is sent to the team lead before the trip.
A travel claim is sent to the finance office after it.

What you need for a claim:

- the receipts
- the signed form
- the number of the request
"""


@pytest.fixture(scope="module")
def embedder() -> MiniLMEmbedder:
    return MiniLMEmbedder()


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(AnswerScorer(threads=2))


@dataclass(frozen=True)
class Desk:
    """Where files are written, searched and read."""

    embedder: MiniLMEmbedder
    reader: Reader
    folder: Path

    def read(self, name: str, text: str, question: str) -> Reading:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return self.reader.read(question, found(self.embedder, path, question))


@pytest.fixture
def desk(embedder: MiniLMEmbedder, reader: Reader, tmp_path: Path) -> Desk:
    return Desk(embedder, reader, tmp_path)


POLICY = """\
# Working from home

## Who may do so

Associates may work from home up to three days a week. Trainees may do so one day a week.

## Costs

The firm pays 25 euros a month for the line.
"""
RULES = """\
# Delays

| Arrived late by | Single ticket | Season ticket |
|---|---|---|
| 15 to 29 minutes | nothing | 3 euros |
| 30 to 59 minutes | a quarter of the fare | 5 euros |
| 60 to 119 minutes | half of the fare | 10 euros |

Flex tickets can be cancelled up to ten minutes before departure.
Saver tickets cannot be cancelled, but may be moved until midnight of the day before.
"""
SERVER = """\
Server
======

.. confval:: idle_timeout
   :default: 15m

   A session without a statement for this long is closed.

.. confval:: cache_size
   :default: 64 MB

   Memory for pages.
"""


def found(embedder: MiniLMEmbedder, path: Path, question: str) -> list[Passage]:
    """Return the passages of a file, nearest first."""
    passages = [p for document in read_file(path).documents for p in chunk_document(document)]
    rows = embedder.embed_passages([question, *(passage.text for passage in passages)])
    return [passages[i] for i in np.argsort(-(rows[1:] @ rows[0]), kind="stable")]


@pytest.mark.parametrize(
    ("file", "question", "wanted", "unwanted"),
    [
        (("faq.md", PUMP), "How long is the warranty of the pump?", ["Two years"], ["How long"]),
        (("faq.md", PUMP), "When the pump leaks, what should I do?", ["service desk"], ["thirty"]),
        (("faq.md", PUMP), "Who pays for shipping?", ["seller"], ["?"]),
        (("faq.md", PUMP), "Can I return the goods?", ["thirty days"], ["?"]),
        (("faq.html", FERRY), "How much luggage may I take?", ["twenty kilos"], ["?"]),
        (("faq.html", FERRY), "Are dogs allowed on board?", ["small ones"], ["?"]),
        (("plans.md", PLANS), "How is support given in the Pro plan?", ["phone on working"], []),
        (("plans.md", PLANS), "What is the monthly price of the Pro plan?", ["40 euros"], ["90"]),
        (("plans.md", PLANS), "How much storage does the Team plan have?", ["900"], ["5 giga"]),
        (("leave.md", LEAVE), "When do office staff have to ask for leave?", ["three days"],
         ["two weeks"]),
        (("valves.md", VALVES), "Which supplier sells valve F12?", ["Valve F12;", "Suedhaus"], []),
        (("valves.md", VALVES), "What does valve C7 cost?", ["Valve C7;", "151 euros"], []),
        (("start.md", START), "What is step 3 of starting the pump?", ["start button"], []),
        (("load.txt", LOAD), "What is the max. load?", ["Max. load is 40 kg incl. packaging."], []),
        (("price.txt", PRICE), "What is the price?", ["5 euros excl. VAT."], []),
        (("kitchen.md", KITCHEN), "When does the kitchen close?", ["19:30"], ["caretaker"]),
        (("kitchen.md", KITCHEN), "Who may open the fuse box?", ["caretaker", "4411"], ["19:30"]),
        (("kitchen.md", KITCHEN), "May guests eat in the kitchen on Fridays?", ["Except"], []),
        (("kitchen.md", KITCHEN), "What may I buy for the kitchen?",
         ["coffee", "tea and sugar", "fruit"], ["Fridays"]),
        (("daemon.md", DAEMON), "What is the idle timeout?", ["idle_timeout: 300"], ["retry"]),
        (("daemon.md", DAEMON), "How do I set the idle timeout?", ["idle_timeout: 300"], ["retry"]),
        (("daemon.md", DAEMON), "How can I make it print only errors?", ["--quiet"], ["dry"]),
        (("daemon.md", DAEMON), "How do I upgrade the daemon?",
         ["Stop the", "Copy the", "Start the"], ["options"]),
        (("gym.md", GYM), "What does the fee include?", ["a locker", "two classes", "sauna"], []),
        (("gym.md", GYM), "How do I cancel the membership?",
         ["Print the form.", "Sign it.", "Send it to the office."], []),
        (("gym.md", GYM), "Which trainers have the grade A?", ["Ada Holm", "Cleo Park"], ["Ben"]),
        (("gym.md", GYM), "How do I install the app?", ["gymctl install --latest"], []),
        (("gym.md", GYM), "When was 4.2.0 released?", ["2024-03-01"], []),
        (("gym.md", GYM), "Is there a car park?", ["behind the house"], ["?"]),
        (("workshop.md", WORKSHOP), "In which hall is the Press Altair?", ["Altair; Hall: 2"],
         ["Vega"]),
        (("workshop.md", WORKSHOP), "Which machines are in hall 2?", ["Orion", "Altair"], ["Vega"]),
        (("workshop.md", WORKSHOP), "Which machine can carry the most?", ["Altair"], ["Orion"]),
        (("workshop.md", WORKSHOP), "When does the workshop close in winter?", ["5 pm"], ["9 pm"]),
        (("workshop.md", WORKSHOP), "How many people left the building in the fire drill 2023?",
         ["212"], ["240"]),
        (("workshop.md", WORKSHOP), "Can I bring my children?", ["No. Only", "16"], ["?"]),
        (("workshop.md", WORKSHOP), "Do I have to pay for parking?", ["2 euros"], ["?"]),
        (("travel.md", TRAVEL), "How much may a hotel cost overseas?", ["210"], ["140"]),
        (("rules.md", RULES),
         "How much do I get back if I arrive 70 minutes late on a single ticket?", ["half"],
         ["quarter"]),
        (("rules.md", RULES), "Until when can I cancel a flex ticket?", ["ten minutes"],
         ["Saver"]),
        (("policy.md", POLICY), "How many days may trainees work from home?", ["one day"], []),
        (("server.rst", SERVER), "idle session timeout", ["15m"], ["64"]),
        (("travel.md", TRAVEL), "Are claims without receipts accepted?", ["unless"], []),
        (("travel.md", TRAVEL),
         "What is the difference between a travel request and a travel claim?",
         ["team lead", "finance office"], []),
    ],
)  # fmt: skip
def test_what_answers_is_quoted(
    desk: Desk, file: tuple[str, str], question: str, wanted: Sequence[str], unwanted: Sequence[str]
) -> None:
    reading = desk.read(*file, question)
    assert all(words in reading.text for words in wanted), reading
    assert not any(words in reading.text for words in unwanted), reading


@pytest.mark.parametrize(
    ("file", "question"),
    [
        (("valves.md", VALVES), "Which supplier sells valve K99?"),
        (("plans.md", PLANS), "What did the Pro plan cost in 2019?"),
        (("gym.md", GYM), "When was version 5.0 of the app released?"),
        (("gym.md", GYM), "Who won the world cup?"),
        (("workshop.md", WORKSHOP), "When was the fire drill in 2022?"),
        (("travel.md", TRAVEL), "How much may a hotel cost in Asia in 2019?"),
        (("policy.md", POLICY), "How many days may interns work from home?"),
        (("gym.md", GYM), "hello"),
        (("gym.md", GYM), "Thanks!"),
    ],
)
def test_what_the_documents_do_not_say_is_declined(
    desk: Desk, file: tuple[str, str], question: str
) -> None:
    assert not desk.read(*file, question).answered


def test_both_sides_of_a_comparison_are_quoted(desk: Desk) -> None:
    text = (
        "# Terms\n\nAn appeal is a dispute about a decision.\n\n"
        "A reinstatement is the way to get an account back.\n"
    )
    question = "What is the difference between an appeal and a reinstatement?"
    reading = desk.read("terms.md", text, question)
    assert "dispute" in reading.text
    assert "get an account back" in reading.text
    missing = "What is the difference between an appeal and a lawsuit?"
    assert not desk.read("terms.md", text, missing).answered


def test_citations_are_the_places_of_a_list(
    embedder: MiniLMEmbedder, reader: Reader, tmp_path: Path
) -> None:
    path = tmp_path / "gym.md"
    path.write_text(GYM, encoding="utf-8")
    question = "What does the fee include?"
    passages = found(embedder, path, question)
    reading = reader.read(question, passages)
    texts = {passage.id: passage.text for passage in passages}
    quoted = [texts[place.passage_id][place.start : place.end] for place in reading.citations]
    assert "\n\n".join(quoted) == reading.text


def test_an_abbreviation_ends_no_sentence() -> None:
    assert split_sentences("The fee is approx. 40 euros.") == ["The fee is approx. 40 euros."]
