"use strict";
// The table of runs. What a record says only ever becomes text (textContent); links come as addresses
// of this server, made of escaped names.
(() => {
  const byId = (id) => document.getElementById(id);

  function make(tag, name, text) {
    const made = document.createElement(tag);
    if (name) made.className = name;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function theme() {
    const root = document.documentElement;
    const dark = getComputedStyle(root).colorScheme === "dark" ||
      (!root.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
    root.dataset.theme = dark ? "light" : "dark";
  }
  byId("theme").onclick = theme;

  const held = byId("runs-data");
  if (!held) return;
  let { columns, rows, live, broken } = JSON.parse(held.textContent);
  const SUITE = columns.indexOf("suite"), STATUS = columns.indexOf("status");
  const NUMBERS = new Set(["trials", "seed"]);
  const PAGE = 200;
  let order = null, descending = false, shown = PAGE;
  const filter = byId("filter"), suite = byId("filter-suite"), agent = byId("filter-agent"),
    outcome = byId("filter-outcome");

  function options(select, of) {
    const counts = new Map(), kept = select.value;
    for (const row of rows) for (const value of new Set(of(row))) counts.set(value, (counts.get(value) || 0) + 1);
    if (kept && !counts.has(kept)) counts.set(kept, 0);
    while (select.options.length > 1) select.remove(1);
    for (const [value, count] of [...counts].sort()) {
      const option = make("option", "", value + " (" + count + ")");
      option.value = value;
      select.append(option);
    }
    select.value = kept;
  }

  function chosen() {
    const asked = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = rows.filter((row) =>
      (!suite.value || row.cells[SUITE] === suite.value) &&
      (!agent.value || row.agents.includes(agent.value)) &&
      (!outcome.value || row.outcomes.includes(outcome.value)) &&
      asked.every((word) => row.cells.join(" ").toLowerCase().includes(word)));
    if (order === null) return found;
    return found.sort((one, two) => {
      const a = one.order[order], b = two.order[order];
      if (a === null || b === null) return (a === null) - (b === null);
      const by = typeof a === "number" ? a - b : a < b ? -1 : a > b ? 1 : 0;
      return descending ? -by : by;
    });
  }

  function line(row) {
    const made = document.createElement("tr");
    row.cells.forEach((text, column) => {
      const cell = make(column ? "td" : "th", NUMBERS.has(columns[column]) ? "n" : "");
      if (!column) {
        cell.scope = "row";
        const link = make("a", "", text);
        link.href = row.href;
        cell.append(link);
      } else if (column === STATUS) cell.append(make("span", "outcome status-" + text, text));
      else cell.textContent = text;
      made.append(cell);
    });
    return made;
  }

  function list() {
    const found = chosen();
    byId("runs-body").replaceChildren(...found.slice(0, shown).map(line));
    if (found.length > shown) {
      const more = make("button", "more", "Show " + (found.length - shown) + " more");
      more.type = "button";
      more.onclick = () => { shown = Infinity; list(); };
      const cell = make("td");
      cell.colSpan = columns.length;
      cell.append(more);
      const last = document.createElement("tr");
      last.append(cell);
      byId("runs-body").append(last);
    }
    byId("count").textContent = found.length + " of " + rows.length + " runs";
  }

  function refused() {
    if (!broken.length) return byId("refused").replaceChildren();
    const table = make("table"), body = make("tbody"), box = make("div", "wide");
    for (const [name, reason] of broken) {
      const row = document.createElement("tr");
      row.append(make("th", "", name), make("td", "", reason));
      body.append(row);
    }
    table.append(body);
    box.append(table);
    byId("refused").replaceChildren(make("h2", "", "Folders that are not shown"), box);
  }

  function headings() {
    columns.forEach((name, column) => {
      const made = make("th", NUMBERS.has(name) ? "n" : "");
      made.scope = "col";
      const button = make("button", "", name);
      button.type = "button";
      button.onclick = () => {
        descending = order === column && !descending;
        order = column;
        for (const other of made.parentNode.children) other.removeAttribute("aria-sort");
        made.setAttribute("aria-sort", descending ? "descending" : "ascending");
        list();
      };
      made.append(button);
      byId("runs-head").append(made);
    });
  }

  function all() {
    options(suite, (row) => [row.cells[SUITE]]);
    options(agent, (row) => row.agents);
    options(outcome, (row) => row.outcomes);
    list();
  }

  // While a run is live the list is asked for again: soon after a change, ever more seldom without
  // one, and not while nobody looks.
  const SOON = 5000, SELDOM = 60000;
  let pause = SOON, tag = null, timer = null;

  function refresh() {
    timer = null;
    if (document.hidden) return;
    fetch("runs.json", { headers: tag ? { "if-none-match": tag } : {}, cache: "no-store" })
      .then(async (answer) => {
        const news = answer.status === 200 && tag !== answer.headers.get("etag");
        if (news) {
          tag = answer.headers.get("etag");
          ({ rows, live, broken } = await answer.json());
          all();
          refused();
        }
        pause = news ? SOON : Math.min(SELDOM, pause * 2);
      }, () => { pause = SELDOM; })
      .finally(() => { if (live) timer = setTimeout(refresh, pause); });
  }

  addEventListener("visibilitychange", () => { if (!document.hidden && live && !timer) refresh(); });
  addEventListener("keydown", (event) => {
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) || event.ctrlKey || event.metaKey) return;
    if (event.key === "/") { event.preventDefault(); filter.focus(); }
    if (event.key === "t") theme();
  });
  filter.oninput = suite.onchange = agent.onchange = outcome.onchange = list;
  headings();
  all();
  if (live) timer = setTimeout(refresh, SOON);
})();
