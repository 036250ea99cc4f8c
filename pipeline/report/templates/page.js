"use strict";
// The page is whole without this: tables stay in their order, a cell of a grid is a link.

// A table is sorted by the column whose heading is pressed, and the other way round when pressed again.
function number(text) {
  const found = text.replaceAll(",", "").match(/^\s*[-−]?\d+(\.\d+)?(e[-+]?\d+)?/);
  return found ? parseFloat(found[0].replace("−", "-")) : NaN;
}

function sort(table, column, sign) {
  const numeric = table.tHead.rows[0].cells[column].classList.contains("n");
  const key = (row) => row.cells[column].dataset.sort ?? row.cells[column].textContent.trim();
  const compare = (one, other) => {
    if (!numeric) return sign * key(one).localeCompare(key(other), "en", { numeric: true });
    const [a, b] = [number(key(one)), number(key(other))];
    if (isNaN(a) || isNaN(b)) return isNaN(a) - isNaN(b); // what is not known stays last
    return sign * (a - b);
  };
  table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
}

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    if (!head.textContent.trim()) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const order = head.ariaSort === "ascending" ? "descending" : "ascending";
      heads.forEach((each) => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
      sort(table, column, order === "ascending" ? 1 : -1);
    });
  });
}

// A cell of a grid lifts its curve out of the others, and says what it is.
for (const curves of document.querySelectorAll(".curves")) {
  curves.classList.add("live");
  const links = [...curves.previousElementSibling.querySelectorAll("a")];
  const choose = (link) => {
    const curve = document.getElementById(link.hash.slice(1));
    curves.querySelectorAll(".lifted").forEach((each) => each.classList.remove("lifted"));
    links.forEach((each) => each.removeAttribute("aria-current"));
    link.setAttribute("aria-current", "true");
    curves.querySelector(".chosen").textContent = link.title;
    if (!curve) return;
    curve.classList.add("lifted");
    curve.parentNode.append(curve); // the last is drawn above the others
  };
  for (const link of links) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      choose(link);
    });
  }
  const best = links.reduce((a, b) => (number(b.textContent) < number(a.textContent) ? b : a));
  choose(links.find((each) => each.hash === location.hash) ?? best);
}
