// Maps: an overview of thumbnails to choose from. shown: the pair to begin with.
hpsearch.beginMaps = (shown) => {
  const levels = ["00224e", "123570", "3b496c", "575d6d", "707173", "8a8678", "a59c74", "c3b369", "e1cc55", "fee838"];
  const scale = levels.map((hex) => [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16)));
  const colour = (level) => {
    const at = (level / 255) * (scale.length - 1);
    const low = Math.min(Math.floor(at), scale.length - 2);
    return scale[low].map((c, i) => Math.round(c + (at - low) * (scale[low + 1][i] - c)));
  };

  for (const button of document.querySelectorAll(".thumb")) {
    const rows = JSON.parse(button.querySelector("script").textContent);
    const canvas = button.querySelector("canvas");
    if (!rows.length) continue;
    canvas.height = rows.length;
    canvas.width = rows[0].length;
    const pen = canvas.getContext("2d");
    rows.forEach((row, y) => row.forEach((level, x) => {
      if (level === null) return;
      pen.fillStyle = `rgb(${colour(level).join(",")})`;
      pen.fillRect(x, rows.length - 1 - y, 1, 1); // the first row is the lowest
    }));
  }

  const open = (key, map) => {
    for (const part of document.querySelectorAll(".maps")) part.hidden = part.id !== key;
    for (const pair of document.querySelectorAll(".pair")) {
      pair.setAttribute("aria-pressed", String(pair.dataset.maps === key));
    }
    for (const thumb of document.querySelectorAll(".thumb")) {
      thumb.setAttribute("aria-pressed", String(thumb.dataset.map === map));
    }
    const first = document.getElementById(map ?? key);
    if (map) first.closest("figure").scrollIntoView({ block: "nearest" });
  };
  for (const button of document.querySelectorAll(".pair, .thumb")) {
    button.addEventListener("click", () => open(button.dataset.maps, button.dataset.map));
  }

  if (shown && document.getElementById(shown)) open(shown);
};
hpsearch.beginMaps();
