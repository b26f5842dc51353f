"use strict";
// One inspection, drawn from the JSON in the page.  Nothing is requested from anywhere.

const data = JSON.parse(document.getElementById("data").textContent);
const { report, words } = data;
const users = report.views;
const $ = (id) => document.getElementById(id);
const state = { language: "en", show: "change", user: 0, row: null, place: null, word: 0, scale: 2, step: 0, stop: null };

// -- words, numbers, elements

const say = (key, values = {}) => {
  const text = words[state.language][key] ?? words.en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
};
const number = (x) => {
  if (x === null || x === undefined) return "–";
  if (x === 0 || (Math.abs(x) >= 0.001 && Math.abs(x) < 10000)) return String(Number(x.toPrecision(3)));
  return x.toExponential(1);
};
const percent = (p) => (p === null ? "–" : p > 0 && p < 0.0005 ? "< 0.1 %" : (100 * p).toFixed(1) + " %");
const visible = (word) => {
  const shown = word.replace(/\n/g, "⏎").replace(/\r/g, "␍");
  return shown.trim() === "" ? shown.replace(/\s/g, "␣") || "∅" : shown;
};

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null));
  return element;
}

// Run `draw` for each user, side by side, into the content of a section.
function sideBySide(id, draw) {
  const parts = users.map((user, i) => draw(user, i));
  const empty = parts.every((part) => part === null);
  $(id).hidden = empty;
  const title = (user) => (users.length > 1 ? [make("h3", {}, user.name)] : []);
  const columns = parts.map((part, i) => make("div", {}, title(users[i]), part ?? "–"));
  $(id).querySelector(".content").replaceChildren(make("div", { class: "users" }, columns));
}

// Blue for a number above 0, orange below; the text is black or white, whichever is clearer.
function coloured(x, largest) {
  if (x === null || !largest) return "";
  const dark = document.documentElement.dataset.theme === "dark";
  const from = dark ? [20, 20, 20] : [255, 255, 255];
  const to = x < 0 ? (dark ? [240, 160, 80] : [179, 89, 0]) : dark ? [125, 184, 240] : [11, 83, 148];
  const t = Math.min(1, Math.abs(x) / largest);
  const rgb = from.map((c, i) => Math.round(c + t * (to[i] - c)));
  const linear = rgb.map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const light = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  return `background: rgb(${rgb}); color: ${light > 0.179 ? "#000" : "#fff"}`;
}

// A table of buttons.  Arrow keys move between them, so that Tab reaches the table once.
function grid({ caption, columns, rows, rowNames, rowClass, cell, press, header, corner = "row" }) {
  const head = make("tr", {}, make("th", { scope: "col" }, say(corner)),
    columns.map((name, j) => make("th", { scope: "col" }, header ? header(name, j) : name)));
  const lines = rows.map((row, i) => {
    const cells = row.map((_, j) => {
      const { text, style, label, word } = cell(i, j);
      return make("td", { class: "number" }, make("button", {
        style, "aria-label": `${rowNames[i]}, ${columns[j]}: ${label ?? text}`, tabindex: "-1",
        class: word ? "word" : null, "data-cell": `${i},${j}`, onclick: (event) => press(i, j, event.currentTarget),
      }, text));
    });
    return make("tr", { class: rowClass?.(i) }, make("th", { scope: "row", class: rowClass?.(i) }, visible(rowNames[i])), cells);
  });
  const table = make("table", { "aria-label": caption }, make("thead", {}, head), make("tbody", {}, lines));
  table.querySelector("tbody button")?.setAttribute("tabindex", "0");
  table.addEventListener("keydown", moveInGrid);
  const scroll = make("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": caption }, table);
  return make("div", {}, make("p", { class: "caption" }, caption), scroll);
}

function moveInGrid(event) {
  const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
  const at = event.target.dataset?.cell?.split(",").map(Number);
  if (!step || !at) return;
  const next = event.currentTarget.querySelector(`[data-cell="${at[0] + step[0]},${at[1] + step[1]}"]`);
  event.preventDefault();
  if (!next) return;
  enter(next);
  next.focus();
}

