// The explorer: draws the wells that cpssl_lite/book/explorer.py wrote into the page.
// No server, no library: two canvases (points; the current point), a card, a legend, a table.
"use strict";
(() => {
  // Okabe and Ito's colours, some shifted so that each keeps 3:1 against the page.
  const COLORS = {
    light: ["#0072B2", "#D55E00", "#009E73", "#C45C9B", "#B67D00", "#2F9BD6", "#7B4EA3", "#6B5A2A"],
    dark: ["#4DA3DB", "#F0793A", "#2DBF97", "#E08FBF", "#EDB13B", "#8CCBF2", "#B08FDB", "#C2A86B"],
  };
  const GREY = { light: "#8A949E", dark: "#7E8994" };
  const SHAPES = ["circle", "square", "up", "diamond", "down", "plus", "cross", "star"];
  const ROWS = 200; // of the table
  const quiet = matchMedia("(prefers-reduced-motion: reduce)");

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

  function start(root) {
    const data = JSON.parse(root.querySelector("script").textContent);
    const n = Number(root.dataset.n), columns = data.columns;
    const column = (name) => columns.find((c) => c.name === name);
    const value = (c, i) => c.values[c.codes[i]];
    const text = Array.from({ length: n }, (_, i) => columns.map((c) => value(c, i)).join(" ").toLowerCase());
    const menu = (name) => root.querySelector(`[name=${name}]`);
    const radius = n > 3000 ? 3 : n > 1000 ? 4 : 5.5;

    // --- what the page gets on top of the menus -----------------------------------------------
    const main = root.appendChild(make("div", { class: "cx-main" }));
    const stage = main.appendChild(make("div", {
      class: "cx-stage", tabindex: 0, role: "application",
      "aria-label": `${data.title}: ${n} points. Arrow keys go from point to point, Enter pins, ` +
        "plus and minus zoom, 0 shows all, Escape clears.",
    }));
    const base = stage.appendChild(make("canvas", { "aria-hidden": "true" }));
    const over = stage.appendChild(make("canvas", { "aria-hidden": "true" }));
    const zoomBar = stage.appendChild(make("div", { class: "cx-zoom" }));
    for (const [sign, name, factor] of [["+", "Zoom in", 1.6], ["−", "Zoom out", 1 / 1.6], ["⤢", "Show all", 0]]) {
      const button = zoomBar.appendChild(make("button", { type: "button", "aria-label": name, title: name }, sign));
      button.addEventListener("click", () => zoom(factor));
    }
    const card = main.appendChild(make("div", { class: "cx-card", hidden: "" }));
    const side = main.appendChild(make("div", { class: "cx-side" }));
    const status = side.appendChild(make("p", { class: "cx-status", role: "status" }));
    const legend = side.appendChild(make("div", { class: "cx-legend", role: "group", "aria-label": "Legend" }));
    const spoken = root.appendChild(make("p", { class: "cx-spoken", "aria-live": "polite" }));
    const toggle = root.appendChild(make("button", { type: "button", class: "cx-toggle", "aria-expanded": "false" }, "Show as a table"));
    const tableBox = root.appendChild(make("div", { hidden: "" }));

    // --- state ----------------------------------------------------------------------------------
    let width = 0, height = 0, ratio = 1, map = 0;
    let bx = new Float32Array(n), by = new Float32Array(n); // where points lie before zooming
    let view = { k: 1, x: 0, y: 0 }, styles = [], styleOf = [], stamps = [], ground, frame, grid = null;
    let on = new Uint8Array(n).fill(1), filtered = false, picked = new Set();
    let current = -1, pinned = false, moving = 0, asked = 0;
    const sheets = data.sheets.map((s) => ({ ...s, image: null }));
    const thumb = new Map();
    sheets.forEach((s, k) => s.wells.forEach((well, slot) => thumb.set(well, [k, slot])));
    const X = (i) => bx[i] * view.k + view.x, Y = (i) => by[i] * view.k + view.y;
    const theme = () => (getComputedStyle(root).getPropertyValue("--cx-dark").trim() === "1" ? "dark" : "light");

    // --- where points lie -------------------------------------------------------------------------
    function place(which) {
      const { x, y } = data.maps[which], pad = 18;
      const [x0, x1, y0, y1] = [x, y].flatMap((v) => [v.reduce((a, b) => Math.min(a, b)), v.reduce((a, b) => Math.max(a, b))]);
      const scale = Math.min((width - 2 * pad) / (x1 - x0 || 1), (height - 2 * pad) / (y1 - y0 || 1));
      return [
        Float32Array.from(x, (v) => width / 2 + (v - (x0 + x1) / 2) * scale),
        Float32Array.from(y, (v) => height / 2 - (v - (y0 + y1) / 2) * scale),
      ];
    }
    function moveTo(which) {
      const [ax, ay] = [bx, by], [tx, ty] = place(which), began = performance.now();
      map = which;
      cancelAnimationFrame(moving);
      const step = (now) => {
        const t = quiet.matches ? 1 : Math.min(1, (now - began) / 700), e = t * t * (3 - 2 * t);
        bx = ax.map((v, i) => v + (tx[i] - v) * e);
        by = ay.map((v, i) => v + (ty[i] - v) * e);
        grid = null;
        draw();
        moving = t < 1 ? requestAnimationFrame(step) : 0;
        if (!moving) show(current);
      };
      moving = requestAnimationFrame(step);
    }
    function resize() {
      if (stage.clientWidth === width && stage.clientHeight === height) return;
      [width, height, ratio] = [stage.clientWidth, stage.clientHeight, Math.min(devicePixelRatio || 1, 2)];
      for (const canvas of [base, over]) [canvas.width, canvas.height] = [width * ratio, height * ratio];
      [bx, by] = place(map);
      view = { k: 1, x: 0, y: 0 };
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
    }
    function refresh() {
      grid = null;
      if (!asked) asked = requestAnimationFrame(() => { asked = 0; draw(); show(current); });
    }

    // --- drawing ------------------------------------------------------------------------------------
    function paint() { // styles of the colour column, and the pixels of a stamp for each
      const c = column(menu("color").value), colors = COLORS[theme()], grey = GREY[theme()];
      let k = 0;
      styles = c.values.map((name) => data.grey.includes(name)
        ? { name, color: grey, shape: "circle", size: 0.75 }
        : { name, color: colors[k % 8], shape: SHAPES[Math.floor(k++ / 8) % 8], size: 1 });
      styleOf = c.codes;
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
      base.getContext("2d").putImageData(frame, 0, 0);
    }
    function ring(i) {
      const pen = over.getContext("2d"), ink = getComputedStyle(root).color;
      pen.clearRect(0, 0, over.width, over.height);
      if (i < 0 || moving) return;
      pen.strokeStyle = ink;
      pen.lineWidth = 2 * ratio;
      pen.beginPath();
      pen.arc(X(i) * ratio, Y(i) * ratio, (radius + 4) * ratio, 0, 7);
      pen.stroke();
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
      if (thumb.has(i)) {
        const [k, slot] = thumb.get(i), s = sheets[k];
        const canvas = card.appendChild(make("canvas", { width: 256, height: 256, role: "img", "aria-label": `Field of well ${value(columns[0], i)}` }));
        const crop = () => {
          const size = s.image.naturalWidth / s.columns;
          canvas.getContext("2d").drawImage(s.image, (slot % s.columns) * size, Math.floor(slot / s.columns) * size, size, size, 0, 0, 256, 256);
        };
        if (!s.image) (s.image = new Image()).src = s.src; // decoded when first needed
        if (s.image.complete && s.image.naturalWidth) crop();
        else s.image.addEventListener("load", crop);
      }
      const list = card.appendChild(make("dl"));
      for (const c of columns) list.append(make("dt", {}, c.name), make("dd", {}, value(c, i)));
    }
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
    }

    // --- legend, search, table ------------------------------------------------------------------------
    function filter() {
      const words = menu("search").value.toLowerCase().split(/\s+/).filter(Boolean);
      const only = data.select ? menu("select").value : "", c = column(data.select);
      let count = 0;
      for (let i = 0; i < n; i++) {
        on[i] = (!only || value(c, i) === only) && (!picked.size || picked.has(styleOf[i])) && words.every((w) => text[i].includes(w));
        count += on[i];
      }
      filtered = count < n;
      status.textContent = filtered ? `${count} of ${n} wells` : `${n} wells`;
      if (current >= 0 && !on[current]) { pinned = false; show(-1); }
      if (!tableBox.hidden) list();
      refresh();
    }
    function recolor() {
      picked = new Set();
      paint();
      legend.replaceChildren(...styles.map((s, k) => {
        const button = make("button", { type: "button", "aria-pressed": "false" });
        const svg = make("canvas", { width: 32, height: 32, "aria-hidden": "true" }), pen = svg.getContext("2d");
        outline(pen, s.shape, 16, 16, 13 * s.size);
        pen.fillStyle = s.color;
        pen.fill();
        button.append(svg, make("span", {}, s.name));
        button.addEventListener("click", () => {
          picked.has(k) ? picked.delete(k) : picked.add(k);
          button.setAttribute("aria-pressed", picked.has(k));
          filter();
        });
        return button;
      }));
      filter();
    }
    function list() {
      const box = make("div", { class: "cpssl-scroll", role: "region", tabindex: 0, "aria-label": `${data.title} as a table` });
      const table = box.appendChild(make("table", { class: "cpssl-table" }));
      const shown = [...on.keys()].filter((i) => on[i]);
      const rest = shown.length > ROWS ? `, the first ${ROWS} are shown; search or select to see others` : "";
      table.append(make("caption", {}, `${data.title}: ${shown.length} wells${rest}`), make("thead"), make("tbody"));
      const head = table.tHead.insertRow();
      for (const c of columns) head.append(make("th", { scope: "col" }, c.name));
      for (const i of shown.slice(0, ROWS)) {
        const row = table.tBodies[0].insertRow(), first = row.appendChild(make("th", { scope: "row" }));
        first.appendChild(make("button", { type: "button", title: "Show on the map" }, value(columns[0], i)))
          .addEventListener("click", () => { pinned = true; go(i, true); stage.scrollIntoView({ block: "center" }); stage.focus({ preventScroll: true }); });
        for (const c of columns.slice(1)) row.insertCell().textContent = value(c, i);
      }
      tableBox.replaceChildren(box);
    }
    toggle.addEventListener("click", () => {
      tableBox.hidden = !tableBox.hidden;
      toggle.setAttribute("aria-expanded", !tableBox.hidden);
      toggle.textContent = tableBox.hidden ? "Show as a table" : "Hide the table";
      if (!tableBox.hidden) list();
    });
    menu("map").addEventListener("change", () => moveTo(Number(menu("map").value)));
    menu("color").addEventListener("change", recolor);
    menu("search").addEventListener("input", filter);
    if (data.select) menu("select").addEventListener("change", filter);

    // --- mouse, touch, keys -------------------------------------------------------------------------
    let down = null;
    const spot = (event) => { const box = stage.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
    stage.addEventListener("pointermove", (event) => {
      const [x, y] = spot(event);
      if (down && Math.hypot(x - down.x, y - down.y) > 4) down.dragged = true;
      if (down && down.dragged && view.k > 1) look(view.k, down.vx + x - down.x, down.vy + y - down.y);
      else if (!down && !moving && !pinned && event.pointerType === "mouse") show(zoomBar.contains(event.target) ? -1 : nearest(x, y, 14));
    });
    stage.addEventListener("pointerdown", (event) => {
      if (zoomBar.contains(event.target)) return;
      const [x, y] = spot(event);
      down = { x, y, vx: view.x, vy: view.y, dragged: false };
      if (view.k > 1) stage.setPointerCapture(event.pointerId);
    });
    stage.addEventListener("pointerup", (event) => {
      if (down && !down.dragged) {
        const hit = nearest(down.x, down.y, event.pointerType === "mouse" ? 14 : 28);
        pinned = hit >= 0 && !(pinned && hit === current);
        show(hit);
      }
      down = null;
    });
    stage.addEventListener("pointercancel", () => { down = null; });
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
        Enter: () => { pinned = current >= 0 && !pinned; show(current); },
        Escape: () => { pinned = false; show(-1); },
        "+": () => zoom(1.6), "=": () => zoom(1.6), "-": () => zoom(1 / 1.6), 0: () => zoom(0),
      };
      if (!keys[event.key]) return;
      event.preventDefault();
      keys[event.key]();
    });

    new ResizeObserver(resize).observe(stage);
    const restyle = () => { const kept = picked; recolor(); [...kept].forEach((k) => legend.children[k].click()); };
    new MutationObserver(restyle).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", restyle);
    paint();
    resize();
    recolor();
    root.explorer = { at: (i) => [X(i), Y(i)], draw }; // for tests and the curious
    root.classList.add("cx-ready");
  }

  const begin = () => document.querySelectorAll(".cpssl-explorer").forEach(start);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();
})();
