"""Documents made by rule with a seed: tables, forms, lists, FAQs, alike sections; with questions.

Their prose is poor; they are for what has one right answer by form: the row among rows, the value
among the values of other products, the section among alike ones, the instruction beside the
description, and the same questions about what is not there.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence

from training.reader.documents import Asked, Source
from training.reader.made_words import (
    AREAS,
    CITIES,
    DEPARTMENTS,
    FAQ,
    FAULTS,
    FIRST_NAMES,
    LAST_NAMES,
    LISTS,
    MACHINES,
    MATTERS,
    PLANS,
    PROPERTIES,
    RULES,
    SYLLABLES,
    TASKS,
)

__all__ = ["made_sources"]

MONTHS = re.split(
    " ",
    "January February March April May June July August September October November December",
)


class Draft:
    """A document that is being made.

    Args:
        chance: Draws everything.
    """

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.lines: list[str] = []
        self.asked: list[Asked] = []
        self.firm = self.name()
        self.city = chance.choice(CITIES)

    def add(self, *lines: str) -> None:
        """Add lines of Markdown."""
        self.lines += [*lines, ""]

    def ask(self, text: str, kind: str, answers: Sequence[str], wrong: Sequence[str] = ()) -> None:
        """Add a question when its strings occur once."""
        whole = "\n".join(self.lines)
        if all(whole.count(one) == 1 for one in answers):
            tempting = [one for one in wrong if one not in answers and whole.count(one) == 1]
            self.asked.append(Asked(text, kind, tuple(answers), tuple(tempting[:4])))

    def name(self) -> str:
        """Return an invented name."""
        return "".join(self.chance.sample(SYLLABLES, self.chance.choice((2, 2, 3)))).title()

    def person(self) -> str:
        """Return a person's name."""
        return f"{self.chance.choice(FIRST_NAMES)} {self.chance.choice(LAST_NAMES)}"

    def fill(self, text: str) -> str:
        """Put numbers into a text."""
        chance = self.chance
        numbers = {
            "n": chance.randint(11, 95),
            "s": chance.randint(2, 9),
            "m": chance.randint(101, 989),
            "y": chance.randint(2012, 2025),
        }
        return text.format(**{**numbers, "the": "{the}", "who": "{who}"})

    def some(self, things: Sequence[str], least: int, most: int) -> list[str]:
        """Draw several of some things, in any order."""
        return self.chance.sample(things, min(len(things), self.chance.randint(least, most)))


def made_sources(count: int, seed: int = 0) -> Iterator[Source]:
    """Yield documents, each of a few sections in any order.

    Args:
        count: Of documents.
        seed: Of everything that is drawn.
    """
    for number in range(count):
        draft = Draft(random.Random(f"{seed} {number}"))
        draft.add(f"# {_title(draft)}")
        if draft.chance.random() < 0.5:
            draft.add(
                f"This page was last changed on {draft.chance.randint(1, 28)} "
                f"{draft.chance.choice(MONTHS)} {draft.chance.randint(2019, 2025)}."
            )
        for section in draft.chance.sample(SECTIONS, draft.chance.randint(3, 5)):
            section(draft)
        yield Source(f"made/{number}", "\n".join(draft.lines), tuple(draft.asked))


def _title(draft: Draft) -> str:
    kind = draft.chance.choice(
        (
            "Handbook",
            "User guide",
            "Staff manual",
            "Services",
            "Help",
            "Policies",
            "Facts",
            "Manual",
        )
    )
    return draft.chance.choice((f"{draft.firm} {kind}", f"{kind} of {draft.firm}", kind))


def _models(draft: Draft) -> list[str]:
    base = draft.name()
    letters = draft.chance.choice("ABCKMPRTX")
    numbers = draft.chance.sample(range(2, 98), draft.chance.randint(2, 4))
    form = draft.chance.choice(("{base} {n}0", "{letter}{n}", "{base} {letter}{n}", "{base}-{n}"))
    return [form.format(base=base, letter=letters, n=n) for n in numbers]


