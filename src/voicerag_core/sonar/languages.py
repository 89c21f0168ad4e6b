"""The languages of SONAR: codes of text, codes of speech, and their pairs.

Text is named as in FLORES-200, language and script (``eng_Latn``). A speech encoder knows one
language, named by three letters (``eng``). Here either code names a language.
"""

from __future__ import annotations

from difflib import get_close_matches

from voicerag_core.errors import ConfigError

__all__ = [
    "SPEECH_FILES",
    "TEXT_CODES",
    "language_pair",
    "speech_code",
    "text_code",
]

_TEXT = """
ace_Arab ace_Latn acm_Arab acq_Arab aeb_Arab afr_Latn ajp_Arab aka_Latn amh_Ethi apc_Arab
arb_Arab ars_Arab ary_Arab arz_Arab asm_Beng ast_Latn awa_Deva ayr_Latn azb_Arab azj_Latn
bak_Cyrl bam_Latn ban_Latn bel_Cyrl bem_Latn ben_Beng bho_Deva bjn_Arab bjn_Latn bod_Tibt
bos_Latn bug_Latn bul_Cyrl cat_Latn ceb_Latn ces_Latn cjk_Latn ckb_Arab crh_Latn cym_Latn
dan_Latn deu_Latn dik_Latn dyu_Latn dzo_Tibt ell_Grek eng_Latn epo_Latn est_Latn eus_Latn
ewe_Latn fao_Latn pes_Arab fij_Latn fin_Latn fon_Latn fra_Latn fur_Latn fuv_Latn gla_Latn
gle_Latn glg_Latn grn_Latn guj_Gujr hat_Latn hau_Latn heb_Hebr hin_Deva hne_Deva hrv_Latn
hun_Latn hye_Armn ibo_Latn ilo_Latn ind_Latn isl_Latn ita_Latn jav_Latn jpn_Jpan kab_Latn
kac_Latn kam_Latn kan_Knda kas_Arab kas_Deva kat_Geor knc_Arab knc_Latn kaz_Cyrl kbp_Latn
kea_Latn khm_Khmr kik_Latn kin_Latn kir_Cyrl kmb_Latn kon_Latn kor_Hang kmr_Latn lao_Laoo
lvs_Latn lij_Latn lim_Latn lin_Latn lit_Latn lmo_Latn ltg_Latn ltz_Latn lua_Latn lug_Latn
luo_Latn lus_Latn mag_Deva mai_Deva mal_Mlym mar_Deva min_Latn mkd_Cyrl plt_Latn mlt_Latn
mni_Beng khk_Cyrl mos_Latn mri_Latn zsm_Latn mya_Mymr nld_Latn nno_Latn nob_Latn npi_Deva
nso_Latn nus_Latn nya_Latn oci_Latn gaz_Latn ory_Orya pag_Latn pan_Guru pap_Latn pol_Latn
por_Latn prs_Arab pbt_Arab quy_Latn ron_Latn run_Latn rus_Cyrl sag_Latn san_Deva sat_Beng
scn_Latn shn_Mymr sin_Sinh slk_Latn slv_Latn smo_Latn sna_Latn snd_Arab som_Latn sot_Latn
spa_Latn als_Latn srd_Latn srp_Cyrl ssw_Latn sun_Latn swe_Latn swh_Latn szl_Latn tam_Taml
tat_Cyrl tel_Telu tgk_Cyrl tgl_Latn tha_Thai tir_Ethi taq_Latn taq_Tfng tpi_Latn tsn_Latn
tso_Latn tuk_Latn tum_Latn tur_Latn twi_Latn tzm_Tfng uig_Arab ukr_Cyrl umb_Latn urd_Arab
uzn_Latn vec_Latn vie_Latn war_Latn wol_Latn xho_Latn ydd_Hebr yor_Latn yue_Hant zho_Hans
zho_Hant zul_Latn
"""

TEXT_CODES = tuple(_TEXT.split())
"""Codes of the text encoder, in the order of their tokens.

Source: facebookresearch/SONAR v0.5.0, sonar/cards/text_sonar_basic_encoder.yaml.
"""

