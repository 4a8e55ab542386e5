"use strict";

const points = JSON.parse(document.getElementById("points").textContent);
const byId = (id) => document.getElementById(id);
const body = document.querySelector("#board tbody");
const headings = [...body.querySelectorAll("[data-heading]")];
const rows = [...body.querySelectorAll("[data-row]")];
const filters = byId("filters");

// ------------------------------------------------------------------ filters

const words = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));

function hasSize(row, size) {
  const text = row.dataset.parameters;
  if (size === "unknown") return text === "";
  const [low, high] = size.split(",").map(Number);
  return text !== "" && Number(text) > low && Number(text) <= high;
}

const kinds = {
  "": (data) => data.retracted === "no",
  all: () => true,
  comparable: (data) => data.retracted === "no" && data.comparable === "yes",
  published: (data) => data.evidence === "as published" && data.retracted === "no",
  reproduced: (data) => data.evidence === "reproduced by others",
  ours: (data) => data.evidence === "self-measured",
};

// Two of the choices are about the order of the rows alone.
const isRanking = (choice) => choice === "" || choice === "together";

function isWanted(row) {
  const { causal, size, optimised, kind, checked, search } = filters.elements;
  const data = row.dataset;
  return (
    kinds[kind.value](data) &&
    (causal.value === "" || data.causal === causal.value) &&
    (isRanking(optimised.value) || data.optimised === optimised.value) &&
    (checked.value === "" || data.checked === checked.value) &&
    (size.value === "" || hasSize(row, size.value)) &&
    search.value.toLowerCase().split(/\s+/).every((word) => words.get(row).includes(word))
  );
}

function applyFilters() {
  for (const row of rows) row.hidden = !isWanted(row);
  const shown = rows.filter((row) => !row.hidden).length;
  byId("count").textContent = `${shown} of ${rows.length} results.`;
  arrange();
  draw();
  writeAddress();
}

// ------------------------------------------------------------------ sorting

const textKeys = new Set(["name", "causal", "domain"]);

const sorted = { key: "pesq_wb", direction: -1 };

// Rows that trained on a metric follow the others, under a heading.
function arrange() {
  const apart = filters.elements.optimised.value === "";
  for (const heading of headings) {
    const optimised = heading.dataset.heading === "optimised" ? "yes" : "no";
    const group = rows.filter((row) => row.dataset.optimised === optimised);
    heading.hidden = !apart || group.every((row) => row.hidden);
    if (apart) body.append(heading, ...group);
  }
  if (!apart) body.append(...rows);
}

function sortBy(key, direction) {
  const value = (row) => row.querySelector(`[data-key="${key}"]`).dataset.value;
  const collator = new Intl.Collator("en", { numeric: true });
  rows.sort((one, other) => {
    const [a, b] = [value(one), value(other)];
    // What is not known stays last in both directions.
    if (a === "" || b === "") return (a === "") - (b === "");
    return direction * (textKeys.has(key) ? collator.compare(a, b) : a - b);
  });
  Object.assign(sorted, { key, direction });
  arrange();
  for (const button of document.querySelectorAll("#board thead button")) {
    const cell = button.closest("th");
    if (button.dataset.key !== key) cell.removeAttribute("aria-sort");
    else cell.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
  }
}

for (const button of document.querySelectorAll("#board thead button")) {
  button.addEventListener("click", () => {
    const { key } = button.dataset;
    const before = button.closest("th").getAttribute("aria-sort");
    const smallFirst = textKeys.has(key) || key === "parameters" || key === "macs";
    if (before) sortBy(key, before === "ascending" ? -1 : 1);
    else sortBy(key, smallFirst ? 1 : -1);
    writeAddress();
  });
}

// ------------------------------------------------------------------ address

// What the address holds beside the sorting: the fields, by their ids.
const choices = ["search", "causal", "size", "optimised", "checked", "kind", "x", "y"].map(byId);
const firstValue = (field) => (field.tagName === "SELECT" ? field.options[0].value : "");

function writeAddress() {
  const view = new URLSearchParams();
  for (const field of choices) if (field.value !== firstValue(field)) view.set(field.id, field.value);
  if (sorted.key !== "pesq_wb" || sorted.direction !== -1) {
    view.set("sort", `${sorted.key}${sorted.direction < 0 ? "-" : "+"}`);
  }
  const hash = view.size ? `#${view}` : "";
  // A link to a place in the page is no view, and stays while there is none.
  if (hash || location.hash.includes("=")) history.replaceState(null, "", hash || "#");
}

function readAddress() {
  const view = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
  for (const field of choices) {
    field.value = view.get(field.id) ?? firstValue(field);
    if (field.selectedIndex === -1) field.selectedIndex = 0; // no such choice
  }
  const [, key, sign] = /^(\w+)([+-])$/.exec(view.get("sort")) ?? [];
  const known = key && document.querySelector(`#board thead button[data-key="${key}"]`);
  if (known) sortBy(key, sign === "-" ? -1 : 1);
  else sortBy("pesq_wb", -1);
  applyFilters();
}

window.addEventListener("hashchange", readAddress);
for (const id of ["x", "y"]) byId(id).addEventListener("change", applyFilters);
// Not every browser announces the choice of an option as "input".
for (const event of ["input", "change"]) filters.addEventListener(event, applyFilters);
filters.addEventListener("submit", (event) => event.preventDefault());
filters.addEventListener("reset", () => {
  history.replaceState(null, "", "#");
  // The fields have their first values only after the event.
  setTimeout(readAddress);
});

// ----------------------------------------------------------------- download

function save(name, type, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

byId("download").addEventListener("click", () => {
  const [header, ...lines] = JSON.parse(byId("lines").textContent);
  const shown = [...body.querySelectorAll("[data-row]:not([hidden])")];
  const text = [header, ...shown.map((row) => lines[row.dataset.row])];
  save("leaderboard.csv", "text/csv", `${text.join("\n")}\n`);
});
