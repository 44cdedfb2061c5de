// Three things to try in the page (cpssl_lite/book/live.py): move a hit, slide epsilon, step up the ladder.
"use strict";
(() => {
  let count = 0; // of names that a page may have once only
  const SVG = "http://www.w3.org/2000/svg";
  const make = (tag, attributes = {}, text) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    if (text !== undefined) node.textContent = text; // never HTML: tables may hold anything
    return node;
  };
  const draw = (tag, attributes) => {
    const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    return node;
  };

  function strip(root, data, told) {
    const hits = [...data.hits], n = hits.length;
    let held = -1; // the hit that was picked up
    const row = root.appendChild(make("div", { class: "lv-strip", role: "group", "aria-label": "Ranking, most alike first" }));
    row.style.setProperty("--lv-n", n);
    const places = hits.map((_, i) => {
      const button = row.appendChild(make("button", { type: "button" }));
      button.append(make("b"), make("span"));
      button.addEventListener("click", () => {
        if (held < 0) { if (hits[i]) held = i; } else { if (i !== held) move(held, i); held = -1; }
        show();
      });
      button.addEventListener("keydown", (event) => {
        const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key], to = i + step;
        if (!step || to < 0 || to >= n) return;
        event.preventDefault();
        if (hits[i]) { move(i, to); held = -1; show(); }
        places[to].focus();
      });
      return button;
    });
    const how = root.appendChild(make("p", { class: "lv-how" }, "Press a filled place, then where it should go; or walk with the arrow keys, which take a hit along."));
    how.id = `lv-${++count}`;
    row.setAttribute("aria-describedby", how.id);
    function move(from, to) { hits.splice(to, 0, hits.splice(from, 1)[0]); }
    function show() {
      let right = 0, sum = 0;
      const parts = [];
      places.forEach((button, i) => {
        if (hits[i]) { right++; sum += right / (i + 1); parts.push(`${right}/${i + 1}`); }
        button.className = hits[i] ? "lv-hit" : "";
        button.setAttribute("aria-pressed", i === held);
        button.setAttribute("aria-label", `place ${i + 1}, ${hits[i] ? `right, ${right} of ${i + 1}` : "wrong"}`);
        button.firstChild.textContent = i + 1;
        button.lastChild.textContent = hits[i] ? `${right}/${i + 1}` : "";
      });
      told.textContent = `Average precision = (${parts.join(" + ")}) / ${right} = ${(sum / right).toFixed(3)}`;
    }
    show();
  }

  function spread(root, data, told) {
    // Controls are standardised, so their correlation matrix has the diagonals as eigenvectors.
    const [small, large] = data.values, sign = data.points.reduce((s, [a, b], i) => s + (data.controls[i] ? a * b : 0), 0) < 0 ? -1 : 1;
    const label = root.appendChild(make("label", { class: "lv-slide" }, "epsilon "));
    const slider = label.appendChild(make("input", { type: "range", min: -6, max: 1, step: 0.1, value: Math.log10(data.epsilon) }));
    const shown = label.appendChild(make("output"));
    const size = 220, picture = root.appendChild(draw("svg", { viewBox: `0 0 ${size} ${size}`, class: "lv-cloud", role: "img" }));
    picture.append(draw("path", { d: `M0 ${size / 2}H${size}M${size / 2} 0V${size}`, class: "lv-axis" }));
    const dots = data.points.map((_, i) => picture.appendChild(draw("circle", { r: data.controls[i] ? 2.5 : 4, class: data.controls[i] ? "lv-control" : "lv-treated" })));
    const away = (list) => Math.sqrt(list.reduce((s, [x, y]) => s + x * x + y * y, 0) / Math.max(list.length, 1));
    function show() {
      const e = 10 ** slider.value, wide = 1 / Math.sqrt(Math.max(large, e)), narrow = 1 / Math.sqrt(Math.max(small, e));
      const sphered = data.points.map(([a, b]) => {
        const u = ((a + sign * b) / 2) * wide, v = ((a - sign * b) / 2) * narrow;
        return [u + v, sign * (u - v)];
      });
      const far = Math.max(3, ...sphered.flat().map(Math.abs)), scale = (size / 2 - 6) / far;
      dots.forEach((dot, i) => {
        dot.setAttribute("cx", size / 2 + sphered[i][0] * scale);
        dot.setAttribute("cy", size / 2 - sphered[i][1] * scale);
      });
      const ratio = away(sphered.filter((_, i) => !data.controls[i])) / away(sphered.filter((_, i) => data.controls[i]));
      shown.textContent = e < 0.001 ? e.toExponential(0) : e.toPrecision(2);
      const text = `The narrow direction is stretched ${narrow.toPrecision(3)}-fold, the wide one ${wide.toPrecision(3)}-fold. ` +
        `Treated wells lie ${ratio.toPrecision(3)} times as far from the centre as controls.`;
      told.textContent = text;
      picture.setAttribute("aria-label", `Controls and treated wells, sphered. ${text}`);
      slider.setAttribute("aria-valuetext", shown.textContent);
    }
    slider.addEventListener("input", show);
    show();
  }

  function rungs(root, data, told) {
    const name = `lv-${++count}`;
    const set = root.appendChild(make("fieldset", { class: "lv-rungs" }));
    set.append(make("legend", {}, "The neighbour must come from"));
    data.rungs.forEach((rung, k) => {
      const label = set.appendChild(make("label"));
      const radio = label.appendChild(make("input", { type: "radio", name, value: k }));
      radio.checked = k === 0;
      radio.addEventListener("change", () => show(k));
      label.append(rung.name);
    });
    const box = root.appendChild(make("div", { class: "cpssl-scroll", role: "region", tabindex: 0, "aria-label": "Nearest wells of one well" }));
    const table = box.appendChild(make("table", { class: "cpssl-table lv-near" }));
    table.append(make("caption", {}, `Nearest wells of ${data.query.join(", ")}`), make("thead"), make("tbody"));
    const head = table.tHead.insertRow();
    for (const text of ["Place", ...data.columns, "Here"]) head.append(make("th", { scope: "col" }, text));
    const rows = data.wells.map((well) => {
      const row = table.tBodies[0].insertRow();
      row.append(make("th", { scope: "row" }, well.place));
      for (const value of well.values) row.insertCell().textContent = value;
      row.insertCell();
      return row;
    });
    function show(k) {
      const first = data.wells.findIndex((well) => !well.out[k]);
      rows.forEach((row, i) => {
        const well = data.wells[i];
        row.className = well.out[k] ? "lv-out" : i === first ? (well.right ? "lv-right" : "lv-wrong") : "";
        row.lastChild.textContent = well.out[k] ? "left out" : i === first ? (well.right ? "nearest: right" : "nearest: wrong") : "";
      });
      const { recall } = data.rungs[k];
      told.textContent = recall === null ? "Nobody is left for any well." : `Over all wells the nearest one is right in ${(100 * recall).toFixed(1)}%.`;
    }
    show(0);
  }

  const kinds = { strip, spread, rungs };
  const begin = () => document.querySelectorAll(".cpssl-live").forEach((root) => {
    const told = root.querySelector(".lv-told");
    const data = JSON.parse(root.querySelector("script").textContent);
    told.setAttribute("role", "status");
    kinds[root.dataset.kind](root, data, told);
    root.append(told); // below what moves it
    root.classList.add("lv-ready");
  });
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();
})();
