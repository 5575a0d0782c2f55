// Logs what is wrong with the page in whose head it stands, then "probe: done".
const problem = (text) => console.warn("probe: " + text);
// In the capture phase, because errors of images and scripts do not bubble.
addEventListener("error", (event) => problem(`${event.target.tagName ?? event.message} failed`), true);
addEventListener("load", () => {
  const root = document.documentElement;
  if (root.scrollWidth > innerWidth) problem(`the page is ${root.scrollWidth} px wide in ${innerWidth} px`);
  const name = (node) => JSON.stringify(node.textContent.trim().slice(0, 40));
  const least = 0.6;
  for (const svg of document.querySelectorAll("svg")) {
    const frame = svg.getBoundingClientRect();
    const texts = [...svg.querySelectorAll("text")].filter((t) => t.textContent);
    const boxes = texts.map((text) => text.getBoundingClientRect());
    boxes.forEach((box, i) => {
      const where = svg.getAttribute("aria-label");
      const out = Math.max(frame.left - box.left, box.right - frame.right, frame.top - box.top, box.bottom - frame.bottom);
      if (out > 1) problem(`${name(texts[i])} is cut off by ${out.toFixed(1)} px in ${where}`);
      for (let j = i + 1; j < boxes.length; j++) {
        const other = boxes[j];
        // Boxes hold the whole line height; glyphs fill the middle of it.
        const across = Math.min(box.right, other.right) - Math.max(box.left, other.left);
        const down = Math.min(box.bottom, other.bottom) - Math.max(box.top, other.top);
        if (across > 0.5 && down > (1 - least) * Math.min(box.height, other.height))
          problem(`${name(texts[i])} and ${name(texts[j])} overlap in ${where}`);
      }
    });
    for (const text of texts) {
      const size = parseFloat(getComputedStyle(text).fontSize) * (frame.width / svg.viewBox.baseVal.width);
      if (size < 8.5) problem(`${name(text)} is only ${size.toFixed(1)} px high`);
    }
  }
  for (const node of document.querySelectorAll("h1, h2, h3, p, dd, li, figcaption")) {
    if (node.scrollWidth > node.clientWidth + 1 && getComputedStyle(node).display !== "inline") problem(`${name(node)} is wider than its place`);
  }
  for (const cell of document.querySelectorAll("th.main, td.main")) {
    const box = cell.getBoundingClientRect();
    if (box.right > innerWidth + 0.5 || box.left < -0.5) problem(`the column of ${name(cell)} is not in view: it ends at ${box.right.toFixed(0)} of ${innerWidth} px`);
  }
  const ramps = [...document.querySelectorAll(".ramp svg")].map((svg) => svg.getBoundingClientRect().width / svg.viewBox.baseVal.width);
  if (ramps.some((scale) => Math.abs(scale - ramps[0]) > 0.01)) problem(`legends are of several sizes: ${ramps}`);
  for (const entry of performance.getEntriesByType("resource")) problem(`the page asked for ${entry.name}`);
  console.log("probe: done");
});