def specifications(draft: Draft) -> None:
    """A sheet for each of several models, as a table, fields or a list."""
    machine, models = draft.chance.choice(MACHINES), _models(draft)
    form = draft.chance.choice(("| {name} | {value} |", "- {name}: {value}", "{name}: {value}  "))
    held: dict[str, dict[str, str]] = {}
    shared = draft.some(sorted(PROPERTIES), 5, 8)
    missing = draft.chance.choice(shared)
    for number, model in enumerate(models):
        names = draft.chance.sample(shared, len(shared))
        names = [name for name in names if number or name != missing]
        held[model] = {name: draft.fill(draft.chance.choice(PROPERTIES[name][0])) for name in names}
    draft.add(f"## {machine.capitalize()}s")
    for model, values in held.items():
        draft.add(f"### {model}")
        lines = [form.format(name=name, value=value) for name, value in values.items()]
        head = ["| Property | Value |", "|---|---|"] if form.startswith("|") else []
        draft.add(*head, *lines)
    for model, values in held.items():
        for name in draft.some(sorted(values), 2, 3):
            own = form.format(name=name, value=values[name]).strip()
            wrong = [
                form.format(name=name, value=other[name]).strip()
                for key, other in held.items()
                if key != model and name in other
            ]
            wrong += [form.format(name=key, value=value).strip() for key, value in values.items()]
            draft.chance.shuffle(wrong)
            draft.ask(_of(draft, name, f"the {model}"), "table", [own], wrong)
    tempting = [
        form.format(name=missing, value=values[missing]).strip()
        for values in held.values()
        if missing in values
    ]
    draft.ask(_of(draft, missing, f"the {models[0]}"), "absent", [], tempting)
    unknown = f"the {_models(draft)[0]}"
    name = draft.chance.choice(sorted(held[models[1]]))
    draft.ask(_of(draft, name, unknown), "absent", [], tempting)


def _of(draft: Draft, name: str, thing: str) -> str:
    text = draft.chance.choice((*PROPERTIES[name][1], f"{name.lower()} of {{the}}"))
    return text.format(the=thing)


def comparison(draft: Draft) -> None:
    """One table with a row for each model."""
    machine, models = draft.chance.choice(MACHINES), _models(draft) + _models(draft)
    models = list(dict.fromkeys(models))
    names = draft.some(sorted(PROPERTIES), 2, 4)
    rows = {}
    for model in models:
        values = [draft.fill(draft.chance.choice(PROPERTIES[name][0])) for name in names]
        rows[model] = f"| {model} | {' | '.join(values)} |"
    draft.add(f"## {machine.capitalize()}s compared")
    draft.add(f"| Model | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|", *rows.values())
    for model in draft.some(models, 3, 5):
        others = [row for key, row in rows.items() if key != model]
        draft.chance.shuffle(others)
        name = draft.chance.choice(names)
        draft.ask(_of(draft, name, f"the {model}"), "table", [rows[model]], others)
    others = list(rows.values())
    draft.chance.shuffle(others)
    draft.ask(_of(draft, names[0], f"the {_models(draft)[0]}"), "absent", [], others)
    absent = [name for name in PROPERTIES if name not in names]
    draft.ask(
        _of(draft, draft.chance.choice(absent), f"the {models[0]}"), "absent", [], [rows[models[0]]]
    )


def contacts(draft: Draft) -> None:
    """A list of people and what they see to, as a table or a list."""
    areas = draft.some(DEPARTMENTS, 4, 7)
    people = {area: draft.person() for area in areas}
    phones = {area: str(draft.chance.randint(100, 9999)) for area in areas}
    mails = {area: f"{area.split()[-1].lower()}@{draft.firm.lower()}.example" for area in areas}
    lines = {}
    table = draft.chance.random() < 0.6
    for area in areas:
        parts = (area.capitalize(), people[area], phones[area], mails[area])
        lines[area] = (
            f"| {' | '.join(parts)} |" if table else "- {}: {}, ext. {}, {}".format(*parts)
        )
    draft.add(f"## {draft.chance.choice(('Contacts', 'Who is who', 'Phone list'))}")
    head = ["| Department | Person | Extension | Mail |", "|---|---|---|---|"] if table else []
    draft.add(*head, *lines.values())
    for area in draft.some(areas, 3, 5):
        matter = draft.chance.choice(MATTERS[area])
        text = draft.chance.choice(
            (
                f"Who do I call about {matter}?",
                f"phone number of {people[area]}",
                f"What is the extension of {area}?",
                f"Who is in charge of {area}?",
                f"e-mail address for {area}",
                f"I have a question about {matter}, who can help?",
                f"{matter}, who do I ask",
            )
        )
        wrong = [line for key, line in lines.items() if key != area]
        draft.chance.shuffle(wrong)
        draft.ask(text, "who", [_bare(lines[area])], [_bare(line) for line in wrong])
    other = [area for area in DEPARTMENTS if area not in areas]
    wrong = [_bare(line) for line in draft.chance.sample(list(lines.values()), 3)]
    draft.ask(f"What is the extension of {draft.chance.choice(other)}?", "absent", [], wrong)
    draft.ask(f"Where does {people[areas[0]]} live?", "absent", [], [_bare(lines[areas[0]])])
    draft.ask(f"phone number of {draft.person()}", "absent", [], wrong)


