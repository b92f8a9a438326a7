"use strict";

// The page's figures: drawn when they come near the screen, in the reader's colours, with real buttons for switches.
const hpsearch = (() => {
  const element = (id) => document.getElementById(id);

  // Base64 of gzipped JSON.
  const unpack = async (id) => {
    const bytes = Uint8Array.from(atob(element(id).textContent), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).json();
  };

  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const swaps = JSON.parse(element("dark-colours").textContent);
  const hex = (n) => Number(n).toString(16).padStart(2, "0");

  // The same figure in the colours of a dark page; texts stay as they are.
  const recoloured = (value) => {
    if (typeof value === "string") {
      const plain = swaps[value.toLowerCase()];
      if (plain) return plain;
      const parts = /^rgba\((\d+), ?(\d+), ?(\d+), ?([\d.]+)\)$/.exec(value);
      const swapped = parts && swaps[`#${hex(parts[1])}${hex(parts[2])}${hex(parts[3])}`];
      if (!swapped) return value;
      const [r, g, b] = [1, 3, 5].map((i) => parseInt(swapped.slice(i, i + 2), 16));
      return `rgba(${r},${g},${b},${parts[4]})`;
    }
    if (Array.isArray(value)) return value.map(recoloured);
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, recoloured(one)]));
    }
    return value;
  };

  const states = new Map(); // box -> { spec, menus, holder, pressed }
  let texts = null;
  const named = (value) => (Array.isArray(value) ? value.map(named) : typeof value === "number" ? texts[value] : value);

  // The buttons are listed, because plotly's own choice has one that uploads the figure; no address to upload to.
  const narrow = window.matchMedia("(max-width: 700px)");
  const config = (box) => ({
    responsive: true,
    displaylogo: false,
    plotlyServerURL: "",
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
    displayModeBar: box.closest(".cards") || narrow.matches ? false : "hover",
    scrollZoom: false,
  });

  const screenFigure = (spec) => {
    const shown = dark.matches && !printing ? recoloured(spec) : spec;
    for (const trace of shown.data) if (trace.hovertext !== undefined) trace.hovertext = named(trace.hovertext);
    const { updatemenus: menus = [], ...layout } = shown.layout;
    return { data: shown.data, layout: { ...layout, uirevision: "kept" }, menus };
  };

  const specOf = (box) => states.get(box)?.spec ?? JSON.parse(box.querySelector("script").textContent);

  // Groups of buttons; press(m, k) is told which.
  const makeSwitches = (menus, press) => {
    const holder = document.createElement("div");
    holder.className = "switches";
    menus.forEach(({ labels, active }, m) => {
      const group = holder.appendChild(document.createElement("div"));
      group.className = "switch";
      group.setAttribute("role", "group");
      labels.forEach((label, k) => {
        const button = group.appendChild(document.createElement("button"));
        button.type = "button";
        button.textContent = label.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
        button.addEventListener("click", () => press(m, k));
      });
      mark(group, active);
    });
    return holder;
  };
  const mark = (group, k) => {
    [...group.children].forEach((button, i) => button.setAttribute("aria-pressed", String(i === k)));
  };

  // Does what plotly's own button would.
  const press = (box, m, k) => {
    const state = states.get(box);
    const { method, args } = state.menus[m].buttons[k];
    state.pressed.set(m, k);
    if (state.holder) mark(state.holder.children[m], k);
    return Plotly[method](box, ...structuredClone(args));
  };

  // Cards that show the same of one arm each have one set of switches. A label that a card does not have leaves it be.
  const shareSwitches = (holder, boxes) => {
    const menus = [];
    for (const box of boxes) {
      const { layout } = specOf(box);
      (layout.updatemenus ?? []).forEach((menu, m) => {
        menus[m] ??= { labels: [], first: [] };
        menus[m].first.push(menu.buttons[menu.active ?? 0].label);
        for (const { label } of menu.buttons) if (!menus[m].labels.includes(label)) menus[m].labels.push(label);
      });
    }
    for (const menu of menus) { // what most cards begin with stands for all
      const times = (label) => menu.first.filter((one) => one === label).length;
      menu.labels.sort((a, b) => (times(b) > 0) - (times(a) > 0) || times(b) - times(a));
      menu.active = 0;
    }
    const chosen = new Map();
    for (const box of boxes) { // of figures that stayed when their section was made anew
      for (const [m, k] of states.get(box)?.pressed ?? []) {
        const label = states.get(box).menus[m]?.buttons[k]?.label;
        if (menus[m] && label !== undefined) {
          chosen.set(m, label);
          menus[m].active = menus[m].labels.indexOf(label);
        }
      }
    }
    const follow = (box) => {
      for (const [m, label] of chosen) {
        const k = states.get(box)?.menus[m]?.buttons.findIndex((entry) => entry.label === label) ?? -1;
        if (k >= 0) press(box, m, k);
      }
    };
    const made = makeSwitches(menus, (m, k) => {
      chosen.set(m, menus[m].labels[k]);
      mark(holder.children[m], k);
      boxes.forEach(follow);
    });
    holder.replaceChildren(...made.children);
    for (const box of boxes) box.addEventListener("drawn", () => follow(box));
  };

  let printing = false;

  const draw = async (box) => {
    if (states.has(box)) return;
    const spec = specOf(box);
    if (spec.data.some((trace) => trace.type === "parcoords") && !document.createElement("canvas").getContext("webgl")) {
      states.set(box, { spec, menus: [], holder: null, pressed: new Map() });
      box.textContent = "Not drawn: this browser has no WebGL. The table has the same numbers.";
      box.style.height = "auto";
      box.className = "reason";
      return;
    }
    const { data, layout, menus } = screenFigure(structuredClone(spec));
    const state = { spec, menus, holder: null, pressed: new Map() };
    states.set(box, state);
    if (menus.length && !box.closest(".cards")) {
      const shown = menus.map((menu) => ({ labels: menu.buttons.map((b) => b.label), active: menu.active ?? 0 }));
      state.holder = makeSwitches(shown, (m, k) => press(box, m, k));
      box.before(state.holder);
    }
    await Plotly.newPlot(box, data, layout, config(box));
    box.dataset.drawn = "yes";
    box.dispatchEvent(new Event("drawn"));
  };

  // In the other colours, with the switches as they were.
  const redraw = async (box) => {
    const state = states.get(box);
    const { data, layout, menus } = screenFigure(structuredClone(state.spec));
    state.menus = menus;
    await Plotly.react(box, data, layout, config(box));
    for (const [m, k] of state.pressed) await press(box, m, k);
  };

  // New numbers in a figure that is drawn: its zoom and its switches stay.
  const renew = async (box, fresh) => {
    const state = states.get(box);
    state.spec = JSON.parse(fresh.querySelector("script").textContent);
    box.setAttribute("aria-label", fresh.getAttribute("aria-label"));
    box.style.height = fresh.style.height;
    if (state.holder && state.holder.nextSibling !== box) box.before(state.holder);
    await redraw(box);
  };

  const boxes = () => [...document.querySelectorAll(".plot")];
  const drawAll = async () => {
    for (const box of boxes()) if (box.offsetParent) await draw(box);
  };

  let seen; // told when what is on the screen first is drawn
  const first = new Promise((done) => { seen = done; });

  // One after the other, so that the page can be read and scrolled meanwhile.
  const queue = [];
  let working = false;
  const work = async () => {
    if (working) return;
    working = true;
    while (queue.length) {
      await draw(queue.shift());
      await new Promise((done) => setTimeout(done));
    }
    working = false;
    document.body.dataset.drawn = "yes";
    seen();
  };
  const watcher = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        watcher.unobserve(target);
        queue.push(target);
      }
      work();
    },
    { rootMargin: "500px 0px" },
  );
  const watch = (boxes) => boxes.forEach((box) => watcher.observe(box));

  const share = (root) => {
    for (const holder of root.querySelectorAll(".switches.shared:not(#map-switches)")) {
      shareSwitches(holder, [...holder.nextElementSibling.querySelectorAll(".plot")]);
    }
    const maps = root.querySelector("#map-switches");
    if (maps) shareSwitches(maps, [...root.querySelectorAll(".map .plot")]);
  };
  const begin = async () => {
    texts = await unpack("texts");
    share(document);
    watch(boxes());
    if (boxes().length) return;
    document.body.dataset.drawn = "yes";
    seen();
  };
  const repaint = async () => {
    for (const box of [...states.keys()]) if (box.isConnected && box.data) await redraw(box);
  };
  document.addEventListener("click", ({ target }) => target.closest(".caption")?.classList.toggle("open"));
  dark.addEventListener("change", repaint);
  let closed = []; // on paper nothing can be opened
  window.addEventListener("beforeprint", () => {
    printing = true;
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const one of closed) one.open = true;
    drawAll();
    repaint();
  });
  window.addEventListener("afterprint", () => {
    printing = false;
    for (const one of closed) one.open = false;
    repaint();
  });
  begin();
  return { first, unpack, drawAll, renew, share, recoloured, dark, watch };
})();
