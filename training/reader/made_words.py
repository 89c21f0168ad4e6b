"""Words that made documents are filled with, and the ways in which people ask about them."""

from __future__ import annotations

import re

__all__ = [
    "AREAS",
    "CITIES",
    "DEPARTMENTS",
    "FAQ",
    "FAULTS",
    "FIRST_NAMES",
    "LAST_NAMES",
    "LISTS",
    "MACHINES",
    "MATTERS",
    "PLANS",
    "PROPERTIES",
    "RULES",
    "SMALL_TALK",
    "SYLLABLES",
    "TASKS",
]

SYLLABLES = re.split(
    " ",
    "al an ar bel bor bri cal cor dan del dor el fen fer gal gren hal hol ister jor kel kin "
    "lan len lor mar mel mor nal nor ol or pel per quin ral ren ros sal sel sten tal ter tor "
    "ul van vel ver wen wil yar zan zer",
)
FIRST_NAMES = re.split(
    " ",
    "Ada Amir Anja Ben Carla Chen Dana Elif Erik Fatima Finn Grace Hana Ian Ines Jonas Kofi "
    "Lena Marek Mina Nora Omar Paula Priya Rafael Rosa Sam Sofia Tariq Uma Viktor Wanda Yusuf "
    "Zoe",
)
LAST_NAMES = re.split(
    " ",
    "Abbott Okafor Becker Brandt Castellano Chowdhury Dahl Demir Eriksen Fuchs Garnier Haddad "
    "Ivanov Jensen Kowalski Lindqvist Mbeki Novak Olsen Pereira Quinn Rahman Sato Tanaka Ueda "
    "Vance Weiss Xu Yilmaz Zeller Hargreaves Penrose Ashdown Whitlock",
)
CITIES = re.split(
    " ",
    "Leeds Porto Lyon Graz Turku Ghent Bergen Malaga Krakow Basel Cork Utrecht Bristol Bilbao "
    "Aarhus Leipzig Tampere Ljubljana Galway Bologna Nantes Gdansk Linz Dundee Lausanne Oulu",
)
DEPARTMENTS = re.split(
    r"\|",
    "payroll|facilities|IT support|human resources|purchasing|legal|marketing|the warehouse|"
    "customer service|quality control|health and safety|the canteen|reception|travel|"
    "training|accounts receivable|security|export sales",
)
MATTERS = {
    "payroll": ("my payslip is wrong", "salary questions"),
    "facilities": ("a broken window", "the heating"),
    "IT support": ("my laptop will not start", "a locked account"),
    "human resources": ("parental leave", "my contract"),
    "purchasing": ("ordering new chairs", "a supplier's offer"),
    "legal": ("a contract with a customer", "a letter from a lawyer"),
    "marketing": ("brochures", "the logo"),
    "the warehouse": ("a missing pallet", "a delivery"),
    "customer service": ("a complaint", "an angry customer"),
    "quality control": ("faulty parts", "a bad batch"),
    "health and safety": ("an accident", "protective gloves"),
    "the canteen": ("lunch for guests", "food allergies"),
    "reception": ("a visitor badge", "a parcel"),
    "travel": ("a train ticket", "booking a hotel"),
    "training": ("a course", "a certificate"),
    "accounts receivable": ("an unpaid invoice", "a customer who does not pay"),
    "security": ("a lost key", "an alarm"),
    "export sales": ("customs papers", "an order from abroad"),
}
MACHINES = re.split(
    r"\|",
    "water pump|label printer|air purifier|hand dryer|pallet scale|floor scrubber|"
    "dehumidifier|drill press|projector|battery charger|barcode scanner|heat pump|"
    "vacuum sealer|tile saw|security camera|weather station|garden shredder|laminator|"
    "wood router|infusion stand",
)
PROPERTIES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "Weight": (
        ("{n} kg",),
        ("How heavy is {the}?", "What does {the} weigh?", "weight of {the}"),
    ),
    "Power consumption": (
        ("{n} W", "{n}0 W"),
        ("How much electricity does {the} use?", "How many watts does {the} draw?"),
    ),
    "Noise level": (("{n} dB",), ("How loud is {the}?", "Is {the} noisy, how many decibels?")),
    "Warranty": (
        ("{s} years", "{n} months"),
        ("How long is the guarantee on {the}?", "warranty period of {the}"),
    ),
    "Dimensions (W x H x D)": (
        ("{n} x {m} x {n} cm",),
        ("How big is {the}?", "What are the measurements of {the}?"),
    ),
    "Tank volume": (
        ("{s} litres", "{s}.5 litres"),
        ("How much water fits into {the}?", "What is the capacity of the tank of {the}?"),
    ),
    "Price": (
        ("{n}9 euro", "EUR {n}9.90", "${m}5"),
        ("What does {the} cost?", "how much is {the}"),
    ),
    "Operating temperature": (
        ("-{s} to {n} °C", "{s} to {n} °C"),
        ("Can I use {the} in the cold?", "At what temperatures does {the} work?"),
    ),
    "Cable length": (("{s} m", "{s}.5 m"), ("How long is the lead of {the}?", "cable of {the}")),
    "Colour": (
        ("black", "silver", "white", "anthracite"),
        ("What colours does {the} come in?", "colour of {the}?"),
    ),
    "Battery life": (
        ("{s} hours", "{n} hours"),
        ("How long does {the} run on one charge?", "How often do I have to charge {the}?"),
    ),
    "Order number": (
        ("{m}-{n}", "{n}.{m}"),
        ("Under which number do I order {the}?", "item number of {the}"),
    ),
    "Maximum load": (
        ("{n} kg", "{m} kg"),
        ("How much can {the} carry?", "What is the most that I may put on {the}?"),
    ),
    "Protection class": (
        ("IP{n}", "IP65", "IP44"),
        ("Is {the} waterproof?", "Which IP rating has {the}?"),
    ),
    "Filter change": (
        ("every {s} weeks", "every {s} months"),
        ("How often must the filter of {the} be replaced?", "new filter for {the} when?"),
    ),
}
"""Of a property: forms of its value, and of questions about it."""

