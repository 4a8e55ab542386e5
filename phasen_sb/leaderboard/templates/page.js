"use strict";

const points = JSON.parse(document.getElementById("points").textContent);
const byId = (id) => document.getElementById(id);
const body = document.querySelector("#board tbody");
const rows = [...body.rows];
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

function isWanted(row) {
  const { causal, size, optimised, kind, search } = filters.elements;
  const data = row.dataset;
  return (
    kinds[kind.value](data) &&
    (causal.value === "" || data.causal === causal.value) &&
    (optimised.value === "" || data.optimised === optimised.value) &&
    (size.value === "" || hasSize(row, size.value)) &&
    search.value.toLowerCase().split(/\s+/).every((word) => words.get(row).includes(word))
  );
}

function applyFilters() {
  for (const row of rows) row.hidden = !isWanted(row);
  const shown = rows.filter((row) => !row.hidden).length;
  byId("count").textContent = `${shown} of ${rows.length} results.`;
  draw();
}

// ------------------------------------------------------------------ sorting

const textKeys = new Set(["name", "causal", "domain"]);

function sortBy(key, direction) {
  const value = (row) => row.querySelector(`[data-key="${key}"]`).dataset.value;
  const collator = new Intl.Collator("en", { numeric: true });
  rows.sort((one, other) => {
    const [a, b] = [value(one), value(other)];
    // What is not known stays last in both directions.
    if (a === "" || b === "") return (a === "") - (b === "");
    return direction * (textKeys.has(key) ? collator.compare(a, b) : a - b);
  });
  body.append(...rows);
  for (const button of document.querySelectorAll("#board thead button")) {
    const cell = button.closest("th");
    if (button.dataset.key !== key) cell.removeAttribute("aria-sort");
    else cell.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
  }
}

for (const button of document.querySelectorAll("#board thead button")) {
  button.addEventListener("click", () => {
    const { key } = button.dataset;
    const sorted = button.closest("th").getAttribute("aria-sort");
    const smallFirst = textKeys.has(key) || key === "parameters" || key === "macs";
    if (sorted) sortBy(key, sorted === "ascending" ? -1 : 1);
    else sortBy(key, smallFirst ? 1 : -1);
  });
}

// --------------------------------------------------------------------- plot

const css = getComputedStyle(document.documentElement);
const colour = (name) => css.getPropertyValue(`--${name}`).trim();
const groups = {
  ours: { label: "measured here", colour: colour("ours"), pointStyle: "rectRot", radius: 8 },
  elsewhere: { label: "measured here, other test data: not comparable", colour: colour("ours"), pointStyle: "rectRot", radius: 8, hollow: true },
  plain: { label: "published", colour: colour("plain"), pointStyle: "circle", radius: 5 },
  optimised: { label: "published, optimised for a metric", colour: colour("optimised"), pointStyle: "triangle", radius: 6 },
  retracted: { label: "retracted", colour: colour("retracted"), pointStyle: "crossRot", radius: 6 },
};

function label(select) {
  return select.selectedOptions[0].textContent;
}

const intervals = {
  id: "intervals",
  // Also the axis must have room for them.
  afterDataLimits(chart, { scale }) {
    if (scale.axis !== "y") return;
    for (const { data } of chart.data.datasets) {
      for (const { interval } of data) {
        if (!interval) continue;
        scale.min = Math.min(scale.min, interval[0]);
        scale.max = Math.max(scale.max, interval[1]);
      }
    }
  },
  beforeDatasetsDraw({ ctx, data, scales }) {
    ctx.save();
    ctx.lineWidth = 2;
    for (const dataset of data.datasets) {
      ctx.strokeStyle = dataset.borderColor;
      for (const { x, interval } of dataset.data) {
        if (!interval) continue;
        const across = scales.x.getPixelForValue(x);
        const [low, high] = interval.map((end) => scales.y.getPixelForValue(end));
        ctx.beginPath();
        for (const end of [low, high]) {
          ctx.moveTo(across - 5, end);
          ctx.lineTo(across + 5, end);
        }
        ctx.moveTo(across, low);
        ctx.lineTo(across, high);
        ctx.stroke();
      }
    }
    ctx.restore();
  },
};

