"""The page in a real browser, of the width of a phone."""

import pytest
from browser import asked, browser

pytestmark = pytest.mark.skipif(
    browser() is None, reason="no Chromium here: apt-get install --no-install-recommends chromium"
)


@pytest.fixture(scope="module")
def opened(page_of_every_task, tmp_path_factory):
    """Return a function that asks the page of all tasks."""
    return lambda script, **more: asked(
        page_of_every_task, script, tmp_path_factory.mktemp("browser"), **more
    )


def test_the_page_opens_without_a_complaint(opened):
    found, complaints = opened("return document.title;")
    assert found == "quickstart on local"
    assert complaints == []


SORT = """
const table = document.querySelector("table.sortable");
const head = [...table.querySelectorAll("th")].find((each) => each.textContent.startsWith(NAME));
const column = () => [...table.tBodies[0].rows].map((row) => row.cells[head.cellIndex].innerText);
const found = [column()];
for (const again of [1, 2]) {
  head.querySelector("button").click();
  found.push([head.getAttribute("aria-sort"), column()]);
}
return found;
"""


def first_number(text):
    return float(text.split()[0].replace(",", ""))


def test_a_table_is_sorted_by_the_heading_that_is_pressed(opened):
    (before, (up, rising), (down, falling)), _ = opened(SORT.replace("NAME", '"ARI"'))
    values = [first_number(each) for each in before]
    assert len(set(values)) > 2
    assert (up, down) == ("ascending", "descending")
    assert [first_number(each) for each in rising] == sorted(values)
    assert [first_number(each) for each in falling] == sorted(values, reverse=True)


def test_counts_with_commas_are_numbers(opened):
    (_, (_, rising), _), _ = opened(SORT.replace("NAME", '"Labelled"'))
    counts = [first_number(each) for each in rising]
    assert counts == sorted(counts)
    assert set(counts) == {100, 1000}


def test_what_is_not_known_stays_last(opened):
    plant = (
        'document.querySelector("table.sortable").tBodies[0].rows[0].cells[3].textContent = "–";'
    )
    (_, (_, rising), (_, falling)), _ = opened(plant + SORT.replace("NAME", '"ARI"'))
    assert rising[-1] == falling[-1] == "–"


def test_nothing_but_tables_and_figures_is_wider_than_a_phone(opened):
    found, _ = opened("return [document.documentElement.scrollWidth, innerWidth];")
    assert found[0] <= found[1]


def test_a_heading_can_be_reached_by_key(opened):
    script = (
        'return [...document.querySelectorAll("table.sortable th button")].map((b) => b.tabIndex);'
    )
    found, _ = opened(script)
    assert found
    assert set(found) == {0}


LIFTED = '[...document.querySelectorAll(".curves .lifted")].map((each) => each.id)'
COLOURED = """[...document.querySelectorAll(".curves g[id^=curve] path")]
  .filter((each) => getComputedStyle(each).strokeWidth === "3px")
  .map((each) => each.parentNode.id)"""


@pytest.fixture(scope="module")
def gridded(page_of_a_grid, tmp_path_factory):
    """Return a function that asks the page of a grid."""
    return lambda script, **more: asked(
        page_of_a_grid, script, tmp_path_factory.mktemp("grid"), **more
    )


def test_a_cell_that_is_pressed_shows_its_curve(gridded):
    press = f"""
    const before = {LIFTED};
    document.querySelector('.grid a[href$="small-1000"]').click();
    const said = document.querySelector(".chosen").textContent;
    return [before, {LIFTED}, {COLOURED}, said, location.hash];
    """
    (before, after, coloured, said, address), complaints = gridded(press)
    assert before == ["curve-heldout-fm4npp-mamba2-large-100"]  # the least loss
    assert after == coloured == ["curve-heldout-fm4npp-mamba2-small-1000"]
    assert said == "small on 1,000 events: held-out loss 1.5000"
    assert address == ""
    assert complaints == []


def test_a_cell_is_a_link_to_its_curve_where_scripts_are_off(gridded):
    anchor = "curve-heldout-fm4npp-mamba2-small-1000"
    found, _ = gridded(f"return {COLOURED};", address=f"#{anchor}", javascript=False)
    assert found == [anchor]


def test_an_address_with_a_cell_opens_with_its_curve(gridded):
    anchor = "curve-heldout-fm4npp-mamba2-small-100"
    found, _ = gridded(f"return {LIFTED};", address=f"#{anchor}")
    assert found == [anchor]


TURNED = """
const box = document.querySelector(".scene");
box.closest("details").open = true;
await new Promise((done) => setTimeout(done, 300));
const canvas = box.querySelector("canvas");
const inked = () => {
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  return pixels.filter((value, n) => n % 4 === 3 && value > 0).length;
};
const before = [inked(), canvas.toDataURL()];
canvas.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
return [before[0], canvas.toDataURL() === before[1], box.querySelectorAll("canvas").length];
"""


def test_an_event_in_space_is_drawn_and_turns(opened):
    (ink, same, views), complaints = opened(TURNED)
    assert complaints == []
    assert ink > 100
    assert not same
    assert views == 2