// Make a cell the one that Tab reaches.
function enter(cell) {
  cell.closest("table").querySelectorAll('tbody [tabindex="0"]').forEach((other) => { other.tabIndex = -1; });
  cell.tabIndex = 0;
}

const largest = (rows) => Math.max(0, ...rows.flat().map((x) => Math.abs(x ?? 0)));
const shortPlace = (path) => path.replace(/^(?:(en|de)coder\.)?blocks\.(\d+)$/, (_, stack, n) => (stack ? stack + " " : "") + n);

// The name of a column of hidden states: the embedding, or the output of a block.
const shortState = (place) => (place === "tokens" ? say("embedding") : shortPlace(place));

// -- zoom 0: the network

function drawNetwork() {
  sideBySide("network", (user) => {
    const boxes = Object.keys(report.model.parts).map((place) => {
      const trained = Object.values(user.at[place] ?? {}).reduce((a, b) => a + b, 0);
      const acts = trained > 0;
      return make("li", {}, make("button", {
        class: acts ? "acts" : null, "aria-pressed": String(state.place === place),
        "aria-label": say(acts ? "box_trained" : "box_frozen", { place, n: trained.toLocaleString("en") }),
        onclick: () => choose({ place }, acts ? "place" : null),
      }, shortPlace(place), make("br"), compact(trained)));
    });
    const facts = user.methods.flatMap((m) => [
      [say("method"), m.method], [say("equation"), m.equation], [say("start"), m.start],
      [say("source"), `${m.paper}${m.id ? ` · ${m.id}` : ""} · ${m.where}`],
    ]);
    facts.push([say("trained"), `${user.params.toLocaleString("en")} / ${report.model.params.toLocaleString("en")} (${percent(user.params / report.model.params)})`]);
    facts.push([say("bytes"), user.bytes.toLocaleString("en")]);
    const line = make("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": say("network") }, make("ol", { class: "line" }, boxes));
    return make("div", {}, line, make("dl", {}, facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", { class: "code" }, value || "–")])));
  });
}
const compact = (n) => (n >= 1e6 ? (n / 1e6).toFixed(1) + "M" : n >= 1e5 ? (n / 1e3).toFixed(0) + "k" : n.toLocaleString("en"));

// -- zoom 1: tokens × layers

const SHOWS = ["change", "received", "lens", "base_lens", "cause"];

function drawStates() {
  const has = (show) => show === "cause" ? users.some((u) => u.causes?.places.length) : users.some((u) => Object.values(u.stacks).some((s) => s[show]));
  $("shows").setAttribute("aria-label", say("show"));
  $("shows").replaceChildren(...SHOWS.filter(has).map((show) => make("button", {
    "aria-pressed": String(state.show === show), "data-show": show, onclick: () => choose({ show }, "show_" + show),
  }, say("show_" + show))));
  sideBySide("states", (user, i) => state.show === "cause" ? drawCause(user, i)
    : make("div", {}, Object.entries(user.stacks).map(([name, stack]) => drawStack(user, i, name, stack))));
}

function valuesOf(stack) {
  const L = stack.places.length;
  return stack.tokens.map((_, r) => Array.from({ length: L }, (_, l) => {
    if (state.show === "received") return l ? stack.received[r][l - 1] : null;
    const change = stack.change[r][l];
    return change === null ? null : change / stack.norm[r][l];
  }));
}

function drawStack(user, i, name, stack) {
  const values = valuesOf(stack), top = largest(values), isWords = state.show.endsWith("lens");
  const lens = isWords ? stack[state.show] : null;
  const legend = [say("show_" + state.show + "_text"), stack.kinds.includes("virtual") && state.show !== "received" ? say("no_base") : "", stack.kinds.includes("new") ? say("italic") : ""];
  return make("div", {}, grid({
    caption: [name, legend.filter(Boolean).join("; ")].filter(Boolean).join(": "),
    columns: stack.places.map(shortState), corner: "token", rows: values, rowNames: stack.tokens,
    rowClass: (r) => [stack.kinds[r], state.user === i && state.row === r ? "chosen" : ""].join(" ").trim(),
    header: (column, l) => make("button", { "aria-label": say("open_layer", { place: stack.places[l] }), onclick: () => choose({ place: stack.places[l] }, "place") }, column),
    cell: (r, l) => {
      if (isWords) return { text: lens && stack.kinds[r] !== "virtual" ? visible(lens[r][l]) : "–", word: true, style: coloured(values[r][l], top) };
      return { text: number(values[r][l]), style: coloured(values[r][l], top) };
    },
    press: (r, l) => choose({ user: i, row: r, stack: name, layer: l, place: stack.places[l] }, outputOf(user, r, name) === null ? null : "cell"),
  }), shifted(user, stack));
}

// What the adaptation does to a word at each place alone, and everywhere but there.
function drawCause(user, i) {
  const c = user.causes;
  if (!c || !c.places.length) return null;
  const k = Math.min(state.word, c.words.length - 1);
  const select = make("select", { id: `cause-word-${i}`, onchange: (event) => choose({ word: Number(event.target.value) }, "cause") },
    c.words.map((word, n) => make("option", { value: n, selected: n === k ? "" : null }, visible(word))));
  const change = (p, from) => p - from;
  const rows = c.places.map((place, g) => [[c.only[g][k], c.base[k]], [c.without[g][k], c.adapted[k]]]);
  const top = Math.max(1e-9, ...rows.flat().map(([a, b]) => Math.abs(change(a, b))));
  const cell = ([p, from], title) => make("td", {}, make("button", {
    onclick: (event) => openNumber({ name: title, value: p - from, kind: "cause", terms: { with: p, without: from }, shape: "1" }, event.currentTarget),
  }, number(change(p, from)), make("span", { class: change(p, from) < 0 ? "bar negative" : "bar", style: `width: ${(4 * Math.abs(change(p, from))) / top}rem` })));
  const head = make("tr", {}, ["place", "only_here", "but_here"].map((key) => make("th", { scope: "col" }, say(key))));
  const body = rows.map(([only, without], g) => make("tr", {}, make("th", { scope: "row" }, c.places[g]), cell(only, `${c.places[g]}, ${say("only_here")}`), cell(without, `${c.places[g]}, ${say("but_here")}`)));
  return make("div", {}, make("p", {}, say("cause_text")), make("p", {}, make("label", { for: `cause-word-${i}` }, say("chosen_word") + " "), select, ` ${say("base")} ${number(c.base[k])}, ${say("adapted")} ${number(c.adapted[k])}`),
    make("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": say("show_cause") }, make("table", {}, make("thead", {}, head), make("tbody", {}, body))));
}

