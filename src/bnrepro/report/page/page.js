"use strict";

// ---------------------------------------------------------------- elements

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes and children; a child may be text. */
function element(name, attributes = {}, ...children) {
  const made = ["svg", "line", "path", "text"].includes(name)
    ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// ---------------------------------------------------------------- colours of the map

const channels = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
const named = (name) => channels(getComputedStyle(document.documentElement).getPropertyValue(name).trim());
const mix = (from, to, share) => from.map((value, at) => Math.round(value + (to[at] - value) * share));
const css = (colour) => `rgb(${colour.join(", ")})`;

/** Black or white, whichever is easier to read on a colour (WCAG's relative luminance). */
function inkOn(colour) {
  const [r, g, b] = colour.map((value) => {
    const part = value / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  const light = 0.2126 * r + 0.7152 * g + 0.0722 * b;
  return light + 0.05 > Math.sqrt(1.05 * 0.05) ? "#000" : "#fff";
}

/** Whose colour a cell has is faster there; how strong it is, by what factor. */
function paint(cells) {
  const [paper, plain, treated] = ["--paper", "--plain", "--treated"].map(named);
  const slower = mix(paper, plain, 0.8);
  for (const [number, td] of cells) {
    const cell = PLANE.cells[number];
    if (!cell || cell.kind !== "both" || cell.ratio === null) continue;
    const strength = Math.max(-1, Math.min(1, Math.log(cell.ratio) / Math.log(PLANE.fastest)));
    const colour = mix(paper, strength < 0 ? treated : slower, Math.abs(strength));
    td.style.background = css(colour);
    td.style.color = inkOn(colour);
  }
}

// ---------------------------------------------------------------- one chart

const WIDTH = 160, HEIGHT = 150, LEFT = 35, BOTTOM = 22, TOP = 6, RIGHT = 12;
const short = (value) => (value >= 1000 ? `${value / 1000}K` : String(value));

/** Powers of ten from low to high, both included if they are such. */
function decades(low, high) {
  const found = [];
  for (let power = Math.ceil(Math.log10(low) - 1e-9); 10 ** power <= high * (1 + 1e-9); power++) found.push(10 ** power);
  return found.map((value) => Number(value.toPrecision(1)));
}

/** Lines with bands of the seeds against the logarithm of the steps. */
function chart(name, title, axis, arms) {
  const steps = PLANE.steps, first = steps[0], last = steps[steps.length - 1];
  const x = (step) => LEFT + (WIDTH - LEFT - RIGHT) * (last > first ? Math.log(step / first) / Math.log(last / first) : 0);
  const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - axis.place(value));
  const svg = element("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true" });
  for (const [value, label] of axis.ticks) {
    svg.append(element("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }),
      element("text", { x: LEFT - 5, y: y(value) + 4, "text-anchor": "end" }, label));
  }
  for (const step of decades(first, last)) {
    svg.append(element("line", { x1: x(step), x2: x(step), y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM + 3 }),
      element("text", { x: x(step), y: HEIGHT - 6, "text-anchor": "middle" }, short(step)));
  }
  arms.forEach((arm, number) => {
    const look = number ? "treated" : "plain";
    const [mean, low, high] = arm.curves[name];
    const known = steps.map((step, at) => at).filter((at) => mean[at] !== null);
    if (!known.length) return;
    const points = (values, order) => order.map((at) => `${x(steps[at]).toFixed(1)},${y(values[at]).toFixed(1)}`).join("L");
    const line = `line ${look}` + (PLANE.arms[number].dashed ? " dash" : "");
    svg.append(
      element("path", { class: `band ${look}`, d: `M${points(high, known)}L${points(low, [...known].reverse())}Z` }),
      element("path", { class: line, d: `M${points(mean, known)}` }));
  });
  return element("figure", {}, element("figcaption", {}, title), svg);
}

/** The same axes in every cell, so that cells can be compared. */
function axes() {
  const share = { place: (value) => value, ticks: [[0, "0%"], [0.5, "50%"], [1, "100%"]] };
  const losses = PLANE.cells.filter(Boolean).flatMap((cell) => cell.arms.flatMap((arm) => arm.curves.loss[0]))
    .filter((value) => value > 0);
  const low = Math.max(1e-4, Math.min(1, ...losses)), high = Math.max(3, Math.min(30, Math.max(...losses)));
  const place = (value) => Math.max(0, Math.min(1, Math.log(Math.max(value, 1e-12) / low) / Math.log(high / low)));
  return { share, loss: { place, ticks: decades(low, high).map((value) => [value, String(value)]) } };
}

// ---------------------------------------------------------------- one cell

function heading(number) {
  const columns = PLANE.rates.length;
  return [PLANE.scales[Math.floor(number / columns)], PLANE.rates[number % columns]];
}

/** A number, and its interval smaller below it. */
function amount(text) {
  const [, value, rest] = text.match(/^(.*?)( \(.*\))?$/);
  return element("td", {}, value, ...(rest ? [element("small", {}, rest.trim())] : []));
}

function row(name, ...values) {
  return element("tr", {}, element("th", { scope: "row" }, name), ...values.map(amount));
}

/** Numbers and curves of one cell, and how to train one of its runs again. */
function show(number, panel, found) {
  const [scale, rate] = heading(number), cell = PLANE.cells[number];
  panel.replaceChildren(element("h3", {}, `Initial scale ${scale}, learning rate ${rate}`));
  if (!cell) {
    panel.append(element("p", {}, "Runs of this cell are missing."));
    return;
  }
  const [plain, treated] = cell.arms, seeds = PLANE.seeds.length;
  const names = PLANE.arms.map((arm, at) => element("th", { scope: "col" },
    element("span", { class: `names ${at ? "treated" : "plain"}` }), arm.name));
  const speed = cell.ratio === null ? "" : ` Steps to the plain network's final accuracy: ${cell.speed}.`;
  const gain = cell.gain === "–" ? "" : ` Difference of test accuracy: ${cell.gain}.`;
  panel.append(
    element("p", { class: "said" }, element("strong", {}, cell.said[0].toUpperCase() + cell.said.slice(1) + "."), speed, gain),
    element("div", { class: "charts" },
      chart("validation", "validation accuracy", found.share, cell.arms),
      chart("test", "test accuracy", found.share, cell.arms),
      chart("loss", "training loss, nats", found.loss, cell.arms)),
    element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Numbers of this cell" },
      element("table", { class: "data" },
        element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "at the end"), ...names)),
        element("tbody", {},
          row("validation accuracy", plain.ends.validation, treated.ends.validation),
          row("test accuracy", plain.ends.test, treated.ends.test),
          row("training loss, nats", plain.ends.loss, treated.ends.loss),
          row("seeds that train", `${plain.pass} of ${seeds}`, `${treated.pass} of ${seeds}`),
          row("seeds that diverged", String(plain.lost), String(treated.lost)),
          row("first run", plain.run, treated.run)))),
    element("p", { class: "meta" }, "Curves against training steps: mean of the seeds, and a band from the least to the " +
      "largest. Numbers: mean of the last five evaluations, with the 95% interval over the seeds."),
    element("p", { class: "meta" }, "One run again: ", element("code", {}, PLANE.repeat
      .replace("{arm}", PLANE.arms[1].arm).replace("{scale}", scale).replace("{rate}", rate))));
}

