// What the explorer (explorer.js) shows of single wells: pictures by stain, neighbours, two wells side by side.
"use strict";
window.cpsslWells = (root, { data, n, columns, value, make, near, go, features, changed }) => {
  const CONTROLS = 6; // of a plate, at most, beside a well
  const names = data.channels.map((c) => c.name), off = new Set();
  let shown = -1, kept = -1, controls = false;

  // --- pictures: a grey sheet per plate and stain, coloured and added up here --------------------------
  const sheets = data.sheets.map((s) => ({ ...s, images: null }));
  const slots = new Map();
  sheets.forEach((s, k) => s.wells.forEach((well, slot) => slots.set(well, [k, slot])));
  function decoded(s) { // when first needed
    s.images ??= Promise.all(s.src.map((src) => { const image = new Image(); image.src = src; return image.decode().then(() => image); }));
    return s.images;
  }
  async function draw(canvas) {
    const well = Number(canvas.dataset.picture), [k, slot] = slots.get(well), s = sheets[k];
    const images = await decoded(s);
    if (Number(canvas.dataset.picture) !== well) return; // another well came meanwhile
    const size = images[0].naturalWidth / s.columns, small = make("canvas", { width: size, height: size });
    const pen = small.getContext("2d", { willReadFrequently: true }), sum = new Float32Array(3 * size * size);
    const on = names.filter((name) => !off.has(name));
    images.forEach((image, c) => {
      if (off.has(names[c])) return;
      pen.drawImage(image, (slot % s.columns) * size, Math.floor(slot / s.columns) * size, size, size, 0, 0, size, size);
      const grey = pen.getImageData(0, 0, size, size).data;
      const color = on.length === 1 ? [1, 1, 1] : data.channels[c].color; // one stain alone is clearest in grey
      for (let p = 0; p < size * size; p++) for (let b = 0; b < 3; b++) sum[3 * p + b] += grey[4 * p] * color[b];
    });
    const out = pen.createImageData(size, size);
    for (let p = 0; p < size * size; p++) {
      for (let b = 0; b < 3; b++) out.data[4 * p + b] = sum[3 * p + b]; // clamped by its type
      out.data[4 * p + 3] = 255;
    }
    pen.putImageData(out, 0, 0);
    canvas.getContext("2d").drawImage(small, 0, 0, canvas.width, canvas.height);
    canvas.dataset.drawn = [...off].join(" ") || "all";
  }
  function picture(i, size) {
    if (!slots.has(i)) return null;
    const canvas = make("canvas", { width: size, height: size, role: "img", "data-picture": i, "aria-label": `Field of well ${value(columns[0], i)}` });
    draw(canvas);
    return canvas;
  }

  // --- the panel below the map -----------------------------------------------------------------------
  const panel = make("section", { class: "cx-panel", hidden: "", "aria-label": "The pinned well" });
  const tools = panel.appendChild(make("div", { class: "cx-tools" }));
  if (sheets.length) {
    const set = tools.appendChild(make("fieldset", { class: "cx-stains" }));
    set.append(make("legend", {}, "Stains"));
    for (const { name, color } of data.channels) {
      const label = set.appendChild(make("label")), box = label.appendChild(make("input", { type: "checkbox", value: name }));
      box.checked = true;
      box.addEventListener("change", () => { box.checked ? off.delete(name) : off.add(name); redraw(); changed(); });
      const dot = label.appendChild(make("i", { "aria-hidden": "true" }));
      dot.style.background = `rgb(${color.map((v) => Math.round(255 * v)).join(",")})`;
      label.append(name);
    }
  }
  const button = (text, name, does) => {
    const made = tools.appendChild(make("button", { type: "button", class: name, "aria-pressed": "false" }, text));
    made.addEventListener("click", () => { does(); show(shown); changed(); });
    return made;
  };
  const keep = button("Keep this well beside", "cx-keep", () => { kept = kept < 0 ? shown : -1; controls = false; });
  const others = button("Beside its plate's controls", "cx-controls", () => { controls = !controls; kept = -1; });
  const pair = panel.appendChild(make("div", { class: "cx-pair" }));
  const nearBox = panel.appendChild(make("div", { class: "cx-near" }));
  const dialog = panel.appendChild(make("dialog", { class: "cx-large", "aria-label": "A larger picture" }));
  dialog.addEventListener("click", () => dialog.close());

  function redraw() { for (const canvas of root.querySelectorAll("canvas[data-picture]")) draw(canvas); }
  function figure(i, title) {
    const made = make("figure"), image = picture(i, 320);
    made.append(make("p", { class: "cx-which" }, title));
    if (image) {
      made.append(image);
      const larger = made.appendChild(make("button", { type: "button", class: "cx-larger" }, "Larger"));
      larger.addEventListener("click", () => {
        dialog.replaceChildren(picture(i, 768), make("button", { type: "button" }, "Close"));
        dialog.showModal();
      });
    }
    const list = made.appendChild(make("dl"));
    for (const c of columns) list.append(make("dt", {}, c.name), make("dd", {}, value(c, i)));
    return made;
  }
  function small(i) {
    const made = make("button", { type: "button", title: "Show this well" }), image = picture(i, 128);
    if (image) made.append(image);
    made.append(make("span", {}, columns.slice(0, 2).map((c) => value(c, i)).join(" ")));
    made.addEventListener("click", () => go(i));
    return made;
  }
  function controlsOf(i) { // spread over the plate, not its first rows only
    const plate = columns.find((c) => c.name === data.plate);
    if (!plate) return [];
    const all = data.controls.filter((j) => j !== i && value(plate, j) === value(plate, i));
    return all.filter((_, k) => Math.floor((k * CONTROLS) / all.length) !== Math.floor(((k - 1) * CONTROLS) / all.length) || k === 0);
  }
  function show(i) {
    shown = i;
    panel.hidden = i < 0;
    keep.setAttribute("aria-pressed", kept >= 0);
    keep.textContent = kept >= 0 ? "Let the kept well go" : "Keep this well beside";
    others.setAttribute("aria-pressed", controls);
    if (i < 0) return;
    others.hidden = !controlsOf(i).length;
    pair.replaceChildren(figure(i, "Pinned"));
    if (kept >= 0 && kept !== i) pair.append(figure(kept, "Kept"));
    if (controls && !others.hidden) {
      const box = pair.appendChild(make("figure"));
      box.append(make("p", { class: "cx-which" }, "Controls of its plate"));
      box.appendChild(make("div", { class: "cx-row" })).append(...controlsOf(i).map(small));
    }
    const close = near(i);
    nearBox.replaceChildren();
    if (!close.length) return;
    nearBox.append(make("p", { class: "cx-which" }, `Nearest in the features of ${features()}`));
    nearBox.appendChild(make("div", { class: "cx-row" })).append(...close.map(small));
  }
  return {
    panel, picture, show,
    kept: () => kept,
    state: () => [["off", [...off].join(".")], ["beside", kept < 0 ? "" : kept], ["controls", controls ? 1 : ""]],
    restore(then) {
      off.clear();
      for (const name of (then.get("off") || "").split(".")) if (names.includes(name)) off.add(name);
      for (const box of tools.querySelectorAll("input")) box.checked = !off.has(box.value);
      const beside = then.has("beside") ? Number(then.get("beside")) : -1;
      kept = Number.isInteger(beside) && beside < n ? beside : -1;
      controls = then.get("controls") === "1";
      redraw();
    },
  };
};
