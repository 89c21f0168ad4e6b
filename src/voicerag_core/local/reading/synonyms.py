"""Everyday words that say the same: a question's "bike" is a text's "bicycle"."""

from __future__ import annotations

__all__ = ["SYNONYMS"]

SYNONYMS = tuple(
    tuple(line.split())
    for line in """\
cost price fee charge fare tariff
salary wage pay paycheck remuneration
holiday vacation leave
bike bicycle
phone telephone mobile cellphone smartphone
ring call phone telephone
buy purchase
begin start commence
end finish
kid child children
doctor physician
ill sick unwell illness sickness
car vehicle
repair fix mend
broken faulty defective
delete remove erase
uninstall remove purge
upgrade update
quit exit
keep store retain
forbidden prohibited banned forbid prohibit ban
allowed permitted allow permit
reserve book
refund reimburse reimbursement
luggage baggage suitcase
wifi wlan
laptop notebook
boss manager supervisor
employee staff personnel
colleague coworker
toilet restroom lavatory
lift elevator
rubbish trash garbage waste
flat apartment
big large size
heavy weigh weight heaviest
tall high height
long length
deep depth
wide width
fast quick speed
powerful power
hot temperature
throw discard dispose
used secondhand
complain complaint
fine penalty
late delay delayed
lost missing
clothes clothing uniform
supply supplier deliver delivery
make produce manufacture
hire recruit
fire dismiss
password passcode
picture photo image photograph
answer reply respond response
change modify alter edit
copy duplicate
discount reduction reduced
descale limescale decalcify scale
frost winter freeze freezing winterise winterize
vanish disappear remove removed
attend present attendee
replace successor substitute spare
notify inform tell
wear clothes dress
meal food lunch
compile build
damaged broken
cancel cancellation revoke
dog pet animal
cat pet animal
hen chicken
crash fail failure
throw bin
guest visitor
meet assemble assembly muster
pickup collect collection fetch
client customer
maximum max limit ceiling cap
minimum min
home remote remotely
shut close
firm company business contractor
guarantee warranty
bid tender offer quote quotation
box crate
adult grown
bag backpack rucksack
mother mum
father dad
pensioner senior
wireless wifi
package parcel
racket racquet
treasurer accountant
stuff thing belonging item
accompany escort
hire rent lease
error fault bug
manual handbook guide
timetable schedule
enrol enroll register
trip journey
loud noise noisy
gift present
lawyer attorney solicitor
volunteer helper
playground play""".splitlines()
)
"""Words of a line say the same in handbooks, manuals and rules."""
