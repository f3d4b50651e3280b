"""The pages around the chapters: nothing is missing from the map, no source is unknown, no term is defined twice."""

import re
from pathlib import Path

import pytest
from pybtex.database import parse_file

BOOK = Path(__file__).resolve().parents[1] / "book"
SOURCES = parse_file(BOOK / "references.bib").entries
TEXTS = {path.name: path.read_text() for path in sorted(BOOK.glob("*.md"))}


def test_the_map_leads_to_every_chapter_that_can_be_read():
    chapters = [name for name in TEXTS if re.match(r"\d\d_", name)]
    assert chapters
    assert [name for name in chapters if f"({name})" not in TEXTS["index.md"]] == []


def test_every_citation_has_its_source():
    cited = {
        key.strip()
        for text in TEXTS.values()
        for keys in re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", text)
        for key in keys.split(",")
    }
    assert cited - set(SOURCES) == set()


@pytest.mark.parametrize("key", SOURCES)
def test_a_source_is_complete(key):
    entry = SOURCES[key]
    assert re.fullmatch(r"[a-z]+(1[6-9]|20)\d\d[a-z]*", key) and entry.fields["year"] in key
    required = {
        "article": {"title", "journal", "volume"},
        "book": {"title", "publisher"},
        "inproceedings": {"title", "booktitle"},
        "misc": {"title", "howpublished"},
    }[entry.type]
    if key in ("planck1917", "schrodinger1931"):
        required -= {"volume"}  # the academy's proceedings are counted by year
    assert required <= set(entry.fields) and entry.persons["author"]
    assert not entry.fields.get("doi", "10.").startswith("http")


def test_a_term_is_defined_once_and_in_two_or_three_sentences():
    body = TEXTS["glossary.md"].split("```{glossary}")[1].split("```")[0]
    entries = re.findall(r"^(\S[^\n]*)\n((?:  [^\n]*\n)+)", body.split(":sorted:")[1], re.MULTILINE)
    terms = [term for term, _ in entries]
    assert len(terms) >= 40 and len(set(terms)) == len(terms)
    assert [term for term, text in entries if len(re.findall(r"[.!?](?:\s|$)", text)) > 3] == []
    known = {term.lower() for term in terms}
    used = {
        (re.search(r"<([^>]+)>$", target) or [None, target])[1].lower()
        for text in TEXTS.values()
        for target in re.findall(r"\{term\}`([^`]+)`", text)
    }
    assert used - known == set()
