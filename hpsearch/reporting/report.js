"use strict";

// Figures: one after the other, so that the page can be read and scrolled meanwhile.
(async () => {
  // The buttons are listed, because plotly's own choice has one that uploads the figure; no address to upload to.
  const buttons = [["toImage", "zoom2d", "pan2d", "resetScale2d"]];
  const config = { responsive: true, displaylogo: false, plotlyServerURL: "", modeBarButtons: buttons };
  const narrow = window.matchMedia("(max-width: 700px)").matches;
  for (const box of document.querySelectorAll(".plot")) {
    const { data, layout } = JSON.parse(box.firstElementChild.textContent);
    const map = data.some((trace) => trace.type === "heatmap");
    await Plotly.newPlot(box, data, layout, map || narrow ? { ...config, displayModeBar: false } : config);
    await new Promise((done) => setTimeout(done));
  }
  document.body.dataset.drawn = "yes";
})();

// The table of trials: filter, sort, show.
(() => {
  const source = document.getElementById("trial-data");
  if (!source) return;
  const { columns, rows } = JSON.parse(source.textContent);
  const [head, body] = document.getElementById("trial-table").children;
  const text = document.getElementById("filter-text");
  const more = document.getElementById("more");
  const FIRST = 100; // rows shown until asked for all
  let sort = { column: -1, down: false };
  let all = false;

  const prefixed = (v, unit) => {
    const steps = [[1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"], [0, ""]];
    const [size, prefix] = steps.find(([size]) => Math.abs(v) >= size);
    return `${Number((v / (size || 1)).toPrecision(3))} ${prefix}${unit}`.trim();
  };
  const shown = {
    text: String,
    number: (v) => String(Number.isInteger(v) ? v : Number(v.toPrecision(4))),
    share: (v) => `${(100 * v).toFixed(2)} %`,
    samples: (v) => prefixed(v, ""),
    flop: (v) => prefixed(v, ""),
    seconds: (v) => (v >= 120 ? `${Number((v / 60).toPrecision(3))} min` : `${Number(v.toPrecision(3))} s`),
  };
  const isNumber = (kind) => kind !== "text" && kind !== "error";
  const searchable = rows.map((row) => row.map((v) => (v === null ? "" : String(v))).join(" ").toLowerCase());

  const compare = (a, b) => {
    if (a === null || b === null) return (a === null) - (b === null); // what is not known comes last, either way
    const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
    return sort.down ? -order : order;
  };

  const cell = (value, kind) => {
    const td = document.createElement("td");
    if (isNumber(kind)) td.className = "n";
    if (value === null) return td;
    if (kind === "error") {
      const details = td.appendChild(document.createElement("details"));
      details.appendChild(document.createElement("summary")).textContent = String(value).trim().split("\n").pop();
      details.appendChild(document.createElement("pre")).textContent = value;
    } else {
      td.textContent = typeof value === "number" || !isNumber(kind) ? shown[kind](value) : String(value);
      if (["diverged", "collapsed", "failed"].includes(value)) td.classList.add("bad");
    }
    return td;
  };

  const selects = ["arm", "status"].map((label) => {
    const select = document.getElementById(`filter-${label}`);
    const column = columns.findIndex((c) => c.label === label);
    for (const value of new Set(rows.map((row) => row[column]))) {
      if (value !== null && column >= 0) select.append(new Option(value, value));
    }
    return { select, column };
  });

  const draw = () => {
    const parts = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let found = rows.map((_, i) => i).filter((i) => parts.every((part) => searchable[i].includes(part)));
    for (const { select, column } of selects) {
      if (select.value) found = found.filter((i) => rows[i][column] === select.value);
    }
    if (sort.column >= 0) found.sort((i, j) => compare(rows[i][sort.column], rows[j][sort.column]) || i - j);
    const visible = all ? found : found.slice(0, FIRST);
    body.replaceChildren(
      ...visible.map((i) => {
        const tr = document.createElement("tr");
        tr.append(...columns.map((column, k) => cell(rows[i][k], column.kind)));
        return tr;
      }),
    );
    document.getElementById("filter-count").textContent = `${visible.length} shown, ${found.length} found, ${rows.length} in all`;
    more.hidden = visible.length === found.length;
    more.textContent = `Show all ${found.length}`;
  };

  const top = head.appendChild(document.createElement("tr"));
  columns.forEach((column, k) => {
    const th = top.appendChild(document.createElement("th"));
    if (isNumber(column.kind)) th.className = "n";
    const button = th.appendChild(document.createElement("button"));
    button.type = "button";
    button.textContent = column.label;
    button.addEventListener("click", () => {
      sort = { column: k, down: sort.column === k && !sort.down };
      for (const other of top.children) other.removeAttribute("aria-sort");
      th.setAttribute("aria-sort", sort.down ? "descending" : "ascending");
      draw();
    });
  });
  text.addEventListener("input", draw);
  for (const { select } of selects) select.addEventListener("change", draw);
  more.addEventListener("click", () => { all = true; draw(); });
  draw();
})();