// A note if embeddings change although nothing is adapted there: the positions are shifted.
function shifted(user, stack) {
  const moved = stack.change.some((row) => row[0] > 0) && !user.at.tokens && !user.at.positions;
  return moved && stack.kinds.includes("virtual") ? make("p", {}, say("shifted")) : null;
}

// The output after a row: the number of the row among those of the text, or null.
function outputOf(user, row, name) {
  const last = Object.keys(user.stacks).at(-1);
  if (!user.outputs || (name ?? last) !== last) return null;
  if (!user.outputs.per_token) return 0;
  if (row === null) return user.outputs.at;
  const kinds = user.stacks[last].kinds;
  if (!["text", "new"].includes(kinds[row])) return null;
  return kinds.slice(0, row + 1).filter((kind) => kind === "text" || kind === "new").length - 1;
}

function drawNext() {
  const chosen = users[state.user], at = outputOf(chosen, state.row, state.stack);
  $("next-text").textContent = at === null ? say("next_none") : say("next_text", { token: visible(chosen.outputs.rows[at]) });
  sideBySide("next", (user, i) => {
    if (!user.outputs) return null;
    const t = i === state.user ? at : at;
    if (t === null) return make("p", {}, "–");
    const out = user.outputs, n = out.words[t].length;
    const line = (word, p, p0) => make("tr", {}, make("th", { scope: "row" }, visible(word)), make("td", { class: "number" }, percent(p)), make("td", { class: "number" }, percent(p0)));
    const head = make("tr", {}, ["token", "adapted", "base"].map((key) => make("th", { scope: "col", class: key === "token" ? null : "number" }, say(key))));
    const best = out.words[t].map((word, k) => line(word, out.p[t][k], out.base_p[t][k]));
    const base = out.base_words[t].map((word, k) => line(word, out.p[t][n + k], out.base_p[t][n + k]));
    const table = (caption, rows) => make("table", {}, make("caption", {}, caption), make("thead", {}, head.cloneNode(true)), make("tbody", {}, rows));
    return make("div", {}, numberButton(say("kl"), out.kl[t], "kl", {}), rowFacts(user, i), table(say("likeliest_adapted"), best), table(say("likeliest_base"), base));
  });
}