def faults(draft: Draft) -> None:
    """A table of error codes."""
    letter = draft.chance.choice("EFHP")
    chosen = draft.chance.sample(FAULTS, draft.chance.randint(4, 8))
    numbers = sorted(draft.chance.sample(range(1, 40), len(chosen)))
    codes = [f"{letter}{number:02}" for number in numbers]
    remedies = [draft.fill(remedy) for _, remedy in chosen]
    rows = [
        f"| {code} | {what} | {remedy} |"
        for code, (what, _), remedy in zip(codes, chosen, remedies, strict=True)
    ]
    draft.add(f"## {draft.chance.choice(('Faults', 'Error codes', 'Troubleshooting'))}")
    draft.add(
        f"| {draft.chance.choice(('Code', 'Display'))} | Meaning | What to do |",
        "|---|---|---|",
        *rows,
    )
    for i in draft.chance.sample(range(len(rows)), 3):
        wrong = rows[max(0, i - 2) : i] + rows[i + 1 : i + 3]
        text = draft.chance.choice(
            (
                f"What does {codes[i]} mean?",
                f"The display shows {codes[i]}, what do I do?",
                f"error {codes[i]}",
                f"Which code stands for {chosen[i][0].lower()}?",
                f"It says {codes[i]}",
                f"how do I get rid of {codes[i]}",
            )
        )
        draft.ask(text, "table", [rows[i]], wrong)
    unknown = next(n for n in range(1, 60) if n not in numbers and draft.chance.random() < 0.3)
    draft.ask(f"What does {letter}{unknown:02} mean?", "absent", [], draft.chance.sample(rows, 3))


def alike_sections(draft: Draft) -> None:
    """The same headings below each of several: plans, groups of people, offices."""
    people = draft.chance.random() < 0.6
    tops = list(draft.chance.choice(PLANS)) if people else draft.chance.sample(CITIES, 3)
    areas = draft.some(sorted(AREAS), 3, 5)
    told: dict[tuple[str, str], str] = {}
    draft.add(f"## {draft.chance.choice(('Overview', 'Terms', 'Rules', 'Conditions', draft.firm))}")
    for number, top in enumerate(tops):
        draft.add(f"### {top}")
        for area in areas:
            if number == len(tops) - 1 and area == areas[-1]:
                continue
            told[top, area] = draft.fill(draft.chance.choice(AREAS[area][0]))
            draft.add(f"#### {area}")
            draft.add(told[top, area])
    for (top, area), text in draft.chance.sample(sorted(told.items()), min(6, len(told))):
        wrong = [other for (_, key), other in told.items() if key == area and other != text]
        wrong += [other for (key, _), other in told.items() if key == top and other != text]
        draft.ask(_about(draft, area, top, people), "fact", [text], wrong)
    wrong = [other for (_, key), other in told.items() if key == areas[-1]]
    draft.ask(_about(draft, areas[-1], tops[-1], people), "absent", [], wrong)
    stranger = draft.chance.choice([city for city in CITIES if city not in tops])
    draft.ask(
        _about(draft, areas[0], stranger, people=False),
        "absent",
        [],
        [other for (_, key), other in told.items() if key == areas[0]],
    )


