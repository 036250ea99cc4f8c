"""The list of contents of a page, made from its headings."""

import re

PLACE = "<!-- contents -->"
HEADING = re.compile(r"<h2>(.*?)</h2>", re.DOTALL)
TAGS = re.compile(r"<[^>]+>")


def with_contents(page: str) -> str:
    """Return the page with a link to each of its headings at `PLACE`, if there are several."""
    links: dict[str, str] = {}

    def named(found: re.Match[str]) -> str:
        """Return a heading with the name that a link leads to."""
        title = found[1].strip()
        name = re.sub(r"[^a-z0-9]+", "-", TAGS.sub("", title).lower()).strip("-")
        links[name] = title
        return f'<h2 id="{name}">{title}</h2>'

    page = HEADING.sub(named, page)
    items = "".join(f'<li><a href="#{name}">{title}</a></li>' for name, title in links.items())
    contents = f'<nav aria-label="Contents"><ul>{items}</ul></nav>' if len(links) > 1 else ""
    return page.replace(PLACE, contents, 1)
