// A link into a folded part opens it; newer browsers do so by themselves.
(() => {
  const open = () => {
    const id = decodeURIComponent(location.hash.slice(1));
    const target = id && document.getElementById(id);
    if (!target) return;
    let fold = target.closest("details:not([open])");
    if (!fold) return;
    for (; fold; fold = fold.parentElement.closest("details")) fold.open = true;
    target.scrollIntoView();
  };
  window.addEventListener("hashchange", open);
  window.addEventListener("DOMContentLoaded", open);
})();

// A box that hides a part of its table says so, as a figure on a phone does (cpssl.css).
(() => {
  const boxes = () => document.querySelectorAll(".cpssl-scroll, .pst-scrollable-table-container");
  const mark = (box) => box.classList.toggle("cpssl-wider", box.scrollWidth > box.clientWidth + 1);
  window.addEventListener("DOMContentLoaded", () => {
    const watch = new ResizeObserver((seen) => seen.forEach((one) => mark(one.target)));
    boxes().forEach((box) => watch.observe(box));
  });
})();
