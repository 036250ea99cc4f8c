"""The list of contents of a page."""

import re

from pipeline.report.contents import PLACE, with_contents


def test_each_heading_is_linked_once():
    page = f"<header>{PLACE}</header><h2>Results</h2>…<h2>Node-hours <small>all</small></h2>"
    found = with_contents(page)
    assert re.findall(r'<a href="#([^"]*)">([^<]*)', found) == [
        ("results", "Results"),
        ("node-hours-all", "Node-hours "),
    ]
    assert re.findall(r'<h2 id="([^"]*)">', found) == ["results", "node-hours-all"]


def test_a_single_heading_needs_no_list():
    assert with_contents(f"{PLACE}<h2>Results</h2>") == '<h2 id="results">Results</h2>'


def test_the_page_begins_with_links_to_all_its_parts(page):
    nav = re.search(r"<nav.*?</nav>", page, re.DOTALL)[0]
    links = re.findall(r'href="#([^"]*)"', nav)
    assert links == re.findall(r'<h2 id="([^"]*)">', page)
    assert links[0] == "results"
    assert links.index("losses") < links.index("event-displays")
    assert page.index("<nav") < page.index("<h2")