// The numbers of the chosen cell, each of which opens its formula.
function rowFacts(user, i) {
  if (i !== state.user || state.row === null) return null;
  const stack = user.stacks[state.stack ?? ""] ?? Object.values(user.stacks).at(-1), { row, layer } = state;
  const buttons = [];
  const change = stack.change[row][layer], norm = stack.norm[row][layer];
  if (change !== null) buttons.push(numberButton(say("show_change"), change / norm, "change", { change, size: norm }));
  if (layer) buttons.push(numberButton(say("show_received"), stack.received[row][layer - 1], "received", {}));
  return make("div", {}, make("p", {}, `${visible(stack.tokens[row])}, ${stack.places[layer]}`), buttons);
}

const numberButton = (name, value, kind, terms, shape = "1") =>
  make("button", { onclick: (event) => openNumber({ name, value, kind, terms, shape }, event.currentTarget) }, `${name}: ${number(value)}`);

// -- zoom 2: the mechanism at one place

function drawMechanism() {
  const place = state.place;
  $("mechanism-text").textContent = place === null ? say("mechanism_none") : say("mechanism_text", { place });
  sideBySide("mechanism", (user) => {
    const here = user.panels.filter((panel) => panel.place === place || panel.place === "");
    if (!here.length) return make("p", {}, say("mechanism_frozen"));
    return make("div", { class: "users" }, here.map(drawPanel));
  });
}

function drawPanel(panel) {
  const base = ["scaling", "magnitude"].includes(panel.kind) ? 1 : 0;  // these start at 1
  const top = largest(panel.values.map((row) => row.map((x) => (x === null ? 0 : x - base))));
  const note = panel.note && say("note_" + panel.note[0].replaceAll(" ", "_"), { x: number(panel.note[1]) });
  return make("div", {}, make("h3", {}, say("panel_" + panel.kind.replaceAll(" ", "_"))), grid({
    caption: panel.path, columns: panel.columns, rows: panel.values, rowNames: panel.rows,
    cell: (i, j) => {
      const x = panel.values[i][j], word = panel.words?.[i][j];
      return { text: word === undefined ? number(x) : `${visible(word)} ${number(x)}`, style: coloured(x === null ? null : x - base, top) };
    },
    press: (i, j, button) => {
      const terms = Object.fromEntries(Object.entries(panel.terms).map(([name, values]) => [name, values[i][j]]));
      const shape = `${panel.values.length} × ${panel.values[0].length}`;
      openNumber({ name: `${panel.path || say("all_layers")}: ${panel.rows[i]}, ${panel.columns[j]}`, value: panel.values[i][j], kind: panel.kind, terms, shape }, button, "mechanism");
    },
  }), note ? make("p", {}, note) : null);
}

// -- zoom 3: one number

const AGAIN = {  // the value, computed again from the terms in the page
  change: (t) => t.change / t.size, layer: (t) => t.change / t.size, tensor: (t) => t.change / t.size,
  "low rank": (t) => t.change / t.size, norm: (t) => t.size / t.mean, worth: (t) => t.without - t.whole,
  lambda: (t) => 1 / (1 + Math.exp(t.b - t.a)), cause: (t) => t.with - t.without,
};