FAULTS = (
    ("Motor blocked", "Switch off, remove what blocks the motor and start again."),
    ("Temperature too high", "Let the machine cool for {n} minutes and clean the air inlet."),
    ("Door open", "Close the door until it clicks."),
    ("No water", "Open the tap and check the hose for kinks."),
    ("Sensor dirty", "Wipe the sensor with a dry cloth."),
    ("Battery low", "Charge the battery for at least {n} minutes."),
    ("Filter full", "Rinse the filter under running water; replace it after {s} rinses."),
    ("Connection lost", "Move closer to the base and press Connect for {s} seconds."),
    ("Paper jam", "Open the rear flap and pull the paper out slowly."),
    ("Memory error", "Restart; if it comes back, call the service."),
    ("Wrong voltage", "Use the power supply that came with the machine."),
    ("Belt worn", "Have the belt replaced by a dealer."),
    ("Leak detected", "Close the valve at once and empty the tray."),
    ("Calibration missing", "Hold Set for {s} seconds with nothing on the plate."),
)
PLANS = (
    ("Basic", "Team", "Enterprise"),
    ("Bronze", "Silver", "Gold"),
    ("Start", "Grow", "Scale"),
    ("Home", "Office", "Campus"),
    ("Full-time staff", "Part-time staff", "Interns"),
    ("Drivers", "Warehouse staff", "Office staff"),
    ("Junior members", "Adult members", "Family members"),
    ("Day visitors", "Overnight guests", "Groups"),
)
AREAS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "Notice": (
        (
            "Notice is {s} weeks to the end of a month.",
            "Either side may leave with {s} weeks' notice.",
        ),
        (
            "How much notice do {who} have to give?",
            "notice period {who}",
            "How do {who} get out of it?",
        ),
    ),
    "Payment": (
        ("Invoices are due after {n} days.", "Payment is taken on the {s}th of each month."),
        ("When do {who} have to pay?", "By when must the bill be paid, {who}?"),
    ),
    "Support": (
        (
            "The help line answers from {s} a.m. to {s} p.m.",
            "Requests are answered within {n} hours.",
        ),
        ("How fast does support answer for {who}?", "support hours {who}"),
    ),
    "Storage": (
        ("{n} GB are included.", "Up to {n} GB may be kept, for {s} months."),
        ("How much space do {who} get?", "disk space {who}"),
    ),
    "Parking": (
        ("There are {n} free spaces behind the building.", "Parking costs {s} euro a day."),
        ("Where can {who} leave the car?", "Do {who} pay for parking?"),
    ),
    "Holidays": (
        ("{n} days of paid leave a year.", "Leave is {n} days; {s} of them can be carried over."),
        ("How many days off do {who} have?", "annual leave {who}"),
    ),
    "Training": (
        ("Up to {n}0 euro a year for courses.", "{s} days of training a year are paid."),
        ("What is the course budget for {who}?", "Are courses paid for {who}?"),
    ),
    "Equipment": (
        (
            "A laptop and a headset are provided.",
            "Everyone gets a locker and {s} sets of clothing.",
            "A phone is lent for a deposit of {n} euro.",
        ),
        ("What gear do {who} get?", "Do {who} have to bring their own equipment?"),
    ),
    "Cancellation": (
        (
            "Cancelling is free up to {n} hours before.",
            "After the {s}th day a fee of {n} euro is charged.",
        ),
        ("What does it cost {who} to cancel?", "Can {who} back out for free?"),
    ),
    "Breaks": (
        ("A break of {n} minutes after {s} hours.", "Two breaks of {n} minutes, both paid."),
        ("How long may {who} pause?", "lunch break {who}"),
    ),
    "Discount": (
        ("{n} percent off all prices.", "From {n} pieces on, {s} percent discount."),
        ("What rebate do {who} get?", "Is anything cheaper for {who}?"),
    ),
    "Travel": (
        (
            "Second class; first class from {n}0 km on.",
            "Mileage is paid at 0.{n} euro a kilometre.",
        ),
        ("How do {who} get their travel costs back?", "train class {who}"),
    ),
}
"""Of a heading that stands below several others: what may stand below it, and questions."""

