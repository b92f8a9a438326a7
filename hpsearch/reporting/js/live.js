// A report of a run that goes on: asks its server what changed, and replaces those sections.
(async () => {
  const note = document.body.appendChild(document.createElement("output"));
  note.id = "live";
  const LOOK = 2000; // ms
  const known = JSON.parse(document.body.dataset.sections); // as they were when the page was sent

  const parse = (html) => new DOMParser().parseFromString(html, "text/html").querySelector("section");

  const replace = async (name) => {
    const fresh = parse(await (await fetch(`section/${name}`)).text());
    const old = document.getElementById(name);
    const data = fresh.querySelector("#trial-data");
    if (name === "trials" && data && old.querySelector("#trial-data")) {
      old.querySelector("#trial-data").textContent = data.textContent;
      const [lines, shown] = [fresh, old].map((part) => part.querySelector("#parallel"));
      if (lines && shown?.dataset.drawn) await hpsearch.renew(shown, lines);
      else if (lines && shown) shown.querySelector("script").textContent = lines.querySelector("script").textContent;
      (await hpsearch.trials).update(await hpsearch.unpack("trial-data"));
      return;
    }
    if (name === "trials" && data) { location.reload(); return; } // the table's script has to begin
    const open = [...old.querySelectorAll("details")].map((one) => one.open);
    const shown = old.querySelector(".maps:not([hidden])")?.id;
    // A figure that is drawn stays, zoomed and switched as the reader left it, with the new numbers.
    const kept = [...fresh.querySelectorAll(".plot")].flatMap((box) => {
      const drawn = document.getElementById(box.id);
      return drawn?.dataset.drawn ? [[drawn, box]] : [];
    });
    const parts = kept.map(([drawn, box]) => { const copy = box.cloneNode(true); box.replaceWith(drawn); return [drawn, copy]; });
    old.replaceWith(fresh);
    hpsearch.share(fresh);
    for (const [drawn, copy] of parts) hpsearch.renew(drawn, copy);
    hpsearch.watch([...fresh.querySelectorAll(".plot")].filter((box) => !box.dataset.drawn));
    [...fresh.querySelectorAll("details")].forEach((one, i) => { one.open = open[i] ?? false; });
    if (name === "maps") hpsearch.beginMaps(shown);
  };

  const look = async () => {
    try {
      const state = await (await fetch("state")).json();
      for (const [name, hash] of Object.entries(state.sections)) {
        if (known[name] !== hash) await replace(name);
        known[name] = hash;
      }
      const when = new Date(1000 * state.changed).toLocaleTimeString();
      const behind = state.analysis_waits ? "; findings follow" : "";
      note.textContent = state.running ? `Running; as of ${when}${behind}` : `Not running; as of ${when}${behind}`;
    } catch {
      note.textContent = "The server of this page has ended";
    }
    setTimeout(look, LOOK);
  };
  look();
})();
