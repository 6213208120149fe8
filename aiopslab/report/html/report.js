"use strict";
// The pages of trials are data in inert script elements. What a record says only ever becomes text
// (textContent) or an attribute that is listed here: nothing of it is parsed as markup.
(() => {
  const byId = (id) => document.getElementById(id);
  const read = (id) => JSON.parse(byId(id).textContent);
  const SVG = "http://www.w3.org/2000/svg";
  const TAGS = new Set(("a b circle dd details div dl dt g h3 li line p path pre rect section small " +
    "span summary svg table tbody td text th thead title tr ul").split(" "));
  const NAMES = new Set(("aria-hidden aria-label class cx cy d data-step height href id open " +
    "preserveAspectRatio r role scope tabindex text-anchor viewBox width x x1 x2 y y1 y2").split(" "));

  function build(node, space) {
    if (typeof node === "string") return document.createTextNode(node);
    const [tag, attributes, ...children] = node;
    if (!TAGS.has(tag)) throw new Error("unexpected element " + tag);
    const inside = tag === "svg" ? SVG : space;
    const made = inside ? document.createElementNS(inside, tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (!NAMES.has(name)) throw new Error("unexpected attribute " + name);
      if (name === "href" && /^\s*[a-z][a-z0-9+.-]*:/i.test(value)) continue;
      made.setAttribute(name, value);
    }
    made.append(...children.map((child) => build(child, inside)));
    return made;
  }

  function make(tag, name, text) {
    const made = document.createElement(tag);
    if (name) made.className = name;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  // The table of trials: all rows as data, some of them as elements.
  const { columns, decimals, rows } = read("trials-data");
  const OUTCOME = columns.indexOf("outcome"), TASK = columns.indexOf("task");
  const PAGE = 100;
  let chosen = rows.map((_, n) => n), shown = PAGE, order = null, descending = false;
  const words = rows.map((row) => row.join(" ").toLowerCase());
  const filter = byId("filter"), outcome = byId("filter-outcome"), task = byId("filter-task");

  function options(select, column) {
    const counts = new Map();
    for (const row of rows) counts.set(row[column], (counts.get(row[column]) || 0) + 1);
    for (const [value, count] of counts) {
      const option = make("option", "", value + " (" + count + ")");
      option.value = value;
      select.append(option);
    }
  }

  function compare(a, b) {
    const x = rows[a][order], y = rows[b][order];
    if (x === null || y === null) return (x === null) - (y === null) || a - b;
    const by = typeof x === "number" ? x - y : x < y ? -1 : x > y ? 1 : 0;
    return (descending ? -by : by) || a - b;
  }

  function choose() {
    const asked = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    chosen = rows.map((_, n) => n).filter((n) =>
      (!outcome.value || rows[n][OUTCOME] === outcome.value) &&
      (!task.value || rows[n][TASK] === task.value) &&
      asked.every((word) => words[n].includes(word)));
    if (order !== null) chosen.sort(compare);
    shown = PAGE;
    list();
  }

  function cell(n, column) {
    const value = rows[n][column];
    const made = make(column ? "td" : "th", column in decimals ? "n" : "");
    if (!column) {
      made.scope = "row";
      const link = make("a", "", value);
      link.href = "#trial-" + n;
      made.append(link);
    } else if (column === OUTCOME) {
      made.append(make("span", "outcome " + value, value));
    } else {
      made.textContent = value === null ? "–" : column in decimals ? value.toFixed(decimals[column]) : value;
    }
    return made;
  }

  function list() {
    const body = document.createDocumentFragment();
    for (const n of chosen.slice(0, shown)) {
      const row = document.createElement("tr");
      row.append(...columns.map((_, column) => cell(n, column)));
      body.append(row);
    }
    byId("trials-body").replaceChildren(body);
    byId("count").textContent = chosen.length + " of " + rows.length + " trials";
    const left = chosen.length - shown;
    byId("more").hidden = left <= 0;
    byId("more").textContent = "Show " + Math.min(PAGE, left) + " more of " + left;
  }

  function headings() {
    columns.forEach((name, column) => {
      const made = make("th", column in decimals ? "n" : "");
      made.scope = "col";
      const button = make("button", "", name);
      button.type = "button";
      button.onclick = () => {
        descending = order === column && !descending;
        order = column;
        for (const other of made.parentNode.children) other.removeAttribute("aria-sort");
        made.setAttribute("aria-sort", descending ? "descending" : "ascending");
        choose();
      };
      made.append(button);
      byId("trials-head").append(made);
    });
  }

  // The page of one trial.
  let current = null, place = 0;

  function text(into, tag, name, value, what) {
    const [said, left] = Array.isArray(value) ? value : [value, 0];
    if (!said) return left;
    if (what) into.append(make("p", "what", what));
    const made = make(tag, name, said);
    if (tag === "pre") made.tabIndex = 0;
    into.append(made);
    if (left) cut(into, left);
    return 0;
  }

  function cut(into, left) {
    into.append(make("p", "cut", left.toLocaleString("en") +
      " characters left out; the record has them (steps.jsonl)"));
  }

  function call(step, cited) {
    const [id, tool, effect, ok, at, seconds, thought, given, observed, changed] = step;
    const made = make("article", "step");
    made.dataset.id = id;
    made.tabIndex = -1;
    const head = make("h4", "", tool);
    head.append(make("span", effect === "read" ? "" : "write", effect), make("span", "", at),
      make("span", "", seconds), make("span", "", id));
    if (!ok) head.append(make("span", "refused", "refused"));
    if (cited.has(id)) head.append(make("span", "cited", "cited as evidence"));
    made.append(head);
    const left = text(made, "p", "thought", thought) + text(made, "pre", "", given, "arguments") +
      text(made, "pre", "", observed, "observation") + text(made, "pre", "", changed, "changed");
    if (left) cut(made, left);
    return made;
  }

  // In a file the data of every trial stand beside; where a server has them, they are asked for.
  function openTrial(n) {
    if (current === null) place = scrollY;
    current = n;
    if (byId("trial-data-" + n)) return showTrial(n, read("trial-data-" + n));
    fetch("trial/" + n + ".json").then(async (answer) => {
      if (!answer.ok) throw new Error(await answer.text());
      return answer.json();
    }).then((data) => { if (current === n) showTrial(n, data); }, (error) => {
      const said = make("p", "error", "This trial cannot be shown: " + error.message);
      if (current === n) showTrial(n, { tree: [], steps: [], left_out: 0 }, said);
    });
  }

  function showTrial(n, { tree, steps, left_out: left }, failure) {
    const page = byId("trial-page");
    const title = make("div", "title");
    title.append(make("h2", "", rows[n][0]), make("span", "outcome " + rows[n][OUTCOME], rows[n][OUTCOME]));
    title.firstChild.tabIndex = -1;
    page.replaceChildren(title, ...tree.map((node) => build(node, null)));
    const cited = new Set([...page.querySelectorAll("a[data-step]")].map((a) => a.dataset.step));
    const calls = make("section");
    calls.append(make("h3", "", "Transcript: " + (steps.length + left) + " calls"));
    calls.append(...steps.map((step) => call(step, cited)));
    if (left) calls.append(make("p", "cut", left + " further calls are in the record only (steps.jsonl)"));
    if (failure) calls.replaceChildren(failure);
    const files = page.querySelector("#trial-files");
    files ? files.before(calls) : page.append(calls);
    const at = chosen.indexOf(n);
    byId("position").textContent = at < 0 ? "" : at + 1 + " of " + chosen.length;
    byId("previous").disabled = neighbour(-1) === null;
    byId("next").disabled = neighbour(1) === null;
    byId("overview").hidden = true;
    byId("trial").hidden = false;
    scrollTo(0, 0);
    // On a narrow screen the hand-over is what is looked for first.
    const picture = page.querySelector(".timeline"), moment = page.querySelector("line.handover");
    if (moment) {
      const share = moment.x1.baseVal.value / moment.ownerSVGElement.viewBox.baseVal.width;
      picture.scrollLeft = share * picture.scrollWidth - picture.clientWidth / 2;
    }
    title.firstChild.focus({ preventScroll: true });
  }

  function openOverview() {
    if (current === null) return;
    current = null;
    byId("trial").hidden = true;
    byId("trial-page").replaceChildren();
    byId("overview").hidden = false;
    scrollTo(0, place);
  }

  function neighbour(by) {
    const at = chosen.indexOf(current);
    const n = chosen[at + by];
    return at < 0 || n === undefined ? null : n;
  }

  function route() {
    const match = /^#trial-(\d+)$/.exec(location.hash);
    if (match && Number(match[1]) < rows.length) openTrial(Number(match[1]));
    else openOverview();
  }

  function go(by) {
    const n = neighbour(by);
    if (n !== null) location.hash = "trial-" + n;
  }

  function show(id) {
    for (const step of byId("trial-page").querySelectorAll(".step")) {
      step.classList.toggle("hit", step.dataset.id === id);
      if (step.dataset.id === id) {
        step.scrollIntoView({ block: "start" });
        step.focus({ preventScroll: true });
      }
    }
  }

  function theme() {
    const dark = getComputedStyle(document.documentElement).colorScheme === "dark" ||
      (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
    document.documentElement.dataset.theme = dark ? "light" : "dark";
  }

  const KEYS = {
    j: () => go(1), k: () => go(-1), ArrowRight: () => go(1), ArrowLeft: () => go(-1),
    u: () => { if (current !== null) location.hash = "trials"; },
    Escape: () => { if (current !== null) location.hash = "trials"; },
    "/": () => { location.hash = "trials"; openOverview(); filter.focus(); },
    t: theme,
  };
  addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    const scrolling = event.key.startsWith("Arrow") && event.target.closest?.(".wide, pre");
    if (typing || scrolling || event.ctrlKey || event.metaKey || event.altKey) return;
    const done = KEYS[event.key];
    if (!done) return;
    event.preventDefault();
    done();
  });
  // A run that is not over, where a server tells how far it is.
  const live = byId("live");
  if (live) {
    const seen = live.dataset.seen;
    const ask = () => {
      setTimeout(ask, 15000);
      if (document.hidden) return;
      fetch("state.json").then((answer) => answer.ok ? answer.json() : null).then((state) => {
        if (!state || state.seen === seen) return;
        if (current === null && !filter.value && !scrollY) return location.reload();
        live.hidden = false;
      }, () => {});
    };
    setTimeout(ask, 15000);
    live.onclick = () => location.reload();
  }
  byId("trial-page").addEventListener("click", (event) => {
    const target = event.target.closest("[data-step]");
    if (!target) return;
    event.preventDefault();
    show(target.dataset.step);
  });
  byId("previous").onclick = () => go(-1);
  byId("next").onclick = () => go(1);
  byId("theme").onclick = theme;
  byId("more").onclick = () => { shown += PAGE; list(); };
  filter.oninput = outcome.onchange = task.onchange = choose;
  addEventListener("hashchange", route);
  options(outcome, OUTCOME);
  options(task, TASK);
  headings();
  list();
  route();
})();