_MIT = "arb cat cym dan deu est fin fra ind ita kor nld pes por ron spa swh tgl tur uzn"
_NON_COMMERCIAL = (
    "asm bel ben bos bul ces cmn guj heb hin hrv jpn kan lao lit lvs mal mar mkd mlt npi ory pan "
    "pol rus slk slv snd srp tam tel tha ukr urd vie yue"
)

SPEECH_FILES: dict[str, str] = {
    "eng": "spenc.eng.pt",
    **{code: f"spenc.v3ap.{code}.pt" for code in _MIT.split()},
    **{code: f"spenc.v5ap.{code}.pt" for code in _NON_COMMERCIAL.split()},
}
"""Published file of each speech encoder, by speech code.

Source: facebookresearch/SONAR v0.5.0, sonar/cards/sonar_speech_encoder.yaml.
"""

_SPEECH_OF = {"zho": "cmn"}
"""Speech codes that do not begin the text code: both scripts of Chinese are read as Mandarin."""


def text_code(language: str) -> str:
    """Return the text code of a language named by either code.

    Raises:
        ConfigError: The code is unknown, or a speech code that has several scripts.
    """
    if language in TEXT_CODES:
        return language
    fitting = [code for code in TEXT_CODES if speech_code_of_text(code) == language]
    if language == "cmn":
        return "zho_Hans"
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise ConfigError(
            f"{language!r} is written in several scripts; give one of {', '.join(fitting)}"
        )
    raise ConfigError(
        f"SONAR's text encoder knows no language {language!r}; its {len(TEXT_CODES)} languages "
        f"have codes of language and script such as eng_Latn{_suggestion(language, TEXT_CODES)}"
    )


def speech_code(language: str) -> str:
    """Return the speech code of a language named by either code.

    Raises:
        ConfigError: The code is unknown, or no speech encoder was published for it.
    """
    code = speech_code_of_text(language) if language in TEXT_CODES else language
    if code in SPEECH_FILES:
        return code
    raise ConfigError(
        f"there is no SONAR speech encoder for {language!r}; there are {len(SPEECH_FILES)}, with "
        f"codes of three letters such as eng{_suggestion(code, tuple(SPEECH_FILES))}"
    )


def speech_code_of_text(code: str) -> str:
    """Return the three-letter code of the spoken language of a text code."""
    language = code.split("_", 1)[0]
    return _SPEECH_OF.get(language, language)


def language_pair(
    text: str,
    file: str | None,
    speech: str | None = None,
    *,
    cross_lingual: bool = False,
) -> tuple[str, str | None]:
    """Return the text code and the speech code of an embedder.

    Args:
        text: Language of texts, by either code.
        file: Name of the speech encoder's file; None where there is none.
        speech: Language of the speech encoder, by either code; None takes that of texts.
        cross_lingual: Allow the two to differ.

    Raises:
        ConfigError: A language is unknown or has no speech encoder, the two differ, or the file is
            named as that of another language.
    """
    written = text_code(text)
    if file is None:
        return written, None
    spoken = speech_code(speech or written)
    named = _language_of_file(file)
    if named is not None and named != spoken:
        raise ConfigError(
            f"{file} is the speech encoder of {named!r}, and the language of speech was given as "
            f"{spoken!r}; give the file of that language, or speech_language={named!r}"
        )
    if not cross_lingual and speech_code_of_text(written) != spoken:
        raise ConfigError(
            f"text in {written} and speech in {spoken} are two languages; give both the same, or "
            "say cross_lingual=True if questions are to be asked in another language than that of "
            "the documents"
        )
    return written, spoken


def _language_of_file(name: str) -> str | None:
    """Return the speech code that the name of a published speech encoder carries."""
    parts = name.split(".")
    return parts[-2] if parts[0] == "spenc" and len(parts) in (3, 4) else None


def _suggestion(given: str, known: tuple[str, ...]) -> str:
    near = get_close_matches(given, known, n=3, cutoff=0.5)
    return f"; near {given!r} are {', '.join(near)}" if near else ""
