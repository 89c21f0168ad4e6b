"""Figures, dates, money, units and signs as German, French, Spanish and Chinese voices say them."""

from __future__ import annotations

import importlib.util
import re
import unicodedata
from functools import cache
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voicerag_core.local.speaking.segments import spoken_line
from voicerag_core.local.speaking.speech_stream import SpeechStream
from voicerag_core.local.speaking.spoken_form import spoken_form

if TYPE_CHECKING:
    from piper.phonemize_espeak import EspeakPhonemizer

LANGUAGES = ("de", "es", "fr", "zh")


@cache
def _phonemizer() -> EspeakPhonemizer:
    from piper.phonemize_espeak import EspeakPhonemizer

    return EspeakPhonemizer()


SAID = {
    "de": """
Das kostet 12,50 €. = Das kostet 12 Euro 50.
Es kostet 1 € oder 21 €. = Es kostet ein Euro oder 21 Euro.
Der Preis ist 1.234,56 EUR. = Der Preis ist 1.234 Euro 56.
5 Mio. € und 1,5 Mrd. Euro = 5 Millionen Euro und 1,5 Milliarden Euro
$5 oder 30 USD = 5 Dollar oder 30 US-Dollar
0,99 € = 99 Cent
20,– € = 20 Euro
5–7 € am Tag = 5 bis 7 Euro am Tag
Am 3. Mai 2024 wurde er eröffnet. = Am dritten Mai 2024 wurde er eröffnet.
Der 3. Mai 1984 war ein Freitag. = Der dritte Mai neunzehnhundert 84 war ein Freitag.
am 03.05.2024 = am dritten Mai 2024
vom 3. bis 5. Mai = vom dritten bis fünften Mai
3.–5. Mai = dritter bis fünfter Mai
2024-05-03 = dritter Mai 2024
1.1.99 = erster Januar neunzehnhundert 99
Freitag, 3. Mai = Freitag, dritter Mai
am Freitag, dem 21. Juni = am Freitag, dem einundzwanzigsten Juni
In der 3. Etage = In der dritten Etage
das 19. Jahrhundert = das neunzehnte Jahrhundert
im 20. Jahrhundert = im zwanzigsten Jahrhundert
zum 100. Geburtstag = zum einhundertsten Geburtstag
um 14:30 Uhr = um 14 Uhr 30
von 8:00 bis 18:30 Uhr = von 8 Uhr bis 18 Uhr 30
8.30–12.00 Uhr = 8 Uhr 30 bis 12 Uhr
8–18 Uhr = 8 bis 18 Uhr
um 1:00 = um ein Uhr
Mo.–Fr.: 8–18 Uhr = Montag bis Freitag: 8 bis 18 Uhr
Mo-Fr 9:05 = Montag bis Freitag 9 Uhr 5
Die Grenze ist 5 km/h. = Die Grenze ist 5 Kilometer pro Stunde.
3 m² und 1 m³ = 3 Quadratmeter und ein Kubikmeter
20 °C, -5 °C = 20 Grad Celsius, minus 5 Grad Celsius
1 h oder 2 h = eine Stunde oder 2 Stunden
8 l/100 km = 8 Liter pro 100 Kilometer
100 Mbit/s, 16 GB = 100 Megabit pro Sekunde, 16 Gigabyte
5 % bis 7,5% = 5 Prozent bis 7,5 Prozent
1 kWh, 3 kWh = eine Kilowattstunde, 3 Kilowattstunden
10 kg/m³ = 10 Kilogramm pro Kubikmeter
1990–1995 = neunzehnhundert 90 bis neunzehnhundert 95
Im Jahr 1984 und 1905 = Im Jahr neunzehnhundert 84 und neunzehnhundert 5
die 1990er Jahre = die neunzehnhundert 90er Jahre
1.234 Meter = 1.234 Meter
Er wurde 1889 erbaut. = Er wurde achtzehnhundert 89 erbaut.
1200 Meter hoch = 1200 Meter hoch
im Jahr 2024 = im Jahr 2024
Ludwig XIV. regierte. = Ludwig der Vierzehnte regierte.
Karls V. Reich = Karls des Fünften Reich
der II. Weltkrieg = der zweite Weltkrieg
Kapitel IV = Kapitel 4
Papst Johannes Paul II. = Papst Johannes Paul der Zweite.
Tel. 030/1234567 = Telefon 0 3 0, 1 2 3 4 5 6 7
+49 30 1234567 = plus 4 9, 3 0, 1 2 3 4 5 6 7
Nr. 5, § 7, z. B. hier = Nummer 5, Paragraf 7, zum Beispiel hier
Version 2.3 und v2.32.5 = Version 2 Punkt 3 und Version 2 Punkt 32 Punkt 5
192.168.0.1 = 192 Punkt 168 Punkt 0 Punkt 1
1/2 Liter, 2½ Tassen, 3/4 = ein halb Liter, 2 einhalb Tassen, drei Viertel
10^6, x² = 10 hoch 6, x hoch 2
Das Spiel endete 3:1. = Das Spiel endete 3 zu 1.
10×20 cm = 10 mal 20 Zentimeter
≥ 5, ~20, < 3 = mindestens 5, ungefähr 20, weniger als 3
A & B = A und B
Dr. Müller und Prof. Dr. Jones = Doktor Müller und Professor Doktor Jones
Die **Garantie** gilt. = Die Garantie gilt.
IBAN DE89 3704 0044 0532 0130 00 = IBAN D E 8 9, 3 7 0 4, 0 0 4 4, 0 5 3 2, 0 1 3 0, 0 0
Er ist 5-7 Tage da. = Er ist 5 bis 7 Tage da.
1.000.000 Menschen = 1.000.000 Menschen
COVID-19, F-16 = COVID-19, F-16
Es waren 5. Dann ging er. = Es waren 5. Dann ging er.
1 000 000 = 1000000
""",
    "es": """
Cuesta 12,50 €. = Cuesta 12 euros con 50.
1 € o 21 € = un euro o veintiún euros
31 € o 1.234,56 € = 30 y un euros o 1.234 euros con 56
5 M€ y 1,5 millones de euros = 5 millones de euros y 1,5 millones de euros
$5 o 30 USD = 5 dólares o 30 dólares estadounidenses
0,99 € = 99 céntimos
5–7 € = 5 a 7 euros
3 de mayo de 2024 = 3 de mayo de 2024
03/05/2024 = 3 de mayo de 2024
del 3 al 5 de mayo = del 3 al 5 de mayo
3-5 de mayo = 3 a 5 de mayo
2024-05-03 = 3 de mayo de 2024
el 1.º de mayo = el primero de mayo
a las 14:30 = a las 14 y 30
9:00 a. m. y 5:30 p. m. = 9 de la mañana y 5 y 30 de la tarde.
a la 1:15 = a la una y 15
14:30 h = 14 y 30
8:00–18:00 = 8 horas a 18 horas
lun.–vie. 9:00 = lunes a viernes 9 horas
5 km/h = 5 kilómetros por hora
3 m² = 3 metros cuadrados
20 °C, -5 °C = 20 grados Celsius, menos 5 grados Celsius
1 h o 21 h = una hora o veintiuna horas
3 kWh = 3 kilovatios hora
5 % = 5 por ciento
1 t = una tonelada
siglo XIX = siglo 19
Felipe II = Felipe segundo
Alfonso XIII = Alfonso 13
Isabel II = Isabel segunda
Luis XIV = Luis 14
la II Guerra Mundial = la Segunda Guerra Mundial
la I Guerra Mundial = la Primera Guerra Mundial
3.er piso = tercer piso
2.ª edición = segunda edición
21.º = vigésimo primero
capítulo IV = capítulo 4
Juan Pablo II = Juan Pablo segundo
s. XV = siglo 15
912 345 678 = 9 1 2 3 4 5 6 7 8
+34 912 345 678 = más 3 4, 9 1 2 3 4 5 6 7 8
llame al 112 = llame al 1 1 2
n.º 5, p. ej. aquí = número 5, por ejemplo aquí
versión 2.3 = versión 2 punto 3
1/2 litro = medio litro
2½ = 2 y medio
10^6 = 10 elevado a 6
3:1 = 3 a 1
10×20 cm = 10 por 20 centímetros
Sr. López y Dra. Ruiz = señor López y doctora Ruiz
los años 90 = los años 90
1936-1939 = 1936 a 1939
1 000 000 = 1000000
5-7 días = 5 a 7 días
¿Cuánto es? = ¿Cuánto es?
EE. UU. = Estados Unidos
""",
    "fr": """
Ça coûte 12,50 €. = Ça coûte 12 euros 50.
1 € ou 21 € = un euro ou 21 euros
1 234,56 € = 1234 euros 56
5 M€ et 1,5 million d'euros = 5 millions d'euros et 1,5 million d'euros
5 $ ou 30 USD = 5 dollars ou 30 dollars américains
0,99 € = 99 centimes
5–7 € = 5 à 7 euros
1,5 Md€ = 1,5 milliard d'euros
Le 1er mai 2024 = Le premier mai 2024
le 3 mai = le 3 mai
03/05/2024 = 3 mai 2024
du 3 au 5 mai = du 3 au 5 mai
3-5 mai = 3 à 5 mai
2024-05-03 = 3 mai 2024
le 1/1/1999 = le premier janvier 1999
1er janvier = premier janvier
à 14h30 = à 14 heures 30
8 h – 18 h = 8 heures à 18 heures
8h-18h30 = 8 heures à 18 heures 30
14:30 = 14 heures 30
à 1h = à une heure
21 h = 20 et une heures
lun.–ven. 9h = lundi à vendredi 9 heures
1:05 = une heure 5
5 km/h = 5 kilomètres par heure
3 m² = 3 mètres carrés
20 °C, –5 °C = 20 degrés Celsius, moins 5 degrés Celsius
1,5 l = 1,5 litre
3 kWh = 3 kilowatts-heures
16 Go = 16 gigaoctets
5 % = 5 pour cent
2 t = 2 tonnes
au XIXe siècle = au dix-neuvième siècle
Louis XIV = Louis 14
François Ier = François premier
Napoléon III = Napoléon 3
le 21e = le vingt et unième
2e étage = deuxième étage
1re fois = première fois
la 3ème = la troisième
80e = quatre-vingtième
chapitre IV = chapitre 4
5e République = cinquième République
Henri IV = Henri 4
01 23 45 67 89 = 0 1, 23, 45, 67, 89
+33 1 23 45 67 89 = plus 33, 1, 23, 45, 67, 89
n° 5, p. ex. ici = numéro 5, par exemple ici
version 2.3 = version 2 point 3
1/2 litre = un demi litre
2½ = 2 et demi
10^6 = 10 puissance 6
3:1 = 3 à 1
10×20 cm = 10 fois 20 centimètres
M. Dupont et Mme Curie = monsieur Dupont et madame Curie
les années 1990 = les années 1990
1914-1918 = 1914 à 1918
52 av. J.-C. = 52 avant Jésus-Christ
1 000 000 = 1000000
« Oui » = "Oui"
""",
    "zh": """
塔高330米。 = 塔高三百三十米。
2024-05-03 = 二零二四年五月三日
2024年5月3日 = 二零二四年五月三日
1889年建成 = 一八八九年建成
1990-1995年 = 一九九零到一九九五年
90年代 = 九十年代
14:30 = 十四点三十分
8:05到18:00 = 八点零五分到十八点
5% = 百分之五
-5% = 负百分之五
5%-7% = 百分之五到百分之七
5-7天 = 五到七天
3.14 = 三点一四
¥500 = 五百元
$5万 = 五万美元
12.50元 = 十二点五元
1,234,567人 = 一百二十三万四千五百六十七人
10250 = 一万零二百五十
100000000 = 一亿
10005 = 一万零五
2个人 = 两个人
12人 = 十二人
第2章 = 第二章
2月 = 二月
5 km/h = 五公里每小时
3 m² = 三平方米
20°C = 二十摄氏度
-5°C = 负五摄氏度
1/2 = 二分之一
2 1/2 = 二又二分之一
比分3:1 = 比分三比一
v2.3 = 版本二点三
192.168.0.1 = 一九二点一六八点零点一
电话138 1234 5678 = 电话幺三八,幺二三四,五六七八
拨打110 = 拨打幺幺零
010-12345678 = 零幺零,幺二三四五六七八
编号4711 = 编号四七一一
10^6 = 十的六次方
10×20厘米 = 十乘二十厘米
€12.50 = 十二点五欧元
1亿人 = 一亿人
2小时 = 两小时
200人 = 二百人
2000年 = 二零零零年
约3,000公里 = 约三千公里
GB/T 2260 = GB/T 二二六零
Wi-Fi 6 = Wi-Fi 六
COVID-19 = COVID-十九
2024/5/3 = 二零二四年五月三日
15 = 十五
1015 = 一千零一十五
110000 = 十一万
20010000 = 二千零一万
""",
}
CASES = [
    (language, *(part.strip() for part in line.split(" = ")))
    for language, lines in SAID.items()
    for line in lines.strip().splitlines()
]