function openNumber({ name, value, kind, terms, shape }, from, action = "number") {
  const formula = report.formulas[kind], equation = report.equations[formula.id], dialog = $("number");
  const shown = (x) => (x === null || x === undefined ? "–" : String(Number(x.toPrecision(5))));
  const filled = formula.filled.replace(/\{(\w+)\}/g, (_, key) => shown(key === "value" ? value : terms[key]));
  const facts = [[say("equation"), formula.equation], [say(formula.filled === "{value}" ? "value" : "with_values"), filled], [say("shape"), shape], [say("code"), formula.function]];
  if (AGAIN[kind] && value !== null) facts.push([say("again"), Math.abs(AGAIN[kind](terms) - value).toExponential(0)]);
  if (equation) {
    facts.push([say("catalogue"), `${formula.id}: ${equation.formula}`], [say("source"), `${equation.source} · ${equation.where}`]);
    facts.push([say("verified"), say("verified_text", { worst: equation.worst.toExponential(0), id: formula.id })]);
  } else facts.push([say("catalogue"), say("no_equation")]);
  dialog.replaceChildren(make("h2", { id: "number-title" }, name),
    make("dl", {}, facts.flatMap(([key, text]) => [make("dt", {}, key), make("dd", { class: "code" }, text)])),
    make("button", { onclick: () => dialog.close() }, say("close")));
  dialog.onclose = () => from.focus();
  dialog.showModal();
  act(action);
}

// -- slider, generation

function drawSlider() {
  sideBySide("slider", (user, i) => {
    const s = user.slider;
    if (!s) return null;
    const k = state.scale;
    const input = make("input", { type: "range", id: `scale-${i}`, min: 0, max: s.scales.length - 1, step: 1, value: k, "aria-valuetext": String(s.scales[k]),
      oninput: (event) => { choose({ scale: Number(event.target.value) }, "slider"); $(`scale-${i}`).focus(); } });
    const row = (word, j) => make("tr", {}, make("th", { scope: "row" }, visible(word)), make("td", { class: "number" }, percent(s.p[k][j])));
    const { places } = Object.values(user.stacks).at(-1);
    const changes = s.change[k].map((x, l) => `${shortState(places[l])}: ${number(x)}`).join(" · ");
    return make("div", {}, make("label", { for: `scale-${i}` }, `s = ${s.scales[k]} `), input,
      make("p", {}, say("how_" + s.how)), make("p", {}, `${say("kl")}: ${number(s.kl[k])}`),
      make("table", {}, make("caption", {}, say("likeliest_adapted")), make("tbody", {}, s.words[k].map(row))),
      make("p", { class: "code" }, `${say("show_change")}: ${changes}`));
  });
}

// λ of the token at an output: the mean over the heads and layers of the last stack.
function meanShare(user, at) {
  const [name, stack] = Object.entries(user.stacks).at(-1);
  const isRead = (kind) => kind === "text" || kind === "new";
  const queries = stack.kinds.filter((kind) => kind !== "virtual");
  const row = queries.findIndex((kind, i) => isRead(kind) && queries.slice(0, i).filter(isRead).length === at);
  const panels = user.panels.filter((panel) => panel.kind === "lambda" && panel.path.startsWith(name));
  const all = panels.flatMap((panel) => panel.values[row]);
  return all.length ? all.reduce((a, b) => a + b, 0) / all.length : null;
}