function describe({ raw }) {
  const { point, x, interval } = raw;
  const metric = byId("y").value;
  const range = interval ? ` [${interval[0].toFixed(2)}, ${interval[1].toFixed(2)}]` : "";
  const lines = [point.name];
  if (point.detail) lines.push(point.detail);
  lines.push(`${label(byId("y"))} ${point.shown[metric]}${range}`);
  lines.push(`${Number(x.toPrecision(3))} ${byId("x").value === "macs" ? "GMAC/s" : "M parameters"}`);
  if (point.group === "elsewhere") lines.push(`test data: ${point.testData}`);
  return lines;
}

Chart.defaults.font = { ...Chart.defaults.font, size: 13, family: getComputedStyle(document.body).fontFamily };
const plot = new Chart(byId("plot"), {
  type: "scatter",
  data: { datasets: [] },
  plugins: [intervals],
  options: {
    animation: false,
    maintainAspectRatio: false,
    interaction: { mode: "nearest", intersect: true },
    scales: {
      x: {
        type: "logarithmic",
        grid: { color: "#e7ebf0" },
        title: { display: true },
        ticks: {
          maxRotation: 0,
          // The decades alone: others run into one another on a phone.
          callback: (value) => (Number.isInteger(Number(Math.log10(value).toFixed(6))) ? String(value) : ""),
        },
      },
      y: { grid: { color: "#e7ebf0" }, title: { display: true }, grace: "4%" },
    },
    plugins: {
      legend: { position: "top", align: "start", labels: { usePointStyle: true, boxWidth: 8, boxHeight: 8 } },
      tooltip: { displayColors: false, callbacks: { label: describe } },
    },
  },
});

function draw() {
  const [x, y] = [byId("x").value, byId("y").value];
  const shown = new Set(rows.filter((row) => !row.hidden).map((row) => Number(row.dataset.row)));
  const scored = points.filter((p) => shown.has(p.row) && y in p.scores);
  const drawn = scored.filter((p) => p[x] !== null);
  plot.data.datasets = Object.entries(groups)
    .map(([name, { label, colour, hollow, ...style }]) => ({
      ...style,
      label,
      hoverRadius: style.radius + 2,
      hitRadius: 6,
      borderColor: colour,
      borderWidth: hollow || style.pointStyle === "crossRot" ? 2 : 1,
      backgroundColor: hollow ? "#fff" : `${colour}${name === "ours" ? "" : "b0"}`,
      data: drawn
        .filter((p) => p.group === name)
        .map((p) => ({ x: p[x], y: p.scores[y], interval: p.intervals[y], point: p })),
    }))
    .filter((dataset) => dataset.data.length);
  plot.options.scales.x.title.text = `${label(byId("x"))}, logarithmic`;
  plot.options.scales.y.title.text = label(byId("y"));
  plot.update();
  const what = x === "macs" ? "operations" : "number of parameters";
  byId("left-out").textContent =
    `${drawn.length} systems drawn; of ${scored.length - drawn.length} more with this score the ${what} is not known. Point at a mark, or touch it, for its name.`;
}

for (const id of ["x", "y"]) byId(id).addEventListener("change", draw);
// Not every browser announces the choice of an option as "input".
for (const event of ["input", "change"]) filters.addEventListener(event, applyFilters);
filters.addEventListener("submit", (event) => event.preventDefault());
// The fields have their first values only after the event.
filters.addEventListener("reset", () => setTimeout(applyFilters));

// ---------------------------------------------------------------- listening

for (const utterance of document.querySelectorAll(".utterance")) {
  const players = [...utterance.querySelectorAll("audio")];
  for (const player of players) {
    const picture = player.closest(".clip").querySelector(".picture");
    const cursor = picture.querySelector(".cursor");
    const follow = () => {
      cursor.style.opacity = 1;
      cursor.style.left = `${(100 * player.currentTime) / player.duration}%`;
      if (!player.paused) requestAnimationFrame(follow);
    };
    player.addEventListener("play", () => {
      for (const other of document.querySelectorAll("audio")) {
        if (other === player || other.paused) continue;
        other.pause();
        if (players.includes(other)) player.currentTime = other.currentTime;
      }
      follow();
    });
    player.addEventListener("seeked", follow);
    picture.addEventListener("click", (event) => {
      if (!player.duration) return;
      const { left, width } = picture.getBoundingClientRect();
      player.currentTime = (player.duration * (event.clientX - left)) / width;
    });
  }
}

sortBy("pesq_wb", -1);
applyFilters();