def _about(draft: Draft, area: str, top: str, people: bool) -> str:
    text = draft.chance.choice(AREAS[area][1])
    whole = len(top.split()) > 1 or not top.istitle()
    if people:
        who = top.lower() if whole else f"customers with the {top} plan"
        return text.format(who=draft.chance.choice((who, top if whole else f"{top} customers")))
    return text.format(
        who=draft.chance.choice((f"people in {top}", f"the {top} office", f"staff in {top}"))
    )


def tasks(draft: Draft) -> None:
    """Instructions beside descriptions that share more words with the question."""
    draft.add(f"## {draft.chance.choice(('How to', 'Everyday tasks', 'First steps', 'Guides'))}")
    made = []
    for title, steps, mention, texts in draft.chance.sample(TASKS, draft.chance.randint(3, 5)):
        told = draft.fill(mention)
        filled = [draft.fill(step) for step in steps]
        lead = draft.chance.choice(
            ("", f"To {title[0].lower() + title[1:]}:", "Do the following:", "Follow these steps:")
        )
        form = draft.chance.choice(("list", "items", "prose"))
        draft.add(f"### {title}")
        before = draft.chance.random() < 0.7
        if before:
            draft.add(told)
        if form == "prose":
            draft.add(" ".join(filled))
            answers = filled
        else:
            if lead:
                draft.add(lead)
            draft.add(
                *(
                    f"{n}. {step}" if form == "list" else f"- {step}"
                    for n, step in enumerate(filled, 1)
                )
            )
            answers = [lead, *filled] if lead.startswith("To") else filled
        if not before:
            draft.add(told)
        made.append((title, answers, told, texts))
    for title, answers, told, texts in made:
        title_asked = f"How do I {title[0].lower() + title[1:]}?"
        wrong = [told, *(one[1][-1] for one in made if one[0] != title)]
        draft.ask(draft.chance.choice((*texts, title_asked)), "howto", answers, wrong)
    rest = [one for one in TASKS if one[0] not in {title for title, *_ in made}]
    draft.ask(draft.chance.choice(draft.chance.choice(rest)[3]), "absent", [], [made[0][2]])


def lists(draft: Draft) -> None:
    """Lists with lead-ins."""
    for title, lead, text, items in draft.chance.sample(LISTS, draft.chance.randint(1, 2)):
        draft.add(f"## {title}")
        own = [draft.fill(item) for item in draft.some(items, 3, 6)]
        draft.add(lead)
        draft.add(*(f"- {item}" for item in own))
        draft.ask(
            draft.chance.choice((text, title.lower(), text.lower().rstrip("?"))),
            "list",
            [lead, *own],
        )


def questions(draft: Draft) -> None:
    """An FAQ: the question of the documents never answers, what stands below it does."""
    draft.add(
        f"## {draft.chance.choice(('FAQ', 'Frequently asked questions', 'Questions and answers'))}"
    )
    bold = draft.chance.random() < 0.5
    chosen = draft.chance.sample(FAQ, draft.chance.randint(4, 7))
    answers = [draft.fill(answer) for _, answer, _ in chosen]
    for (title, _, _), answer in zip(chosen, answers, strict=True):
        draft.add(f"**{title}**" if bold else f"### {title}")
        draft.add(answer)
    for i in draft.chance.sample(range(len(chosen)), 3):
        title, _, texts = chosen[i]
        wrong = [title, *draft.chance.sample(answers[:i] + answers[i + 1 :], 2)]
        draft.ask(draft.chance.choice((title, *texts, *texts)), "yesno", [answers[i]], wrong)
    rest = [one for one in FAQ if one not in chosen]
    for one in draft.chance.sample(rest, 2):
        draft.ask(
            draft.chance.choice((one[0], *one[2])), "absent", [], draft.chance.sample(answers, 2)
        )