/** The grid: one stop of the tab key, arrow keys within, a pointer previews, a click stays. */
function explore() {
  const panel = document.getElementById("cell"), found = axes(), columns = PLANE.rates.length;
  const cells = new Map([...document.querySelectorAll("[data-cell]")].map((td) => [Number(td.dataset.cell), td]));
  let chosen = PLANE.best[0] ?? PLANE.best[1] ?? 0;
  const choose = (number, focus) => {
    cells.get(chosen).tabIndex = -1;
    cells.get(chosen).setAttribute("aria-selected", "false");
    chosen = number;
    cells.get(chosen).tabIndex = 0;
    cells.get(chosen).setAttribute("aria-selected", "true");
    if (focus) cells.get(chosen).focus();
    show(chosen, panel, found);
  };
  PLANE.best.forEach((number, at) => {
    if (number !== null) cells.get(number).classList.add("best", at ? "best-treated" : "best-plain");
  });
  const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [1, 0], ArrowDown: [-1, 0],
    Home: [0, -columns], End: [0, columns] };
  for (const [number, td] of cells) {
    td.addEventListener("click", () => choose(number, true));
    td.addEventListener("focus", () => { if (number !== chosen) choose(number, false); });
    td.addEventListener("pointerenter", (event) => { if (event.pointerType === "mouse") show(number, panel, found); });
    td.addEventListener("keydown", (event) => {
      const move = moves[event.key];
      if (!move) return;
      event.preventDefault();
      const at = (value, most) => Math.max(0, Math.min(most - 1, value));
      const down = at(Math.floor(number / columns) + move[0], PLANE.scales.length);
      choose(down * columns + at((number % columns) + move[1], columns), true);
    });
  }
  document.querySelector(".grid tbody").addEventListener("pointerleave", () => show(chosen, panel, found));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => paint(cells));
  paint(cells);
  choose(chosen, false);
}

// ---------------------------------------------------------------- the claims

function filter() {
  const form = document.querySelector(".filters"), claims = [...document.querySelectorAll(".claim")];
  const apply = () => {
    const asked = [...new FormData(form)].filter(([, value]) => value);
    for (const claim of claims) {
      claim.hidden = !asked.every(([key, value]) => claim.dataset[key].split(",").includes(value));
    }
    for (const group of document.querySelectorAll(".group")) {
      group.hidden = !group.querySelector(".claim:not([hidden])");
    }
    const left = claims.filter((claim) => !claim.hidden).length;
    form.querySelector("output").textContent = left === claims.length ? `${left} claims` : `${left} of ${claims.length} claims`;
  };
  form.addEventListener("change", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  const follow = () => {
    const claim = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!claim || !claim.classList.contains("claim")) return;
    if (claim.hidden) {
      form.reset();
      apply();
    }
    claim.open = true;
    claim.scrollIntoView();
  };
  addEventListener("hashchange", follow);
  apply();
  follow();
}

if (typeof PLANE !== "undefined") explore();
filter();