@pytest.mark.parametrize(("language", "text", "said"), CASES, ids=[text for _, text, _ in CASES])
def test_what_is_said(language: str, text: str, said: str) -> None:
    assert spoken_form(text, language) == said
    assert spoken_form(said, language) == said, "what is spoken already changes once more"


def test_other_languages_keep_their_figures() -> None:
    assert spoken_form("**Costa** 12,50 €.", "it") == "Costa 12,50 €."


PIECES = st.sampled_from(
    """
    $5 12,50€ 5-7 5 – 7 1990er 1984 2024-05-03 3. Mai 1er mai 3 de mayo 14h30 14:30 Uhr a. m. p. ej.
    +49 30 123456 km/h m² 10^6 x³ ½ 1/2 XIV. XIXe II Guerra v2.3 192.168.0.1 z. B. n° § / % °C **
    [a](b) 2024年 5月3日 5% ¥500 2个 第 ~ ≥ . , -
    """.split()
)
TEXTS = st.lists(PIECES | st.text("1eX.,-/:€ 年", max_size=4), max_size=8).map(" ".join)


@pytest.mark.parametrize("language", LANGUAGES)
@settings(max_examples=50)
@given(TEXTS | st.text(max_size=60))
def test_no_text_is_too_strange(language: str, text: str) -> None:
    said = spoken_form(text, language)
    assert "\n" not in said
    assert not re.search(r"\*\*|`", said), said


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_long_text_is_said_in_no_time(language: str) -> None:
    # A pattern that tries everything twice would not end here.
    for text in (
        "1-" * 5_000,
        "1." * 5_000,
        "1 " * 5_000,
        "€1," * 5_000,
        "X" * 9_000,
        "1/" * 5_000,
    ):
        spoken_form(text, language)