def rules(draft: Draft) -> None:
    """Rules in running text, each beside a mere mention of its subject."""
    draft.add(
        f"## {draft.chance.choice(('House rules', 'Conduct', 'What applies to all', 'Policy'))}"
    )
    chosen = draft.chance.sample(RULES, draft.chance.randint(3, 5))
    filled = [(draft.fill(rule), draft.fill(mention)) for _, rule, mention, _ in chosen]
    sentences = [one for pair in filled for one in pair]
    if draft.chance.random() < 0.5:
        draft.chance.shuffle(sentences)
        draft.add(" ".join(sentences))
    else:
        for (title, *_), pair in zip(chosen, filled, strict=True):
            draft.add(f"### {title}")
            draft.add(" ".join(draft.chance.sample(pair, 2)))
    for (*_, texts), (rule, mention) in zip(chosen, filled, strict=True):
        draft.ask(draft.fill(draft.chance.choice(texts)), "fact", [rule], [mention])
    rest = [one for one in RULES if one not in chosen]
    draft.ask(draft.fill(draft.chance.choice(rest[0][3])), "absent", [], [filled[0][0]])


def releases(draft: Draft) -> None:
    """A change log with versions and days in its headings."""
    major, day = draft.chance.randint(1, 7), draft.chance.randint(1, 28)
    changes = draft.chance.sample(
        (
            "Support for dark mode.",
            "Faster start.",
            "A new export to CSV.",
            "Fixed a crash when a file is empty.",
            "Removed the old importer.",
            "Search finds parts of words.",
            "Dropped support for version 9 of the viewer.",
            "The timeout can be set.",
            "Undo works across pages.",
            "Added keyboard shortcuts.",
            "Login with a code by mail.",
            "The printer list is sorted by name.",
        ),
        8,
    )
    draft.add("## Release notes")
    made = []
    for number in range(4):
        version = f"{major}.{9 - 2 * number}.{draft.chance.randint(0, 9)}"
        when = f"{draft.chance.randint(2018, 2025)}-{draft.chance.randint(1, 12):02}-{day:02}"
        title, own = f"{version} ({when})", changes[2 * number : 2 * number + 2]
        draft.add(f"### {title}")
        draft.add(*(f"- {change}" for change in own))
        made.append((version, title, own))
    for version, title, own in made[:2]:
        wrong = [other for _, other, _ in made if other != title]
        draft.ask(f"When was {version} released?", "when", [title], wrong)
        draft.ask(f"What is new in {version}?", "list", own, made[3][2])
    draft.ask(f"What changed in {major + 1}.0?", "absent", [], made[0][2])


def minutes(draft: Draft) -> None:
    """Who does what by when."""
    people = list(dict.fromkeys(draft.person().split()[0] for _ in range(8)))[:4]
    jobs = draft.chance.sample(
        (
            "order new chairs",
            "write to the landlord",
            "invite the auditors",
            "test the alarm",
            "draft the budget",
            "call the printer",
            "find a room for June",
            "update the price list",
            "repair the gate",
        ),
        len(people),
    )
    days = [f"{draft.chance.randint(1, 28)} {draft.chance.choice(MONTHS)}" for _ in people]
    draft.add(f"## Meeting of {days[0]}")
    draft.add(f"Present: {', '.join(people)}")
    form = draft.chance.choice(("- {who} will {job} by {day}.", "| {who} | {job} | {day} |"))
    lines = [
        form.format(who=who, job=job, day=day)
        for who, job, day in zip(people, jobs, days, strict=True)
    ]
    head = ["| Who | What | Until |", "|---|---|---|"] if form.startswith("|") else ["Actions:", ""]
    draft.add(*head, *lines)
    for i in draft.chance.sample(range(len(people)), 2):
        wrong = [_bare(line) for line in lines[:i] + lines[i + 1 :]]
        text = draft.chance.choice(
            (
                f"Who has to {jobs[i]}?",
                f"What is {people[i]} going to do?",
                f"By when do we {jobs[i]}?",
                f"{people[i]}'s action",
            )
        )
        draft.ask(text, "who", [_bare(lines[i])], wrong)
    draft.ask("Who chaired the meeting?", "absent", [], [f"Present: {', '.join(people)}"])


def _bare(line: str) -> str:
    return line.removeprefix("- ")


SECTIONS: tuple[Callable[[Draft], None], ...] = (
    specifications,
    comparison,
    contacts,
    faults,
    alike_sections,
    tasks,
    lists,
    questions,
    rules,
    releases,
    minutes,
    alike_sections,
    tasks,
)
