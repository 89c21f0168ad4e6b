"""Is what a question asks of its subject said at all: who *won*, *directed*, *founded* it?"""

from __future__ import annotations

import re

from voicerag_core.local.reading.features import content_words
from voicerag_core.local.reading.measured import MONEY

__all__ = ["other_act", "unsaid_relation"]

_GROUPS = tuple(
    tuple(word.replace("_", " ") for word in line.split())
    for line in re.sub(
        r"\n +",
        " ",
        """\
win won wins winner winning winners victory victorious champion champions beat beats beaten
  defeat defeated defeats defeating triumph triumphed claimed clinched awarded crowned title
award awarded awards receive received given granted honoured honored won recipient laureate
buy bought acquire acquired acquires acquiring acquisition purchase purchased takeover deal
found founded founder founders establish established create created started formed set_up
direct directed director directs directing helmed filmmaker
write wrote written writer author authored writes penned composed composer
release released releases launch launched available debut debuts debuted premiere premiered
  premieres published publication out arrive arrives announced launching launches date
born birth birthday
die died dies death killed dead
marry married wife husband spouse marriage
star stars starred starring play plays played playing portray portrayed portrays role cast actor
  actress lead
ceo chief_executive chief_executive_officer chief_executives
president presidency chairman commissioner head leader chief
located location situated lies based headquartered headquarters in at near on
host hosted hosts hosting held venue
begin began begun start started starts commence commenced
end ended ends finish finished expire expires until
cost costs price priced fee charge pay paid worth rate
build built construct constructed erected completed
invent invented inventor discover discovered developed
sing sings sang singer performed recorded song
lose lost loses runner-up beaten defeated
revenue revenues sales turnover
population inhabitants people residents
lead led leads leader head headed
teach taught teaches teacher
choose chose chosen select selected elect elected
leave left leaves depart quit
become became becomes appointed named
grow grew grown growth increase increased
fall fell fallen decline declined decrease decreased
sponsor sponsors sponsored sponsoring sponsorship
approve approves approved approval adopted agreed authorised authorized ratified passed resolved
  carried accepted granted
design designs designed designer architect architects drawn planned
own owns owned owner owners belongs belong belonging property
audit audits audited auditor auditors
fund funds funded funding paid pays financed grant grants subsidised subsidized
translate translated translator translation""",
    ).splitlines()
)
"""Words that say one relation."""

_ACTS = tuple(
    frozenset(line.split())
    for line in """\
write writes wrote written author authors authored penned composed drafted
approve approves approved approval adopted authorised authorized ratified agreed
translate translates translated translator translators translation
illustrate illustrates illustrated illustrator
edit edits edited editor editors
maintain maintains maintained maintainer maintainers
design designs designed designer designers architect architects
build builds built builder builders constructed erected
own owns owned owner owners belongs belong
found founded founder founders founds established
propose proposes proposed proposer suggested moved
second seconds seconded seconder
inspect inspects inspected inspector inspection
audit audits audited auditor auditors
print prints printed printer
publish publishes published publisher
sign signs signed signatory signatories
invent invents invented inventor
review reviews reviewed reviewer
sell sells sold seller
sponsor sponsors sponsored sponsorship""".splitlines()
)
"""What several people may have done with one thing, each by another."""

_RIVALS = (*_ACTS, frozenset("choose chooses chose chosen decides decided".split()))
"""What else may have been done with it; nobody asks for it by these words."""

_WHO_DID = re.compile(
    r"^(?:who|by whom|which (?:company|firm|person|architect|department|team))\b", re.IGNORECASE
)


def other_act(question: str, text: str, context: str) -> bool:
    """Tell whether a text says who did something else with the thing than what is asked.

    "Who translated it?" is not answered by who wrote it.

    Args:
        question: In words.
        text: The sentence.
        context: What stands above and before it.
    """
    if _WHO_DID.match(question.strip()) is None:
        return False
    words = set(re.findall(r"[a-z]+", question.lower()))
    asked = [act for act in _ACTS if act & words]
    if len(asked) != 1:
        return False
    said = set(re.findall(r"[a-z]+", text.lower()))
    near = said.union(re.findall(r"[a-z]+", context.lower()))
    if asked[0] & near or any(_SAME.get(act, set()) & near for act in asked[0]):
        return False
    return any(act & said for act in _RIVALS)


_SAME: dict[str, set[str]] = {}
for _group in _GROUPS:
    for _word in _group:
        _SAME.setdefault(_word, set()).update(_group)

_PAID = frozenset(_SAME["cost"])
"""Words that a sum of money says."""

_NO_RELATION = frozenset(["in", "at", "on", "near", "out", "up", "until", "date", "available"])
"""Words that say a relation in a text and ask for none in a question."""

_OWN_DEED = re.compile(r"\b(?:i|we|you)(?: \w+ly|'ve| have| had)? \Z", re.IGNORECASE)
"""In front of a verb that tells what the asker does: "I found a report", "where do I write to?"."""

_OF_ASKER = frozenset(["found", "write"])

_WORD = re.compile(r"[^\W\d_][\w'\u2019-]*")


def unsaid_relation(question: str, said: str) -> float:
    """Return the share of a question's words of relation that a text does not say in any way.

    Args:
        question: In words.
        said: The sentence with what stands around it.

    Returns:
        0..1; 0 when the question has no such words.
    """
    asked = [
        match[0].lower()
        for number, match in enumerate(_WORD.finditer(question))
        if match[0].lower() in _SAME.keys() - _NO_RELATION
        and not (number and match[0][0].isupper())
        and not (match[0].lower() in _OF_ASKER and _OWN_DEED.search(question, 0, match.start()))
    ]
    if not asked:
        return 0.0
    text = said.lower()
    stems = set(content_words(text))
    words = set(re.findall(r"[\w-]+", text))
    missing = sum(not _is_said(word, stems, words, text) for word in dict.fromkeys(asked))
    return missing / len(dict.fromkeys(asked))


def _is_said(word: str, stems: set[str], words: set[str], text: str) -> bool:
    if stems.intersection(content_words(word)):
        return True
    if word in _PAID and MONEY.search(text):
        return True
    return any(other in words or (" " in other and other in text) for other in _SAME[word])
