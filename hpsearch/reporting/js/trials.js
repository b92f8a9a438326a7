// The table of trials: filter, sort, brush; a click on a row tells the whole trial.
hpsearch.trials = (async () => {
  if (!document.getElementById("trial-data")) return;
  await hpsearch.first; // thousands of rows can wait for what is read first
  let { columns, values, details, curves, repeat } = await hpsearch.unpack("trial-data");
  const [head, body] = document.getElementById("trial-table").children;
  const text = document.getElementById("filter-text");
  const more = document.getElementById("more");
  const clear = document.getElementById("clear");
  const panel = document.getElementById("trial-detail");
  const FIRST = 100; // rows shown until asked for all
  let sort = { column: -1, down: false };
  let all = false;
  let brushed = null; // a Set of rows, or null for all
  let opened = null; // the row whose trial is told

  const make = (name, content, parent) => {
    const made = document.createElement(name);
    if (content !== undefined) made.textContent = content;
    parent?.append(made);
    return made;
  };
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
    error: (v) => String(v).trim().split("\n").pop(),
  };
  const isNumber = (kind) => kind !== "text" && kind !== "error";
  const written = (value, kind) => (typeof value === "number" || !isNumber(kind) ? shown[kind](value) : String(value));
  const count = () => values[0]?.length ?? 0;
  const at = (column) => columns.findIndex((c) => c.column === column);
  const value = (column, row) => (at(column) < 0 ? null : values[at(column)][row]);

  let searchable = null; // made when first needed
  const searched = (row) => {
    const told = (k, i) => (values[k][i] === null ? "" : `${values[k][i]} ${written(values[k][i], columns[k].kind)}`);
    searchable ??= values[0].map((_, i) => columns.map((_, k) => told(k, i)).join(" ").toLowerCase());
    return searchable[row];
  };

  const compare = (a, b) => {
    if (a === null || b === null) return (a === null) - (b === null); // what is not known comes last, either way
    const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
    return sort.down ? -order : order;
  };

  const selects = ["arm", "status"].map((column) => ({ column, select: document.getElementById(`filter-${column}`) }));
  const fill = () => {
    for (const { column, select } of selects) {
      const known = new Set([...select.options].map((option) => option.value));
      const found = at(column) < 0 ? [] : new Set(values[at(column)]);
      for (const one of found) if (one !== null && !known.has(String(one))) select.append(new Option(one, one));
    }
  };

  const rowOf = (row) => {
    const tr = document.createElement("tr");
    tr.dataset.row = row;
    tr.setAttribute("aria-selected", String(row === opened));
    const button = make("button", "›", make("td", undefined, tr));
    button.type = "button";
    button.className = "open";
    button.setAttribute("aria-label", `Show trial ${row + 1}`);
    columns.forEach(({ kind }, k) => {
      const one = values[k][row];
      const td = make("td", one === null ? "" : written(one, kind), tr);
      if (isNumber(kind)) td.className = "n";
      if (kind === "error" && one !== null) td.title = written(one, kind);
      if (["diverged", "collapsed", "failed"].includes(one)) td.classList.add("bad");
    });
    return tr;
  };

  const draw = () => {
    const parts = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let found = brushed ? [...brushed].sort((a, b) => a - b) : Array.from({ length: count() }, (_, i) => i);
    if (parts.length) found = found.filter((i) => parts.every((part) => searched(i).includes(part)));
    for (const { column, select } of selects) {
      if (select.value) found = found.filter((i) => String(value(column, i)) === select.value);
    }
    if (sort.column >= 0) {
      const by = values[sort.column];
      found.sort((i, j) => compare(by[i], by[j]) || i - j);
    }
    const visible = all ? found : found.slice(0, FIRST);
    body.replaceChildren(...visible.map(rowOf));
    const output = document.getElementById("filter-count");
    output.textContent = found.length
      ? `${visible.length} shown, ${found.length} found, ${count()} in all`
      : `No trial matches, of ${count()} in all`;
    more.hidden = visible.length === found.length;
    more.textContent = `Show all ${found.length}`;
    clear.hidden = brushed === null;
  };

  const heads = () => {
    const top = document.createElement("tr");
    make("span", "", make("th", undefined, top));
    columns.forEach((column, k) => {
      const th = make("th", undefined, top);
      if (isNumber(column.kind)) th.className = "n";
      const button = make("button", column.label, th);
      button.type = "button";
      button.addEventListener("click", () => {
        sort = { column: k, down: sort.column === k && !sort.down };
        for (const other of top.children) other.removeAttribute("aria-sort");
        th.setAttribute("aria-sort", sort.down ? "descending" : "ascending");
        draw();
      });
    });
    head.replaceChildren(top);
  };

  // A study file that trains this trial again: the same arm, values and seed give the same id.
  const plain = (v) => (typeof v === "string" ? JSON.stringify(v) : String(v));
  const flow = (pairs) => `{${pairs.map(([name, v]) => `${JSON.stringify(name)}: ${plain(v)}`).join(", ")}}`;
  const settings = (row) => {
    const params = columns.filter((c) => c.column.startsWith("params."));
    const pairs = params.map((c) => [c.column.slice(7), value(c.column, row)]);
    const held = Object.entries(details).filter(([name]) => name.startsWith("fixed."));
    return [...held.map(([name, all]) => [name.slice(6), all[row]]), ...pairs].filter(([, v]) => v !== null);
  };
  const snippet = (row) => {
    const seed = value("seed", row);
    return [
      `${repeat ?? "# the study of this table is not known: name, task and objectives are yours to add\n"}arms:`,
      `  ${JSON.stringify(value("arm", row))}:`,
      "    parameters: {}",
      `    fixed: ${flow(settings(row))}`,
      "sampling: [{sampler: random, configurations: 1}]",
      ...(seed === null ? [] : [`seeds: [${seed}]`]),
      "",
    ].join("\n");
  };

  const listing = (pairs, parent) => {
    const list = make("dl", undefined, parent);
    for (const [name, one] of pairs) {
      if (one === null || one === undefined || one === "") continue;
      make("dt", name, list);
      make("dd", one, list);
    }
  };

  const copied = async (content, button) => {
    const area = make("textarea", content, document.body);
    area.select();
    const done = document.execCommand("copy"); // the newer way is refused to files and frames
    area.remove();
    button.textContent = done ? "Copied" : "Select and copy it below";
  };

  // plotly reads markup in the names of lines.
  const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

  const drawCurve = (row, box) => {
    const epochs = curves.epoch?.[row];
    const names = Object.keys(curves).filter((name) => name !== "epoch" && curves[name][row]);
    if (!epochs || !names.length) return make("p", "No curve was recorded.", box).classList.add("caption");
    const shares = names.filter((name) => name.includes("accuracy"));
    const styles = [["#0072B2", "solid"], ["#D55E00", "dash"], ["#009E73", "dot"], ["#6B5B95", "dashdot"]];
    const data = names.map((name, i) => ({
      x: epochs, y: curves[name][row], name: escaped(name.replaceAll("_", " ")), mode: epochs.length > 1 ? "lines" : "markers",
      yaxis: shares.length && !shares.includes(name) ? "y2" : "y",
      line: { color: styles[i % 4][0], dash: styles[i % 4][1] },
    }));
    const axis = { gridcolor: "#e8ebef", zeroline: false, automargin: true };
    const layout = {
      height: 230, margin: { l: 40, r: 40, t: 8, b: 36 }, font: { size: 11, color: "#1c2430" }, hovermode: "x unified",
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", legend: { orientation: "h", y: 1.02, yanchor: "bottom" },
      hoverlabel: { bgcolor: "#ffffff", font: { color: "#1c2430" } },
      xaxis: { ...axis, title: { text: "epoch" } }, yaxis: { ...axis, tickformat: shares.length ? ".0%" : ".4~g", title: { text: shares.length ? "accuracy" : "value" } },
      yaxis2: { ...axis, overlaying: "y", side: "right", showgrid: false, tickformat: ".4~g", title: { text: "loss" } },
    };
    const swap = (spec) => (hpsearch.dark.matches ? hpsearch.recoloured(spec) : spec);
    const plot = make("div", undefined, box);
    plot.setAttribute("role", "img");
    plot.setAttribute("aria-label", `Learning curve: ${names.join(", ")} over ${epochs.length} epochs`);
    Plotly.newPlot(plot, swap(data), swap(layout), { responsive: true, displayModeBar: false, plotlyServerURL: "" });
  };

  const tell = (row) => {
    opened = row;
    for (const tr of body.children) tr.setAttribute("aria-selected", String(Number(tr.dataset.row) === row));
    panel.replaceChildren();
    panel.hidden = row === null;
    if (row === null) return;
    const title = make("h3", `${value("arm", row)}, seed ${value("seed", row) ?? "–"}: ${value("status", row)}`, panel);
    const close = make("button", "Close", title);
    close.type = "button";
    close.addEventListener("click", () => tell(null));
    const parts = make("div", undefined, panel);
    parts.className = "columns";
    const known = (prefix) => columns.filter((c) => c.column.startsWith(prefix));
    const pair = (c) => [c.label, value(c.column, row) === null ? null : written(value(c.column, row), c.kind)];
    listing(settings(row).map(([name, v]) => [name, typeof v === "number" ? shown.number(v) : String(v)]), parts);
    listing([...known("metrics."), ...known("cost.")].map(pair), parts);
    listing(
      Object.entries(details).filter(([name]) => !name.startsWith("fixed."))
        .map(([name, all]) => [name.replaceAll("_", " ").replace("versions.", ""), all[row]]),
      parts,
    );
    drawCurve(row, make("div", undefined, panel));
    if (value("error", row) !== null) make("pre", value("error", row), panel);
    const again = make("p", "Run this trial again: save as again.yaml, then `hpsearch run again.yaml`. ", panel);
    const copy = make("button", "Copy the study file", again);
    copy.type = "button";
    copy.id = "copy";
    copy.addEventListener("click", () => copied(snippet(row), copy));
    make("pre", snippet(row), panel).id = "snippet";
    panel.scrollIntoView({ block: "nearest" });
    panel.focus();
  };
  panel.tabIndex = -1;
  panel.addEventListener("keydown", ({ key }) => {
    if (key !== "Escape") return;
    const row = body.querySelector('tr[aria-selected="true"] .open');
    tell(null);
    row?.focus();
  });

  body.addEventListener("click", ({ target }) => {
    const tr = target.closest("tr");
    if (tr && !window.getSelection().toString()) tell(Number(tr.dataset.row));
  });
  text.addEventListener("input", draw);
  for (const { select } of selects) select.addEventListener("change", draw);
  more.addEventListener("click", () => { all = true; draw(); });

  // The brush of the parallel coordinates: a row is in when every brushed axis has it in one of its stretches.
  const lines = document.getElementById("parallel");
  const brush = () => {
    const axes = lines.data[0].dimensions.filter((d) => d.constraintrange?.length);
    const inside = (d, v) => [d.constraintrange].flat(Array.isArray(d.constraintrange[0]) ? 1 : 0)
      .some(([low, high]) => v >= low && v <= high);
    brushed = axes.length ? new Set(values[0].map((_, i) => i).filter((i) => axes.every((d) => inside(d, d.values[i])))) : null;
    draw();
  };
  lines?.addEventListener("drawn", () => lines.on("plotly_restyle", brush));
  clear.addEventListener("click", () => {
    const axes = lines.data[0].dimensions.length;
    Plotly.restyle(lines, Object.fromEntries(Array.from({ length: axes }, (_, i) => [`dimensions[${i}].constraintrange`, null])));
    brushed = null;
    draw();
  });

  heads();
  fill();
  text.placeholder = `e.g. ${[value("arm", 0), value("status", 0)].filter(Boolean).join(" ")}`;
  draw();
  return {
    brush,
    // New trials of a study that runs: what the reader has set stays.
    update: (found) => {
      const open = opened === null ? null : details.trial_id?.[opened];
      const kept = columns.map((c) => c.column).join() === found.columns.map((c) => c.column).join();
      ({ columns, values, details, curves, repeat } = found);
      searchable = null;
      if (!kept) { sort = { column: -1, down: false }; heads(); }
      fill();
      if (lines?.data) brush();
      else draw();
      // Rows move: the trial that is told is found again by its id.
      if (opened !== null) tell(open === undefined ? null : [details.trial_id.indexOf(open)].find((row) => row >= 0) ?? null);
    },
  };
})();
