// --------------------------------------------------------------------- plot

const css = getComputedStyle(document.documentElement);
const colour = (name) => css.getPropertyValue(`--${name}`).trim();
const groups = {
  ours: { label: "measured here", colour: colour("ours"), pointStyle: "rectRot", radius: 8 },
  elsewhere: { label: "measured here, not comparable", colour: colour("ours"), pointStyle: "rectRot", radius: 8, hollow: true },
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

const units = { parameters: "M parameters", macs: "GMAC/s", latency: "ms" };

function describe({ raw }) {
  const { point, x, interval } = raw;
  const metric = byId("y").value;
  const range = interval ? ` [${interval[0].toFixed(2)}, ${interval[1].toFixed(2)}]` : "";
  const lines = [point.name];
  if (point.detail) lines.push(point.detail);
  lines.push(`${label(byId("y"))} ${point.shown[metric]}${range}`);
  lines.push(`${Number(x.toPrecision(3))} ${units[byId("x").value]}`);
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
      legend: { position: "top", onClick: null, align: "start", labels: { usePointStyle: true, boxWidth: 8, boxHeight: 8, generateLabels: drawLabels } },
      tooltip: { displayColors: false, callbacks: { label: describe } },
    },
  },
});

// Chart.js takes dashes from points, which the fronts have none of.
function drawLabels(chart) {
  return Chart.defaults.plugins.legend.labels
    .generateLabels(chart)
    .map((item) => ({ ...item, lineDash: chart.data.datasets[item.datasetIndex].borderDash ?? [] }));
}

// Those that no other of the group beats in both, the cheapest first.
function findFront(drawn, x, y, optimised) {
  const group = drawn.filter((p) => p.optimised === optimised && !["elsewhere", "retracted"].includes(p.group));
  group.sort((a, b) => a[x] - b[x] || b.scores[y] - a.scores[y]);
  const front = [];
  for (const p of group) if (!front.length || p.scores[y] > front.at(-1).scores[y]) front.push(p);
  return front;
}

let pointed = -1;

function step(by) {
  const marks = plot.data.datasets.flatMap((set, datasetIndex) =>
    set.front ? [] : set.data.map((raw, index) => ({ datasetIndex, index, raw })),
  );
  if (!marks.length) return;
  marks.sort((a, b) => a.raw.x - b.raw.x || a.raw.y - b.raw.y);
  pointed = Math.max(0, Math.min(marks.length - 1, pointed + by));
  const { datasetIndex, index, raw } = marks[pointed];
  const { x, y } = plot.getDatasetMeta(datasetIndex).data[index];
  plot.setActiveElements([{ datasetIndex, index }]);
  plot.tooltip.setActiveElements([{ datasetIndex, index }], { x, y });
  plot.update();
  byId("pointed").textContent = describe({ raw }).join("; ");
}

byId("plot").addEventListener("keydown", (event) => {
  const by = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, Home: -Infinity, End: Infinity }[event.key];
  if (!by) return;
  event.preventDefault();
  step(by);
});

function draw() {
  const [x, y] = [byId("x").value, byId("y").value];
  const shown = new Set(rows.filter((row) => !row.hidden).map((row) => Number(row.dataset.row)));
  const scored = points.filter((p) => shown.has(p.row) && y in p.scores);
  const drawn = scored.filter((p) => p[x] !== null);
  const fronts = [
    { label: "Pareto front", dash: [], colour: groups.plain.colour, members: findFront(drawn, x, y, false) },
    { label: "Pareto front, optimised for a metric", dash: [6, 4], colour: groups.optimised.colour, members: findFront(drawn, x, y, true) },
  ].filter(({ members }) => members.length > 1);
  const marks = Object.entries(groups)
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
  const lines = fronts.map(({ label, dash, colour, members }) => ({
    label,
    front: true,
    showLine: true,
    stepped: "before",
    pointStyle: "line",
    pointRadius: 0,
    pointHitRadius: 0,
    borderColor: colour,
    borderDash: dash,
    borderWidth: 1.5,
    data: members.map((p) => ({ x: p[x], y: p.scores[y], point: p })),
  }));
  plot.data.datasets = [...marks, ...lines];
  pointed = -1;
  byId("pointed").textContent = "";
  byId("fronts").textContent = fronts
    .map(({ label, members }) => `${label}: ${members.map((p) => p.name).join(", ")}.`)
    .join(" ");
  plot.options.scales.x.title.text = `${label(byId("x"))}, logarithmic`;
  plot.options.scales.y.title.text = label(byId("y"));
  plot.update();
  const what = { macs: "number of operations", latency: "latency", parameters: "number of parameters" }[x];
  byId("left-out").textContent =
    `${drawn.length} systems drawn; of ${scored.length - drawn.length} more with this score the ${what} is not known. Point at a mark, touch it, or step through them with the arrow keys, for its name.`;
}
