// The explorer: draws the wells that cpssl_lite/book/explorer.py wrote into the page.
// No server, no library: two canvases (points; what is pointed at), a card, a legend, a table.
// Pictures, neighbours and comparisons are in explorer_wells.js.
"use strict";
(() => {
  // Okabe and Ito's colours, some shifted so that each keeps 3:1 against the page.
  const COLORS = {
    light: ["#0072B2", "#D55E00", "#009E73", "#C45C9B", "#B67D00", "#2F9BD6", "#7B4EA3", "#6B5A2A"],
    dark: ["#4DA3DB", "#F0793A", "#2DBF97", "#E08FBF", "#EDB13B", "#8CCBF2", "#B08FDB", "#C2A86B"],
  };
  const RAMP = { // of numbers, low to high; 3:1 throughout as well
    light: ["#C27A10", "#C9503F", "#A8257D", "#6A1B9A", "#1A1678"],
    dark: ["#9A7BE8", "#D070C0", "#F0796A", "#F7AE4A", "#F4EE8A"],
  };
  const GREY = { light: "#8A949E", dark: "#7E8994" };
  const SHAPES = ["circle", "square", "up", "diamond", "down", "plus", "cross", "star"];
  const STEPS = 24; // of the ramp
  const ROWS = 200; // of the table
  const LISTED = 400; // wells of a lasso that a link can hold
  const MARK = "view:"; // what a link to a view begins with, after its #
  const quiet = matchMedia("(prefers-reduced-motion: reduce)");
  const narrow = matchMedia("(max-width: 700px)");

  const make = (tag, attributes = {}, text) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    if (text !== undefined) node.textContent = text; // never HTML: tables may hold anything
    return node;
  };

  function outline(pen, shape, x, y, r) {
    const corners = (n, turn, inner = 1) => {
      for (let i = 0; i < n; i++) {
        const radius = r * (i % 2 ? inner : 1), angle = turn + (i * 2 * Math.PI) / n;
        pen.lineTo(x + radius * Math.cos(angle), y + radius * Math.sin(angle));
      }
    };
    pen.beginPath();
    if (shape === "circle") pen.arc(x, y, r * 0.9, 0, 7);
    else if (shape === "square") corners(4, Math.PI / 4);
    else if (shape === "diamond") corners(4, 0);
    else if (shape === "up") corners(3, -Math.PI / 2);
    else if (shape === "down") corners(3, Math.PI / 2);
    else if (shape === "plus") corners(8, 0, 0.38);
    else if (shape === "cross") corners(8, Math.PI / 4, 0.38);
    else corners(10, -Math.PI / 2, 0.45);
    pen.closePath();
  }
  function ramp(colors, t) {
    const at = t * (colors.length - 1), k = Math.min(Math.floor(at), colors.length - 2);
    const part = (color, c) => parseInt(color.slice(1 + 2 * c, 3 + 2 * c), 16);
    const mix = (c) => Math.round(part(colors[k], c) + (at - k) * (part(colors[k + 1], c) - part(colors[k], c)));
    return `rgb(${mix(0)}, ${mix(1)}, ${mix(2)})`;
  }
  const short = (v) => (Math.abs(v) >= 1000 || Number.isInteger(v) ? String(Math.round(v)) : v.toPrecision(3));
  function inside(x, y, corners) { // even-odd rule
    let odd = false;
    for (let a = 0, b = corners.length - 1; a < corners.length; b = a++) {
      const [xa, ya] = corners[a], [xb, yb] = corners[b];
      if (ya > y !== yb > y && x < ((xb - xa) * (y - ya)) / (yb - ya) + xa) odd = !odd;
    }
    return odd;
  }

  function start(root, order) {
    const data = JSON.parse(root.querySelector("script").textContent);
    const n = Number(root.dataset.n), columns = data.columns;
    const column = (name) => columns.find((c) => c.name === name);
    const value = (c, i) => (c.numbers ? (c.numbers[i] === null ? "" : short(c.numbers[i])) : c.values[c.codes[i]]);
    const words = columns.filter((c) => !c.numbers);
    const text = Array.from({ length: n }, (_, i) => words.map((c) => value(c, i)).join(" ").toLowerCase());
    const menu = (name) => root.querySelector(`[name=${name}]`);
    const radius = n > 3000 ? 3 : n > 1000 ? 4 : 5.5;

    // --- what the page gets on top of the menus -----------------------------------------------
    const bar = root.querySelector(".cx-bar");
    const main = root.appendChild(make("div", { class: "cx-main" }));
    const stage = main.appendChild(make("div", {
      class: "cx-stage", tabindex: 0, role: "application",
      "aria-label": `${data.title}: ${n} points. Arrow keys go from point to point, Enter pins, ` +
        "Space picks, plus and minus zoom, 0 shows all, Escape clears.",
    }));
    const base = stage.appendChild(make("canvas", { "aria-hidden": "true" }));
    const over = stage.appendChild(make("canvas", { "aria-hidden": "true" }));
    const zoomBar = stage.appendChild(make("div", { class: "cx-zoom" }));
    for (const [sign, name, factor] of [["+", "Zoom in", 1.6], ["−", "Zoom out", 1 / 1.6], ["⤢", "Show all", 0]]) {
      const button = zoomBar.appendChild(make("button", { type: "button", "aria-label": name, title: name }, sign));
      button.addEventListener("click", () => zoom(factor));
    }
    const lassoButton = zoomBar.appendChild(make("button", { type: "button", class: "cx-lasso", "aria-pressed": "false", title: "Draw around wells to pick them" }, "Lasso"));
    const card = main.appendChild(make("div", { class: "cx-card", hidden: "" }));
    const side = main.appendChild(make("div", { class: "cx-side" }));
    const status = side.appendChild(make("p", { class: "cx-status", role: "status" }));
    const legend = side.appendChild(make("div", { class: "cx-legend", role: "group", "aria-label": "Legend" }));
    const spoken = root.appendChild(make("p", { class: "cx-spoken", "aria-live": "polite" }));
    const actions = root.appendChild(make("div", { class: "cx-actions" }));
    const action = (name, does) => {
      const button = actions.appendChild(make("button", { type: "button" }, name));
      button.addEventListener("click", does);
      return button;
    };
    const toggle = action("Show as a table", flip);
    toggle.classList.add("cx-toggle");
    toggle.setAttribute("aria-expanded", "false");
    action("Save these wells as CSV", save).classList.add("cx-csv");
    action("Copy a link to this view", copy).classList.add("cx-link");
    const tableBox = root.appendChild(make("div", { hidden: "" }));
    // On a phone the map comes first, to the eye and to the keyboard.
    const arrange = () => (narrow.matches ? main.after(bar) : main.before(bar));
    narrow.addEventListener("change", arrange);
    arrange();

    // --- state ----------------------------------------------------------------------------------
    let width = 0, height = 0, ratio = 1, map = 0, features = 0; // features: the last map that is no plate layout
    let bx = new Float32Array(n), by = new Float32Array(n); // where points lie before zooming
    let view = { k: 1, x: 0, y: 0 }, styles = [], styleOf = [], stamps = [], ground, frame, grid = null;
    let on = new Uint8Array(n).fill(1), picked = new Set(), range = null, lassoed = new Set();
    let current = -1, pinned = false, moving = 0, asked = 0, drawing = null;
    const X = (i) => bx[i] * view.k + view.x, Y = (i) => by[i] * view.k + view.y;
    const theme = () => (getComputedStyle(root).getPropertyValue("--cx-dark").trim() === "1" ? "dark" : "light");
    const near = (i) => (i < 0 || !data.near ? [] : data.maps[features].near.slice(i * data.near, (i + 1) * data.near));
    const wells = window.cpsslWells(root, { data, n, columns, value, make, near, go: pin, features: () => data.maps[features].name, changed: remember });
    actions.before(wells.panel);

    // --- where points lie -------------------------------------------------------------------------
    function place(which) {
      const { x, y } = data.maps[which], pad = data.maps[which].labels ? 26 : 18;
      const [x0, x1, y0, y1] = [x, y].flatMap((v) => [v.reduce((a, b) => Math.min(a, b)), v.reduce((a, b) => Math.max(a, b))]);
      const scale = Math.min((width - 2 * pad) / (x1 - x0 || 1), (height - 2 * pad) / (y1 - y0 || 1));
      const px = (v) => width / 2 + (v - (x0 + x1) / 2) * scale, py = (v) => height / 2 - (v - (y0 + y1) / 2) * scale;
      return [Float32Array.from(x, px), Float32Array.from(y, py), px, py];
    }
    function moveTo(which) {
      const [ax, ay] = [bx, by], [tx, ty] = place(which), began = performance.now();
      map = which;
      if (data.maps[which].near) features = which;
      cancelAnimationFrame(moving);
      const step = (now) => {
        const t = quiet.matches ? 1 : Math.min(1, (now - began) / 700), e = t * t * (3 - 2 * t);
        bx = ax.map((v, i) => v + (tx[i] - v) * e);
        by = ay.map((v, i) => v + (ty[i] - v) * e);
        grid = null;
        moving = t < 1 ? requestAnimationFrame(step) : 0;
        draw();
        if (!moving) show(current);
      };
      moving = requestAnimationFrame(step);
      wells.show(pinned ? current : -1);
      remember();
    }
    function resize() {
      if (stage.clientWidth === width && stage.clientHeight === height) return;
      const [w, h] = [width, height];
      [width, height, ratio] = [stage.clientWidth, stage.clientHeight, Math.min(devicePixelRatio || 1, 2)];
      for (const canvas of [base, over]) [canvas.width, canvas.height] = [width * ratio, height * ratio];
      [bx, by] = place(map);
      view = w ? { k: view.k, x: (view.x * width) / w, y: (view.y * height) / h } : view;
      grid = null;
      draw(); // at once: the browser has just emptied the canvases
      show(current);
    }
    function zoom(factor, x = width / 2, y = height / 2) {
      const k = factor ? Math.min(30, Math.max(1, view.k * factor)) : 1, f = k / view.k;
      look(k, x - (x - view.x) * f, y - (y - view.y) * f);
    }
    function look(k, x, y) { // the map never leaves the stage
      const within = (v, size) => Math.min(0, Math.max(size * (1 - k), v));
      view = { k, x: within(x, width), y: within(y, height) };
      stage.classList.toggle("cx-zoomed", k > 1);
      refresh();
      remember();
    }
    function refresh() {
      grid = null;
      if (!asked) asked = requestAnimationFrame(() => { asked = 0; draw(); show(current); });
    }

    // --- drawing ------------------------------------------------------------------------------------
    function paint() { // styles of the colour column, and the pixels of a stamp for each
      const c = column(menu("color").value), colors = COLORS[theme()], grey = GREY[theme()];
      if (c.numbers) {
        const [low, high] = c.range, span = high - low || 1;
        styles = Array.from({ length: STEPS }, (_, k) => ({ color: ramp(RAMP[theme()], k / (STEPS - 1)), shape: "circle", size: 1 }));
        styles.push({ color: grey, shape: "circle", size: 0.75 });
        styleOf = c.numbers.map((v) => (v === null ? STEPS : Math.round(((v - low) / span) * (STEPS - 1))));
      } else {
        let k = 0;
        styles = c.values.map((name) => data.grey.includes(name)
          ? { name, color: grey, shape: "circle", size: 0.75 }
          : { name, color: colors[k % 8], shape: SHAPES[Math.floor(k++ / 8) % 8], size: 1 });
        styleOf = c.codes;
      }
      const cell = 2 * Math.ceil((radius + 2) * ratio), canvas = make("canvas", { width: cell, height: cell });
      const pen = canvas.getContext("2d", { willReadFrequently: true });
      ground = getComputedStyle(root).getPropertyValue("--cx-stage").trim();
      stamps = [...styles, { color: grey, shape: "circle", size: 0.7 }].map((s) => {
        pen.clearRect(0, 0, cell, cell);
        outline(pen, s.shape, cell / 2, cell / 2, radius * ratio * s.size);
        pen.fillStyle = s.color;
        pen.fill();
        pen.strokeStyle = ground;
        pen.lineWidth = 0.8 * ratio;
        pen.stroke();
        return pen.getImageData(0, 0, cell, cell).data;
      });
      stamps.cell = cell;
    }
    function draw() { // pixels by hand: ten thousand drawImage calls take ten times as long without a GPU
      if (!width || !height) return;
      const { cell } = stamps, w = base.width, h = base.height;
      if (!frame || frame.width !== w || frame.height !== h) frame = new ImageData(w, h);
      const out = frame.data, rgb = parseInt(ground.slice(1), 16);
      new Uint32Array(out.buffer).fill((255 << 24) | ((rgb & 255) << 16) | (rgb & 0xff00) | (rgb >> 16));
      const stamp = (style, i, opacity) => {
        const pixels = stamps[style], left = Math.round(X(i) * ratio - cell / 2), top = Math.round(Y(i) * ratio - cell / 2);
        const y1 = Math.min(cell, h - top), x0 = Math.max(0, -left), x1 = Math.min(cell, w - left);
        for (let y = Math.max(0, -top); y < y1; y++)
          for (let x = x0, p = 4 * (y * cell + x0), q = 4 * ((top + y) * w + left + x0); x < x1; x++, p += 4, q += 4) {
            if (!pixels[p + 3]) continue;
            const a = (pixels[p + 3] * opacity) / 255;
            out[q] += (pixels[p] - out[q]) * a;
            out[q + 1] += (pixels[p + 1] - out[q + 1]) * a;
            out[q + 2] += (pixels[p + 2] - out[q + 2]) * a;
          }
      };
      const layers = [[], [], []]; // left out, controls, the others on top
      for (let i = 0; i < n; i++) layers[on[i] ? (styles[styleOf[i]].size < 1 ? 1 : 2) : 0].push(i);
      for (const i of layers[0]) stamp(styles.length, i, 0.25);
      for (const i of [...layers[1], ...layers[2]]) stamp(styleOf[i], i, 0.92);
      const pen = base.getContext("2d");
      pen.putImageData(frame, 0, 0);
      if (!data.maps[map].labels || moving) return;
      const [, , px, py] = place(map);
      pen.fillStyle = getComputedStyle(root).color;
      pen.font = `${11 * ratio}px system-ui, sans-serif`;
      for (const [name, x, y] of data.maps[map].labels)
        pen.fillText(name, (px(x) * view.k + view.x) * ratio, (py(y) * view.k + view.y - 4) * ratio);
    }
    function ring(i) {
      const pen = over.getContext("2d"), ink = getComputedStyle(root).color;
      pen.clearRect(0, 0, over.width, over.height);
      pen.strokeStyle = ink;
      if (drawing && drawing.corners.length > 1) {
        pen.lineWidth = 1.5 * ratio;
        pen.setLineDash([4 * ratio, 3 * ratio]);
        pen.beginPath();
        for (const [x, y] of drawing.corners) pen.lineTo(x * ratio, y * ratio);
        pen.closePath();
        pen.stroke();
        pen.setLineDash([]);
      }
      if (i < 0 || moving) return;
      const circle = (j, r, thick) => {
        pen.lineWidth = thick * ratio;
        pen.beginPath();
        pen.arc(X(j) * ratio, Y(j) * ratio, r * ratio, 0, 7);
        pen.stroke();
      };
      circle(i, radius + 4, 2);
      if (pinned) for (const j of near(i)) circle(j, radius + 2, 1);
      if (wells.kept() >= 0) circle(wells.kept(), radius + 7, 1.5);
    }

    // --- the card -----------------------------------------------------------------------------------
    function show(i, say = false) {
      current = i;
      ring(i);
      card.hidden = i < 0 || moving > 0;
      stage.dataset.current = i;
      if (card.hidden) return;
      if (card.dataset.well !== String(i)) fill(i);
      card.classList.toggle("cx-pinned", pinned);
      const [w, h] = [card.offsetWidth, card.offsetHeight], gap = radius + 12;
      card.style.left = `${X(i) + gap + w < width ? X(i) + gap : Math.max(0, X(i) - gap - w)}px`;
      card.style.top = `${Math.min(Math.max(0, Y(i) - h / 3), Math.max(0, height - h))}px`;
      if (say) spoken.textContent = columns.map((c) => `${c.name} ${value(c, i)}`).join(", ");
    }
    function fill(i) {
      card.dataset.well = i;
      card.replaceChildren();
      const picture = wells.picture(i, 256);
      if (picture) card.append(picture);
      const list = card.appendChild(make("dl"));
      for (const c of columns) list.append(make("dt", {}, c.name), make("dd", {}, value(c, i)));
    }
    function hold(i, still) { // pin a well, or let it go
      pinned = still && i >= 0;
      show(i, false);
      wells.show(pinned ? i : -1);
      remember();
    }
    function pin(i) { hold(i, true); go(i, true); }
    function nearest(x, y, reach) {
      const side = 32, key = (a, b) => Math.floor(a / side) * 4096 + Math.floor(b / side);
      if (!grid) {
        grid = new Map();
        for (let i = 0; i < n; i++) {
          if (!on[i]) continue;
          const k = key(X(i), Y(i));
          if (grid.has(k)) grid.get(k).push(i); else grid.set(k, [i]);
        }
      }
      let best = -1, least = reach * reach;
      for (const a of [-side, 0, side]) for (const b of [-side, 0, side])
        for (const i of grid.get(key(x + a, y + b)) || []) {
          const d = (X(i) - x) ** 2 + (Y(i) - y) ** 2;
          if (d <= least) [best, least] = [i, d];
        }
      return best;
    }
    function neighbour(dx, dy) { // nearest point in a direction; sideways counts double
      let best = -1, least = Infinity;
      const [x, y] = current < 0 ? [width / 2, height / 2] : [X(current), Y(current)];
      for (let i = 0; i < n; i++) {
        const along = (X(i) - x) * dx + (Y(i) - y) * dy;
        const cost = current < 0 ? Math.hypot(X(i) - x, Y(i) - y) : along + 2 * Math.abs((X(i) - x) * dy - (Y(i) - y) * dx);
        if (on[i] && (current < 0 || along > 0.5) && cost < least) [best, least] = [i, cost];
      }
      return best;
    }
    function go(i, say) {
      if (i < 0) return;
      if (X(i) < 0 || Y(i) < 0 || X(i) > width || Y(i) > height) look(view.k, width / 2 - bx[i] * view.k, height / 2 - by[i] * view.k);
      show(i, say);
      if (pinned) wells.show(i);
    }

    // --- legend, search, table ------------------------------------------------------------------------
    function filter() {
      const asks = menu("search").value.toLowerCase().split(/\s+/).filter(Boolean);
      const only = data.select ? menu("select").value : "", c = column(data.select), numbers = column(menu("color").value).numbers;
      let count = 0;
      for (let i = 0; i < n; i++) {
        on[i] = (!only || value(c, i) === only) && (!picked.size || picked.has(styleOf[i])) && (!lassoed.size || lassoed.has(i)) &&
          (!range || (numbers[i] !== null && numbers[i] >= range[0] && numbers[i] <= range[1])) && asks.every((w) => text[i].includes(w));
        count += on[i];
      }
      status.textContent = count < n ? `${count} of ${n} wells` : `${n} wells`;
      lassoButton.textContent = lassoed.size ? `Lasso: ${lassoed.size} ✕` : "Lasso";
      if (current >= 0 && !on[current]) hold(-1, false);
      if (!tableBox.hidden) list();
      refresh();
      remember();
    }
    function recolor() {
      picked = new Set();
      range = null;
      paint();
      const c = column(menu("color").value);
      legend.replaceChildren(...(c.numbers ? scale(c) : styles.map((s, k) => {
        const button = make("button", { type: "button", "aria-pressed": "false" });
        const mark = make("canvas", { width: 32, height: 32, "aria-hidden": "true" }), pen = mark.getContext("2d");
        outline(pen, s.shape, 16, 16, 13 * s.size);
        pen.fillStyle = s.color;
        pen.fill();
        button.append(mark, make("span", {}, s.name));
        button.addEventListener("click", () => {
          picked.has(k) ? picked.delete(k) : picked.add(k);
          button.setAttribute("aria-pressed", picked.has(k));
          filter();
        });
        return button;
      })));
      filter();
    }
    function scale(c) { // a bar of colours, and the ends of the numbers that are shown
      const [low, high] = c.range, strip = make("div", { class: "cx-ramp" });
      strip.style.background = `linear-gradient(to right, ${RAMP[theme()].join(", ")})`;
      const ends = ["from", "to"].map((name, k) => {
        const label = make("label", {}, `${name} `);
        const slider = label.appendChild(make("input", { type: "range", min: 0, max: 100, value: 100 * k, "aria-label": `${c.name} ${name}` }));
        label.append(make("output", {}, short(c.range[k])));
        slider.addEventListener("input", () => {
          const at = ends.map((end) => low + ((high - low) * end.querySelector("input").value) / 100);
          ends.forEach((end, e) => { end.querySelector("output").textContent = short(at[e]); });
          range = at[0] <= low && at[1] >= high ? null : at;
          filter();
        });
        return label;
      });
      return [make("p", { class: "cx-status" }, c.name), strip, ...ends];
    }
    const chosen = () => [...on.keys()].filter((i) => on[i]);
    function list() {
      const box = make("div", { class: "cpssl-scroll", role: "region", tabindex: 0, "aria-label": `${data.title} as a table` });
      const table = box.appendChild(make("table", { class: "cpssl-table" })), shown = chosen();
      const rest = shown.length > ROWS ? `, the first ${ROWS} are shown; search or select to see others` : "";
      table.append(make("caption", {}, `${data.title}: ${shown.length} wells${rest}`), make("thead"), make("tbody"));
      const head = table.tHead.insertRow();
      for (const c of columns) head.append(make("th", { scope: "col" }, c.name));
      for (const i of shown.slice(0, ROWS)) {
        const row = table.tBodies[0].insertRow(), first = row.appendChild(make("th", { scope: "row" }));
        first.appendChild(make("button", { type: "button", title: "Show on the map" }, value(columns[0], i)))
          .addEventListener("click", () => { pin(i); stage.scrollIntoView({ block: "center" }); stage.focus({ preventScroll: true }); });
        for (const c of columns.slice(1)) row.insertCell().textContent = value(c, i);
      }
      tableBox.replaceChildren(box);
    }
    function flip() {
      tableBox.hidden = !tableBox.hidden;
      toggle.setAttribute("aria-expanded", !tableBox.hidden);
      toggle.textContent = tableBox.hidden ? "Show as a table" : "Hide the table";
      if (!tableBox.hidden) list();
    }
    function save() { // numbers in full; what a spreadsheet would run as a formula is kept as text
      const quote = (v) => `"${String(v ?? "").replace(/^([=+@\t\r]|-(?![\d.]))/, "'$1").replaceAll('"', '""')}"`;
      const full = (c, i) => (c.numbers ? c.numbers[i] : value(c, i));
      const lines = [columns.map((c) => quote(c.name)), ...chosen().map((i) => columns.map((c) => quote(full(c, i))))];
      const link = make("a", { href: URL.createObjectURL(new Blob([lines.map((l) => l.join(",")).join("\r\n") + "\r\n"], { type: "text/csv" })), download: "wells.csv" });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    }

    // --- a link to the view ---------------------------------------------------------------------------
    let restoring = true;
    function remember() {
      if (restoring || order > 0) return;
      const now = new URLSearchParams();
      const add = (name, v) => { if (v !== "" && v !== undefined) now.set(name, v); };
      add("map", map ? data.maps[map].name : "");
      add("color", menu("color").selectedIndex ? menu("color").value : "");
      add("select", data.select ? menu("select").value : "");
      add("search", menu("search").value);
      add("legend", [...picked].join("."));
      add("range", range ? range.map((v) => +v.toPrecision(6)).join("_") : "");
      add("zoom", view.k > 1 ? [view.k, -view.x / width, -view.y / height].map((v) => +v.toFixed(4)).join("_") : "");
      add("well", pinned ? current : "");
      add("wells", lassoed.size && lassoed.size <= LISTED ? [...lassoed].map((i) => i.toString(36)).join(".") : "");
      for (const [name, v] of wells.state()) add(name, v);
      const hash = now.toString();
      if (hash || location.hash.startsWith(`#${MARK}`)) history.replaceState(null, "", `#${hash ? MARK + hash : ""}`);
    }
    function restore() {
      if (order > 0 || !location.hash.startsWith(`#${MARK}`)) return;
      const then = new URLSearchParams(location.hash.slice(1 + MARK.length)), get = (name) => then.get(name) || "";
      const has = (name, v) => [...menu(name).options].some((option) => option.value === v);
      restoring = true;
      const which = data.maps.findIndex((m) => m.name === get("map"));
      map = Math.max(which, 0);
      if (data.maps[map].near) features = map;
      menu("map").value = String(map);
      menu("color").value = has("color", get("color")) ? get("color") : menu("color").options[0].value;
      if (data.select) menu("select").value = has("select", get("select")) ? get("select") : "";
      menu("search").value = get("search");
      [bx, by] = place(map);
      recolor();
      lassoed = new Set(get("wells").split(".").filter(Boolean).map((v) => parseInt(v, 36)).filter((i) => i >= 0 && i < n));
      for (const k of get("legend").split(".").filter(Boolean)) legend.children[k]?.click?.();
      const sliders = legend.querySelectorAll("input"), ends = get("range").split("_").map(Number), c = column(menu("color").value);
      if (sliders.length && ends.length === 2 && ends.every(Number.isFinite))
        sliders.forEach((slider, e) => {
          slider.value = (100 * (ends[e] - c.range[0])) / (c.range[1] - c.range[0] || 1);
          slider.dispatchEvent(new Event("input"));
        });
      const [k, x, y] = get("zoom").split("_").map(Number);
      if (k > 1 && k <= 30 && Number.isFinite(x) && Number.isFinite(y)) look(k, -x * width, -y * height); else look(1, 0, 0);
      wells.restore(then);
      filter();
      const well = then.has("well") ? Number(then.get("well")) : -1;
      hold(Number.isInteger(well) && well >= 0 && well < n ? well : -1, true);
      restoring = false;
    }
    async function copy() {
      remember();
      if (!location.hash) history.replaceState(null, "", `#${MARK}`);
      const button = actions.querySelector(".cx-link");
      try {
        await navigator.clipboard.writeText(location.href);
        button.textContent = "Link copied";
      } catch { button.textContent = "The link is in the address bar"; }
      setTimeout(() => { button.textContent = "Copy a link to this view"; }, 2500);
    }
    menu("map").addEventListener("change", () => moveTo(Number(menu("map").value)));
    menu("color").addEventListener("change", recolor);
    menu("search").addEventListener("input", filter);
    if (data.select) menu("select").addEventListener("change", filter);
    lassoButton.addEventListener("click", () => {
      if (lassoed.size) { lassoed = new Set(); filter(); return; }
      const active = lassoButton.getAttribute("aria-pressed") !== "true";
      lassoButton.setAttribute("aria-pressed", active);
      stage.classList.toggle("cx-drawing", active);
    });

    // --- mouse, touch, keys -------------------------------------------------------------------------
    let down = null, pinch = null;
    const fingers = new Map();
    const spot = (event) => { const box = stage.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
    const spread = () => {
      const [[ax, ay], [bx_, by_]] = [...fingers.values()];
      return [Math.hypot(ax - bx_, ay - by_), (ax + bx_) / 2, (ay + by_) / 2];
    };
    stage.addEventListener("pointermove", (event) => {
      const [x, y] = spot(event);
      if (fingers.has(event.pointerId)) fingers.set(event.pointerId, [x, y]);
      if (pinch && fingers.size === 2) {
        const [apart, cx, cy] = spread(), k = Math.min(30, Math.max(1, (pinch.k * apart) / pinch.apart)), f = k / pinch.k;
        look(k, cx - (pinch.cx - pinch.x) * f, cy - (pinch.cy - pinch.y) * f);
        return;
      }
      if (drawing) { drawing.corners.push([x, y]); ring(current); return; }
      if (down && Math.hypot(x - down.x, y - down.y) > 4) down.dragged = true;
      if (down && down.dragged && view.k > 1) look(view.k, down.vx + x - down.x, down.vy + y - down.y);
      else if (!down && !moving && !pinned && event.pointerType === "mouse") show(zoomBar.contains(event.target) ? -1 : nearest(x, y, 14));
    });
    stage.addEventListener("pointerdown", (event) => {
      if (zoomBar.contains(event.target)) return;
      const [x, y] = spot(event);
      if (event.pointerType === "touch") fingers.set(event.pointerId, [x, y]);
      if (fingers.size === 2) {
        const [apart, cx, cy] = spread();
        [down, drawing, pinch] = [null, null, { apart: Math.max(apart, 1), cx, cy, ...view }];
        return;
      }
      if (stage.classList.contains("cx-drawing")) {
        drawing = { corners: [[x, y]] };
        stage.setPointerCapture(event.pointerId);
        return;
      }
      down = { x, y, vx: view.x, vy: view.y, dragged: false };
      if (view.k > 1) stage.setPointerCapture(event.pointerId);
    });
    stage.addEventListener("pointerup", (event) => {
      fingers.delete(event.pointerId);
      if (pinch) { if (!fingers.size) pinch = null; return; }
      if (drawing) {
        const { corners } = drawing;
        drawing = null;
        for (let i = 0; i < n; i++) if (on[i] && inside(X(i), Y(i), corners)) lassoed.add(i);
        lassoButton.setAttribute("aria-pressed", "false"); // the mode ends, what it caught stays
        stage.classList.remove("cx-drawing");
        filter();
        return;
      }
      if (down && !down.dragged) {
        const hit = nearest(down.x, down.y, event.pointerType === "mouse" ? 14 : 28);
        hold(hit, hit >= 0 && !(pinned && hit === current));
      }
      down = null;
    });
    stage.addEventListener("pointercancel", (event) => { fingers.delete(event.pointerId); [down, drawing, pinch] = [null, null, null]; });
    stage.addEventListener("touchstart", (event) => { if (event.touches.length > 1) event.preventDefault(); }, { passive: false });
    stage.addEventListener("pointerleave", (event) => { if (!pinned && event.pointerType === "mouse") show(-1); });
    stage.addEventListener("wheel", (event) => { // with ctrl (a pinch on a trackpad); without, the page scrolls
      if (!event.ctrlKey) return;
      event.preventDefault();
      zoom(Math.exp(-event.deltaY / 200), ...spot(event));
    }, { passive: false });
    stage.addEventListener("keydown", (event) => {
      if (event.target !== stage || event.ctrlKey || event.metaKey || event.altKey) return;
      const keys = {
        ArrowRight: () => go(neighbour(1, 0), true), ArrowLeft: () => go(neighbour(-1, 0), true),
        ArrowDown: () => go(neighbour(0, 1), true), ArrowUp: () => go(neighbour(0, -1), true),
        Enter: () => hold(current, !pinned),
        " ": () => { if (current >= 0) { lassoed.delete(current) || lassoed.add(current); lassoButton.textContent = `Lasso: ${lassoed.size} ✕`; } },
        Escape: () => { lassoed = new Set(); hold(-1, false); filter(); },
        "+": () => zoom(1.6), "=": () => zoom(1.6), "-": () => zoom(1 / 1.6), 0: () => zoom(0),
      };
      if (!keys[event.key]) return;
      event.preventDefault();
      keys[event.key]();
    });

    new ResizeObserver(resize).observe(stage);
    const restyle = () => {
      const kept = picked, between = range;
      recolor();
      [...kept].forEach((k) => legend.children[k].click());
      if (between) { range = between; filter(); }
    };
    new MutationObserver(restyle).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", restyle);
    addEventListener("hashchange", restore);
    paint();
    resize();
    recolor();
    restore();
    restoring = false;
    root.explorer = { at: (i) => [X(i), Y(i)], draw }; // for tests and the curious
    root.classList.add("cx-ready");
  }

  const begin = () => document.querySelectorAll(".cpssl-explorer").forEach(start);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();
})();