TASKS = (
    (
        "Reset the password",
        ("Open the sign-in page.", "Click Forgotten password.", "Follow the link in the mail."),
        "Passwords have at least {n} characters and expire after {m} days.",
        ("How do I get a new password?", "forgot my password what now", "I cannot log in any more"),
    ),
    (
        "Order supplies",
        (
            "Log in to the shop.",
            "Put the articles into the basket.",
            "Ask your lead to approve the order.",
        ),
        "Supplies are delivered on {s} working days a month.",
        ("How can I get more pens?", "where do I order office stuff", "how to buy supplies"),
    ),
    (
        "Book a meeting room",
        (
            "Open the calendar.",
            "Choose New event and then Add room.",
            "Pick a room with enough seats.",
        ),
        "Meeting rooms hold between {s} and {n} people.",
        ("How do I reserve a room?", "need a room for a meeting", "How are meeting rooms booked?"),
    ),
    (
        "Report an accident",
        ("Give first aid.", "Tell your supervisor.", "Fill in form A{n} within {s} days."),
        "Last year {s} accidents were reported.",
        (
            "What do I do if somebody gets hurt?",
            "someone fell, what now",
            "How are accidents reported?",
        ),
    ),
    (
        "Clean the filter",
        (
            "Switch the machine off.",
            "Pull the filter out to the left.",
            "Rinse it and let it dry for {n} hours.",
        ),
        "The filter keeps dust and hair out of the motor.",
        (
            "How do I clean the filter?",
            "filter is dirty, what do I do",
            "How is the filter washed?",
        ),
    ),
    (
        "Return goods",
        (
            "Write the order number on the parcel.",
            "Print the label from your account.",
            "Take the parcel to any post office.",
        ),
        "About {s} percent of all goods come back.",
        ("How do I send something back?", "I want to return my order", "returning an article how"),
    ),
    (
        "Add a user",
        (
            "Open Settings, People.",
            "Press Invite and type the address.",
            "Choose a role and press Send.",
        ),
        "Users can be in up to {n} groups.",
        ("How do I give a colleague access?", "invite someone", "How are new people added?"),
    ),
    (
        "Claim expenses",
        (
            "Photograph the receipts.",
            "Enter them in the expense tool.",
            "Send the claim before the {s}th of the next month.",
        ),
        "Expenses of {n} euro or more are checked twice.",
        ("How do I get money back that I spent?", "where do I put my receipts", "expenses how"),
    ),
    (
        "Change the battery",
        (
            "Open the lid at the back.",
            "Take the old battery out.",
            "Put the new one in with the plus sign up.",
        ),
        "A battery lasts about {n} months.",
        ("How do I replace the battery?", "battery is empty what do I do", "swap battery"),
    ),
    (
        "Back up the data",
        ("Stop the service.", "Copy the folder data to another disk.", "Start the service again."),
        "Backups take {s} hours on average and need {n} GB.",
        ("How do I save a copy of everything?", "How do I make a backup?", "backup how to"),
    ),
    (
        "Ask for leave",
        ("Open the time sheet.", "Mark the days and choose Leave.", "Wait for the green tick."),
        "Leave is granted by the team lead.",
        (
            "How do I request a day off?",
            "I want to go on holiday, what do I do?",
            "applying for vacation",
        ),
    ),
    (
        "Connect to the wireless network",
        ("Choose the network Staff.", "Enter your staff number.", "Accept the certificate."),
        "The wireless network reaches all {s} floors.",
        ("How do I get online with my phone?", "wifi how", "How do I join the wlan?"),
    ),
    (
        "Update the software",
        (
            "Download the newest file.",
            "Copy it onto an empty stick.",
            "Plug the stick in and press Update.",
        ),
        "Updates come out every {s} months.",
        ("How do I install the latest version?", "How is it updated?", "update firmware steps"),
    ),
    (
        "Bring a visitor",
        ("Announce the visitor one day before.", "Meet them at the desk.", "Give them a badge."),
        "Visitors are people who do not work here.",
        (
            "What must I do when a guest comes?",
            "I have a visitor tomorrow",
            "How do I register a visitor?",
        ),
    ),
    (
        "Export a report",
        ("Choose the period.", "Press Export.", "Pick CSV or PDF."),
        "Reports show the last {n} weeks.",
        ("How do I download the figures?", "get report as csv", "How can I save a report?"),
    ),
    (
        "Store chemicals",
        ("Label every bottle.", "Put acids on the lowest shelf.", "Lock the cabinet."),
        "Chemicals cause {s} of 100 accidents.",
        ("Where do chemicals go?", "How do I put acids away?", "How are chemicals to be kept?"),
    ),
)
"""A task: its steps, a sentence that only tells about it, and questions."""