@pytest.mark.parametrize(
    ("language", "text", "lines"),
    [
        (
            "de",
            "Am 3. Mai kam sie. Er zahlte 5 €.",
            ["Am dritten Mai kam sie.", "Er zahlte 5 Euro."],
        ),
        ("fr", "Il est né le 1er mai. Il a 5 €.", ["Il est né le premier mai.", "Il a 5 euros."]),
        ("es", "Pagó 21 € el Sr. Ruiz.", ["Pagó veintiún euros el señor Ruiz."]),
        ("zh", "塔高330米。建于1889年。", ["塔高三百三十米。", "建于一八八九年。"]),
    ],
)
def test_a_short_answer_is_cut_by_the_rules_of_its_language(
    language: str, text: str, lines: list[str]
) -> None:
    stream = SpeechStream(language=language)
    pieces = [*(piece for letter in text for piece in stream.feed(letter)), *stream.rest()]
    assert [spoken_line(piece, language) for piece in pieces] == lines


@pytest.mark.skipif(importlib.util.find_spec("piper") is None, reason="piper-tts is not installed")
@pytest.mark.parametrize(
    ("voice", "text", "heard", "not_heard"),
    [
        ("de", "Am 3. Mai 1984 um 14:30 Uhr", "drɪtən maɪ nɔøntsenhʊndɜt f.*taxtsɪç", "draɪ m"),
        ("de", "Es kostet 12,50 €.", "tsvœlf ɔøro fʏnftsɪç", "kɔma"),
        ("de", "Ludwig XIV. fuhr 5 km/h.", "fiɾtsentə fuɾ fʏnf k.*ʃtʊndə", "mɪʃ|kɑɛm"),
        ("fr", "au XIXe siècle", "dinøvjɛm", "iks|ə sj"),
        ("fr", "le 21e, à 14h30", "njɛm", "aʃ"),
        ("fr", "3 m² pour 12,50 €", "mɛtʁ kaʁe.*øʁo sɛ̃kɑ̃t", "ɛm|viʁɡyl"),
        ("es", "Felipe II pagó 21 €.", "seɣundo .*eɪntjun eʊɾos", "uno|ðos"),
        ("es", "el 03/05/2024 a la 1:15", "maʝo", "baɾa"),
        ("cmn", "塔高3.5米。", "tiɛ|tjɛ", r"\("),
    ],
)
def test_what_is_heard(voice: str, text: str, heard: str, not_heard: str) -> None:
    language = "zh" if voice == "cmn" else voice
    sounds = _phonemizer().phonemize(voice, spoken_form(text, language))
    joined = unicodedata.normalize("NFC", " ".join("".join(sentence) for sentence in sounds))
    plain = re.sub("[ˈˌː]", "", joined)
    assert re.search(heard, plain), plain
    assert not re.search(not_heard, plain), plain