function drawGeneration() {
  sideBySide("generation", (user) => {
    if (!report.new || !user.outputs) return null;
    const out = user.outputs, last = out.rows.length - 1, at = Math.min(out.at + state.step, last);
    const share = meanShare(user, at);
    const written = out.rows.slice(out.at + 1, at + 1).map(visible).join("");
    const text = users.length > 1 ? say("generation_shared", { name: users[0].name }) : "";
    return make("div", {}, make("p", {}, text), make("div", { class: "controls" },
      make("button", { onclick: () => choose({ step: Math.max(0, state.step - 1) }, "step") }, say("back")),
      make("button", { class: "step", onclick: () => choose({ step: Math.min(report.new, state.step + 1) }, "step") }, say("forward"))),
      make("p", { class: "code", "aria-live": "polite" }, `${state.step} / ${report.new}: …${out.rows.slice(Math.max(0, out.at - 7), out.at + 1).map(visible).join("")}`, make("span", { class: "new" }, written)),
      make("dl", {}, make("dt", {}, say("next_word")), make("dd", {}, `${visible(out.words[at][0])} (${percent(out.p[at][0])}; ${say("base")}: ${visible(out.base_words[at][0])})`),
        make("dt", {}, say("kl")), make("dd", {}, number(out.kl[at])),
        ...(share === null ? [] : [make("dt", {}, say("lambda_mean")), make("dd", {}, number(share))])));
  });
}

// -- the tour: eight stops, each of which waits for one action

const STOPS = [["network", "place"], ["states", "cell"], ["states", "show_lens"], ["next", "number"], ["mechanism", "mechanism"], ["states", "cause"], ["slider", "slider"], ["generation", "step"]];

function drawTour() {
  document.querySelectorAll(".target").forEach((element) => element.classList.remove("target"));
  const open = state.stop !== null, done = open && state.stop >= STOPS.length;
  $("tour").hidden = !open;
  if (!open) return;
  const leave = make("button", { onclick: () => { state.stop = null; drawTour(); $("tour-start").focus(); } }, say(done ? "close" : "leave"));
  const skip = done ? null : make("button", { onclick: () => { state.stop++; drawTour(); } }, say("skip"));
  $("tour").replaceChildren(make("p", {}, done ? say("tour_end") : `${state.stop + 1} / ${STOPS.length}: ${say("stop_" + (state.stop + 1))}`), ...[skip, leave].filter(Boolean));
  if (!done) $(STOPS[state.stop][0]).classList.add("target");
}

function act(action) {
  if (state.stop !== null && state.stop < STOPS.length && STOPS[state.stop][1] === action) {
    state.stop++;
    drawTour();
    const next = STOPS[state.stop];
    if (next) $(next[0]).scrollIntoView({ block: "start" });
  }
}

// -- state

function choose(changes, action) {
  const focused = document.activeElement;
  const path = focused?.closest("section")?.id, cell = focused?.dataset?.cell, show = focused?.dataset?.show;
  const index = path && [...$(path).querySelectorAll("button, select, input")].indexOf(focused);
  Object.assign(state, changes);
  draw();
  const again = path && [...$(path).querySelectorAll("button, select, input")][index];
  if (again && cell) enter(again);
  again?.focus({ preventScroll: true });
  act(action);
}

function draw() {
  document.documentElement.lang = state.language === "zh" ? "zh-CN" : "en";
  document.querySelectorAll("[data-say]").forEach((element) => { element.textContent = say(element.dataset.say); });
  $("language").textContent = state.language === "en" ? "中文" : "English";
  $("language").lang = state.language === "en" ? "zh-CN" : "en";
  const m = report.model, names = users.map((user) => user.name).join(" · ");
  const together = report.together === null ? "" : " " + say("together", { x: report.together.toExponential(0) });
  $("summary").textContent = say("summary", { names, kind: m.class, layers: m.layers, width: m.width, heads: m.heads }) + (report.cut ? " " + say("cut", report.cut) : "") + together;
  document.body.classList.toggle("two", users.length > 1);
  [drawNetwork, drawStates, drawNext, drawMechanism, drawSlider, drawGeneration, drawTour].forEach((part) => part());
}

$("language").addEventListener("click", () => { state.language = state.language === "en" ? "zh" : "en"; draw(); });
$("theme").addEventListener("click", () => {
  const root = document.documentElement;
  root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
  draw();
});
$("tour-start").addEventListener("click", () => { state.stop = 0; drawTour(); $("network").scrollIntoView(); });
document.documentElement.dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
if (navigator.language.startsWith("zh")) state.language = "zh";
state.place = users.flatMap((user) => user.panels)[0]?.place || null;
draw();