LISTS = (
    (
        "Documents for the first day",
        "On your first day, bring:",
        "What do I have to bring on day one?",
        (
            "a passport or identity card",
            "your tax number",
            "bank details",
            "a photograph",
            "your signed contract",
            "proof of vaccination",
        ),
    ),
    (
        "What is in the box",
        "The box holds:",
        "What comes with it?",
        (
            "the base",
            "a power cable",
            "{s} brushes",
            "a quick guide",
            "a carrying strap",
            "spare fuses",
        ),
    ),
    (
        "Benefits",
        "All staff get:",
        "Which benefits are there?",
        (
            "a free travel card",
            "{n} euro a month for sports",
            "company pension",
            "fresh fruit",
            "a birthday off",
            "free language classes",
        ),
    ),
    (
        "Not covered",
        "The guarantee does not cover:",
        "What does the warranty exclude?",
        (
            "wear of brushes and belts",
            "damage by water",
            "use for rent",
            "repairs by others",
            "scratches",
        ),
    ),
    (
        "Emergency kit",
        "The kit by the door holds:",
        "What is in the first aid box?",
        ("plasters", "a rescue blanket", "gloves", "scissors", "a torch", "{s} bandages"),
    ),
    (
        "Supported formats",
        "These files can be opened:",
        "Which file types work?",
        ("PDF up to {n} MB", "JPEG and PNG", "plain text", "spreadsheets", "ZIP archives"),
    ),
    (
        "Duties of the key holder",
        "The key holder has to:",
        "What are the tasks of the key holder?",
        (
            "open the gate at {s} a.m.",
            "check all windows at night",
            "keep the list of keys",
            "call the guard in an emergency",
        ),
    ),
    (
        "Reasons for refusal",
        "An application is refused when:",
        "For what reasons is an application turned down?",
        (
            "a page is missing",
            "it comes after the {s}th",
            "the name does not match",
            "the fee has not been paid",
        ),
    ),
    (
        "Tools",
        "For the assembly you need:",
        "Which tools are needed to put it together?",
        ("a size {s} hex key", "a spirit level", "a rubber mallet", "two people", "a pencil"),
    ),
    (
        "Approved airlines",
        "Staff may fly with:",
        "Which airlines may we use?",
        ("Skarn Air", "Blue Meridian", "Jetline North", "Aerova", "Pelican Express"),
    ),
)
"""A list: its heading, lead-in, a question, and items."""

