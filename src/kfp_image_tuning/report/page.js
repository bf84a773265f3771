"use strict";
// The page is complete without this script; it sorts tables and shows one trial in all charts at once.

for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const original = [...body.rows];
  [...table.tHead.rows[0].cells].forEach((cell, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...cell.childNodes);
    cell.append(button);
    button.addEventListener("click", () => sort(table, body, original, cell, column));
  });
}

function sort(table, body, original, cell, column) {
  // First click: numbers from the largest, words from A; second: the other way; third: as it was.
  const numeric = original.some((row) => row.cells[column].dataset.sort !== undefined);
  const orders = numeric ? ["descending", "ascending", null] : ["ascending", "descending", null];
  const next = orders[(orders.indexOf(cell.getAttribute("aria-sort")) + 1) % 3];
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  const key = (row) => row.cells[column].dataset.sort ?? row.cells[column].textContent;
  const rows = [...original];
  if (next) {
    cell.setAttribute("aria-sort", next);
    const sign = next === "ascending" ? 1 : -1;
    const compare = numeric ? (a, b) => a - b : (a, b) => a.localeCompare(b, undefined, { numeric: true });
    // What has no value comes last either way.
    rows.sort((a, b) => (key(a) === "") - (key(b) === "") || sign * compare(key(a), key(b)));
  }
  body.append(...rows);
}

const readout = document.querySelector(".readout");
const invitation = readout ? readout.textContent : "";
let kept = null;

function show(trial) {
  for (const element of document.querySelectorAll(".picked")) element.classList.remove("picked");
  if (readout) readout.textContent = invitation;
  if (trial === null) return;
  for (const element of document.querySelectorAll(`[data-trial="${trial}"]`)) {
    element.classList.add("picked");
    const title = element.querySelector("title");
    if (title && readout) readout.textContent = title.textContent;
    if (element.closest(".parallel")) element.parentNode.append(element);
  }
}

function trialOf(event) {
  const element = event.target.closest("[data-trial]");
  return element ? element.dataset.trial : null;
}

document.addEventListener("pointerover", (event) => {
  const trial = trialOf(event);
  if (trial !== null && trial !== kept) show(trial);
});
document.addEventListener("pointerout", (event) => {
  if (trialOf(event) !== null) show(kept);
});
document.addEventListener("click", (event) => {
  const trial = trialOf(event);
  if (trial === null) return;
  kept = trial === kept ? null : trial;
  show(kept);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    kept = null;
    show(null);
  }
});
