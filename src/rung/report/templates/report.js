// What a report does when touched. Without it, the page still shows everything but the cells' images.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (selector, root = document) => root.querySelector(selector);
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const thousands = (n) => n.toLocaleString("en");

  // --- light and dark: the system's choice until the reader makes one --------------------------
  const root = document.documentElement;
  const remembered = (value) => {
    try { // storage is refused to files in some browsers
      if (value === undefined) return localStorage.getItem("rung-theme");
      localStorage.setItem("rung-theme", value);
    } catch { return null; }
  };
  const theme = $("#theme");
  const before = remembered();
  if (before === "light" || before === "dark") root.dataset.theme = before;
  theme.hidden = false;
  theme.addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    remembered(root.dataset.theme);
  });

  // --- learning curves: one cursor through all of them -----------------------------------------
  const curves = data.curves;
  const charts = $$("[data-curve]");
  if (curves && charts.length) {
    const readout = $("#readout");
    const rest = new Map($$("[data-curve] output").map((output) => [output, output.textContent]));
    let current = curves.x.length - 1;
    const shown = (key, value) => value === null ? "–" : key === "accuracy" ? (value * 100).toFixed(1) + " %" : String(Number(value.toPrecision(3)));
    const point = (i) => {
      current = Math.min(Math.max(i, 0), curves.x.length - 1);
      for (const chart of charts) {
        const cursor = $(".cursor", chart);
        cursor.removeAttribute("hidden");
        cursor.setAttribute("transform", `translate(${curves.x[current]} 0)`);
        $$("output", chart).forEach((output, k) => {
          const key = chart.dataset.curve;
          output.textContent = shown(key, curves[key][k][current]);
        });
      }
      readout.textContent = `After ${Number(curves.epoch[current].toFixed(2))} epochs, ${curves.seconds[current].toFixed(1)} s of training.`;
    };
    const leave = () => {
      charts.forEach((chart) => $(".cursor", chart).setAttribute("hidden", ""));
      rest.forEach((text, output) => { output.textContent = text; });
      readout.textContent = readout.dataset.rest;
    };
    for (const chart of charts) {
      const svg = $("svg", chart);
      svg.addEventListener("pointermove", (event) => {
        const box = svg.getBoundingClientRect();
        const x = (event.clientX - box.left) / box.width * svg.viewBox.baseVal.width;
        let nearest = 0;
        curves.x.forEach((at, i) => { if (Math.abs(at - x) < Math.abs(curves.x[nearest] - x)) nearest = i; });
        point(nearest);
      });
      svg.addEventListener("pointerleave", leave);
      svg.addEventListener("blur", leave);
      svg.addEventListener("keydown", (event) => {
        const step = { ArrowLeft: current - 1, ArrowRight: current + 1, Home: 0, End: curves.x.length - 1 }[event.key];
        if (step === undefined) return;
        event.preventDefault();
        point(step);
      });
    }
  }

  // --- the images behind a cell of the confusion matrix ----------------------------------------
  const panel = $("#examples");
  const confused = new Map((data.confused || []).map(([t, p, n]) => [`${t}-${p}`, n]));
  const columns = Number(data.columns || 0);
  const countOf = (t, p) => {
    const button = $(`.matrix [data-cell="${t}-${p}"]`);
    return button ? Number(button.textContent) : confused.get(`${t}-${p}`) || 0;
  };
  const thumb = (n) => {
    const [index, t, p, sure] = data.images[n];
    const name = data.files ? data.files[n] : "";
    const text = `Test image ${index}: ${data.classes[t]}, ` + (t === p ? "predicted right" : `predicted ${data.classes[p]}`) +
      ` (${Math.round(sure / 10)} %)` + (name ? `\n${name}` : "");
    const element = make("span", { className: "thumb" + (columns ? "" : " blank"), title: text });
    element.setAttribute("role", "img");
    element.setAttribute("aria-label", text);
    if (columns) {
      element.style.setProperty("--x", n % columns);
      element.style.setProperty("--y", Math.floor(n / columns));
    } else element.textContent = index;
    return make("li", {}, element, make("span", { className: "figure", textContent: `${Math.round(sure / 10)} %` }));
  };
  const open = (cell, reveal) => {
    const [t, p] = cell.split("-").map(Number);
    if (!panel || !(t in data.classes) || !(p in data.classes)) return;
    const count = countOf(t, p);
    const places = data.cells[cell] || [];
    const [title, note, list] = [$("h3", panel), $("p", panel), $("ul", panel)];
    title.textContent = t === p ? `${data.classes[t]}, answered right` : `${data.classes[t]} taken for ${data.classes[p]}`;
    const share = data.support[t] ? ` (${(count / data.support[t] * 100).toFixed(1)} % of this class)` : "";
    const some = places.length === 0 ? " None of them is kept in this page." :
      places.length < count && places.length === 1 ? " Here is one." :
      places.length < count ? ` Here are ${places.length}, ` + (t === p ? "from the surest to the least sure." : "the surest first.") :
      count > 1 ? " The surest first." : "";
    note.textContent = `${thousands(count)} image${count === 1 ? "" : "s"}${share}, with the model's confidence.${some}`;
    list.replaceChildren(...places.map(thumb));
    $$(".matrix .open").forEach((td) => td.classList.remove("open"));
    const button = $(`.matrix [data-cell="${cell}"]`);
    if (button) button.parentElement.classList.add("open");
    if (reveal) {
      history.replaceState(null, "", `#cell-${cell}`);
      const { top, bottom } = panel.getBoundingClientRect();
      if (top < 60 || Math.min(bottom, top + 180) > innerHeight) panel.scrollIntoView({ block: "nearest", behavior: "smooth" });
    }
  };
  if (panel) {
    document.addEventListener("click", (event) => {
      const button = event.target.closest("[data-cell]");
      if (button) open(button.dataset.cell, true);
    });
    const asked = () => {
      const match = /^#cell-(\d+-\d+)$/.exec(location.hash);
      if (match) open(match[1], true);
      return Boolean(match);
    };
    addEventListener("hashchange", asked);
    if (!asked()) open(panel.dataset.opened, false);
  } else $$("[data-cell]").forEach((button) => { button.disabled = true; });

  // The matrix is one stop of the Tab key; the arrow keys move inside it.
  const matrix = $(".matrix tbody");
  if (matrix && panel) {
    const grid = [...matrix.rows].map((row) => [...row.cells].slice(1).map((td) => $("button", td)));
    const first = $(".matrix .open button") || $("button", matrix);
    if (first) first.tabIndex = 0;
    matrix.addEventListener("keydown", (event) => {
      const [down, across] = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key] || [0, 0];
      if (!down && !across) return;
      event.preventDefault();
      const from = event.target.closest("button");
      let y = grid.findIndex((row) => row.includes(from));
      let x = y < 0 ? -1 : grid[y].indexOf(from);
      do { y += down; x += across; } while (grid[y] && x in grid[y] && !grid[y][x]); // over the empty cells
      const next = grid[y] && grid[y][x];
      if (!next) return;
      from.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    });
  }

  // --- one class of many: what it is taken for, and what is taken for it -----------------------
  const choice = $("#class-choice");
  if (choice) {
    $(".lookup").hidden = false;
    choice.append(...data.classes.map((name, k) => make("option", { value: k, textContent: name })));
    const fill = (list, rows) => list.replaceChildren(...(rows.length ? rows.slice(0, 8).map(([name, cell, n]) => {
      const button = make("button", { type: "button", className: "link", textContent: name });
      button.dataset.cell = cell;
      return make("li", {}, button, ` ${n}`);
    }) : [make("li", { textContent: "nothing" })]));
    const show = () => {
      const k = Number(choice.value);
      fill($("#taken-for"), data.confused.filter(([t]) => t === k).map(([t, p, n]) => [data.classes[p], `${t}-${p}`, n]));
      fill($("#answered-for"), data.confused.filter(([, p]) => p === k).map(([t, p, n]) => [data.classes[t], `${t}-${p}`, n]));
    };
    choice.addEventListener("change", show);
    show();
  }

  // --- the map of the images: the one under the pointer, or the next one in a direction ----------
  const plane = $("#plane");
  if (plane && data.map) {
    const map = data.map;
    const [ring, thumb, text] = [$("#plane-ring"), $("#plane-thumb"), $("#plane-text")];
    const circles = $$("circle:not(#plane-ring)", plane);
    let chosen = -1;
    const choose = (n) => {
      if (n < 0 || n === chosen) return;
      chosen = n;
      ring.removeAttribute("hidden");
      ring.setAttribute("cx", circles[n].getAttribute("cx"));
      ring.setAttribute("cy", circles[n].getAttribute("cy"));
      thumb.style.visibility = n < map.count ? "visible" : "hidden";
      thumb.style.setProperty("--x", n % map.columns);
      thumb.style.setProperty("--y", Math.floor(n / map.columns));
      text.textContent = data.classes[map.label[n]];
    };
    const nearest = (x, y, wanted = () => true) => {
      let [best, least] = [-1, Infinity];
      map.x.forEach((at, n) => {
        const distance = (at - x) ** 2 + (map.y[n] - y) ** 2;
        if (distance < least && wanted(n)) [best, least] = [n, distance];
      });
      return best;
    };
    plane.addEventListener("pointermove", (event) => {
      const box = plane.getBoundingClientRect();
      choose(nearest(((event.clientX - box.left) / box.width * 600 - 8) / 584, ((event.clientY - box.top) / box.height * 600 - 8) / 584));
    });
    plane.addEventListener("keydown", (event) => {
      const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!way) return;
      event.preventDefault();
      if (chosen < 0) { choose(nearest(0.5, 0.5)); return; }
      const [x, y] = [map.x[chosen], map.y[chosen]];
      choose(nearest(x, y, (n) => { // in a cone of 90 degrees that way
        const [across, down] = [map.x[n] - x, map.y[n] - y];
        const ahead = across * way[0] + down * way[1];
        return n !== chosen && ahead > 0 && ahead >= Math.abs(across * way[1]) + Math.abs(down * way[0]);
      }));
    });
    thumb.style.visibility = "hidden";
  }

  // --- tables that sort, and one that can be searched ------------------------------------------
  for (const table of $$("table.sortable")) {
    const body = table.tBodies[0];
    $$("th[data-sort]", table).forEach((heading, column) => {
      const button = make("button", { type: "button" }, ...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => {
        const rising = heading.getAttribute("aria-sort") !== "ascending";
        const value = (row) => heading.dataset.sort === "number" ? Number(row.cells[column].dataset.value) : row.cells[column].textContent;
        const order = (a, b) => typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true });
        const rows = [...body.rows].sort((a, b) => order(value(a), value(b)) * (rising ? 1 : -1));
        body.replaceChildren(...rows);
        $$("th[data-sort]", table).forEach((other) => other.removeAttribute("aria-sort"));
        heading.setAttribute("aria-sort", rising ? "ascending" : "descending");
      });
    });
  }
  const filter = $("#class-filter");
  if (filter) {
    filter.parentElement.hidden = false;
    filter.addEventListener("input", () => {
      const wanted = filter.value.trim().toLocaleLowerCase();
      for (const row of $("table.scores").tBodies[0].rows)
        row.hidden = !row.cells[0].textContent.toLocaleLowerCase().includes(wanted);
    });
  }

  // --- copying a command ------------------------------------------------------------------------
  for (const button of $$(".copy")) {
    if (!navigator.clipboard) continue;
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText($("code", button.parentElement).textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  }
})();