FAQ = (
    (
        "Can I bring my dog?",
        "Dogs are welcome on the ground floor, on a lead.",
        ("are pets allowed", "Is it okay to come with a dog?"),
    ),
    (
        "Do I need to register?",
        "No, just come by.",
        ("Must I sign up first?", "registration necessary?"),
    ),
    (
        "What happens if I lose my card?",
        "Call {m}-{n} at once, and the card is blocked within {s} minutes.",
        ("card is gone", "I can't find my card"),
    ),
    (
        "Is there food on site?",
        "The canteen on floor {s} is open from 11 to 14.",
        ("where can I eat", "Can I get lunch there?"),
    ),
    (
        "How do I pay?",
        "Cards and bank transfers are accepted, cash is not.",
        ("Can I pay in cash?", "payment methods"),
    ),
    (
        "Are children allowed?",
        "From the age of {s}, with an adult.",
        ("can I take my kids", "minimum age"),
    ),
    (
        "When will I get my money back?",
        "Refunds arrive within {n} working days.",
        ("refund how long", "How long does a refund take?"),
    ),
    (
        "Can I work from abroad?",
        "Up to {n} days a year inside the EU, after your lead agrees.",
        ("working from another country", "May I do my job from Spain for a month?"),
    ),
    (
        "Where is the lost property office?",
        "In room {n}, next to the lift.",
        ("I lost my umbrella", "where do found things go"),
    ),
    (
        "Who can use the gym?",
        "All staff with a health check that is not older than {s} years.",
        ("is the gym for everyone", "May interns use the fitness room?"),
    ),
    (
        "Do you ship abroad?",
        "We ship to {n} countries; islands take {s} days longer.",
        ("international delivery?", "Can I have it sent to Norway?"),
    ),
    (
        "Can two people share a licence?",
        "No, each licence is for one named person.",
        ("sharing a licence", "May my colleague use my account?"),
    ),
    (
        "What if the alarm goes off?",
        "Leave by the nearest stairs and wait on lawn {s}.",
        ("fire alarm what to do", "Where do we meet when there's a fire?"),
    ),
    (
        "Is the water safe to drink?",
        "Yes, from all taps but those marked in yellow.",
        ("tap water ok?", "can I drink from the tap"),
    ),
    (
        "How often is it serviced?",
        "Twice a year, in March and in October.",
        ("service interval", "When is maintenance done?"),
    ),
    (
        "Can I change my shift?",
        "Yes, if you find someone to swap and tell the lead {s} days before.",
        ("swap shifts", "May I trade my shift with a colleague?"),
    ),
    (
        "Does it work without internet?",
        "Yes, for {n} days; then it must connect once.",
        ("offline use?", "Do I need a connection all the time?"),
    ),
    (
        "Why is my order late?",
        "Orders wait when an article is missing; you get a mail with the new date.",
        ("where is my parcel", "order has not come yet"),
    ),
)
"""A question of the documents, its answer, and the same asked otherwise."""

RULES = (
    (
        "Smoking",
        "Smoking is only allowed in the yard behind building {s}.",
        "Smoking breaks are not counted as work.",
        ("Can I smoke in my office?", "where may people smoke"),
    ),
    (
        "Gifts",
        "Gifts above {n} euro must be handed to the compliance desk.",
        "Gifts for customers are ordered by marketing.",
        ("May I keep a present from a supplier?", "what about gifts worth more than {n} euro"),
    ),
    (
        "Private calls",
        "Short private calls are fine.",
        "Calls to customers are recorded.",
        ("Am I allowed to phone my wife from work?", "personal phone calls ok?"),
    ),
    (
        "Company cars",
        "Company cars may be used on weekends within {n}0 km.",
        "Company cars are washed every {s} weeks.",
        ("Can I take the company car on a Sunday trip?", "private use of company car"),
    ),
    (
        "Overtime",
        "Overtime is paid from the {s}th hour on.",
        "Overtime was {n} hours on average last year.",
        ("Do I get money for extra hours?", "is overtime paid"),
    ),
    (
        "Dress",
        "Visible logos of other firms are not worn.",
        "Work clothes are washed on Thursdays.",
        ("May I wear a shirt with a brand on it?", "dress code logos"),
    ),
    (
        "Photographs",
        "Photographs of the halls need a permit from the press office.",
        "Photographs of the party are in the shared folder.",
        ("Am I allowed to take pictures in the factory?", "who permits photos"),
    ),
    (
        "Remote work",
        "Remote work is possible on {s} days a week after the first {n} weeks.",
        "Remote work has grown since {y}.",
        ("When may I start working from home?", "home office how many days"),
    ),
    (
        "Keys",
        "Keys are handed back on the last day, or {n} euro are withheld.",
        "Keys are stored in the red cabinet.",
        ("What if I do not return my key?", "lost key cost"),
    ),
    (
        "Bicycles",
        "Bicycles are parked in the shed and never in the hall.",
        "Bicycles can be leased from the second year on.",
        ("Can I put my bike in the hallway?", "where do bikes go"),
    ),
    (
        "Visitors",
        "Visitors are accompanied at all times.",
        "Visitors numbered {n}00 in {y}.",
        ("May a guest walk around alone?", "do visitors need someone with them"),
    ),
    (
        "Sick leave",
        "A doctor's note is needed from day {s} on.",
        "Sick leave is shown in grey in the calendar.",
        ("When do I need a certificate if I'm ill?", "doctor's note from when"),
    ),
)
"""A subject: a rule, a mere mention of the subject, and questions about the rule."""

SMALL_TALK = re.split(
    r"\|",
    "How are you today?|What's your name?|Who made you?|Tell me a joke|Can you help me?|"
    "Are you there?|What do you know?|What can I ask you?|Do you like music?|"
    "Where are you from?|How old are you?|What should I ask?|Are you a real person?|"
    "Do you understand me?|I don't understand|Say that again|What is this?|"
    "How does this work?|Could you speak up?|What time is it?|What's the weather like?|"
    "Who won the match last night?|What is the capital of Peru?|"
    "How tall is Mount Everest?|Sing a song|Can you do my homework?|"
    "What do you think about that?|Are you sure?|Why did you say that?|Tell me more|"
    "And then?|What else?|Is that all?|Who wrote Hamlet?|What is seven times eight?|"
    "Translate this into French|How do I bake bread?|Who is the president?|"
    "What did I just say?|Stop",
)
"""What people say to an answering machine that no document answers."""
