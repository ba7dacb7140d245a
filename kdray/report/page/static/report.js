// The page's own script: colours, tables, and the details of a trial, which are drawn when it is opened.
// Data are only ever set as text: nothing here parses a string as HTML.
"use strict";

(() => {
  const root = document.documentElement;
  const data = JSON.parse(document.getElementById("data").textContent);

  /** An element with attributes and children; strings become text. */
  const make = (name, attributes = {}, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children.filter((child) => child !== null));
    return made;
  };

  // --- Colours -------------------------------------------------------------------------------------------------------------
  const themes = { auto: "as the system", light: "light", dark: "dark" };
  const remembered = () => {
    try { return localStorage.getItem("kdray-colours"); } catch { return null; }
  };
  let theme = remembered() in themes ? remembered() : "auto";
  const toggle = document.getElementById("theme");
  const paint = () => {
    if (theme === "auto") root.removeAttribute("data-theme");
    else root.setAttribute("data-theme", theme);
    toggle.textContent = `Colours: ${themes[theme]}`;
  };
  toggle.addEventListener("click", () => {
    const names = Object.keys(themes);
    theme = names[(names.indexOf(theme) + 1) % names.length];
    try { localStorage.setItem("kdray-colours", theme); } catch { /* a browser that keeps nothing */ }
    paint();
  });
  paint();
  for (const each of document.querySelectorAll(".script-only")) each.hidden = false;

  // --- Tables of points ----------------------------------------------------------------------------------------------------
  /** What a filter says of a number: "> 0.9", "<= 3", "0.1..0.3"; null if it is a piece of text. */
  const condition = (text) => {
    const bound = text.match(/^(<=|>=|<|>|=)\s*(-?[\d.]+(?:e[-+]?\d+)?)$/i);
    if (bound) {
      const limit = Number(bound[2]);
      const holds = { "<": (x) => x < limit, "<=": (x) => x <= limit, ">": (x) => x > limit, ">=": (x) => x >= limit, "=": (x) => x === limit };
      return holds[bound[1]];
    }
    const range = text.match(/^(-?[\d.]+)\s*\.\.\s*(-?[\d.]+)$/);
    return range ? (x) => x >= Number(range[1]) && x <= Number(range[2]) : null;
  };

  const enhance = (table) => {
    const heads = [...table.tHead.rows[0].cells];
    const titles = heads.map((head) => head.textContent.trim());
    const numeric = heads.map((head) => head.dataset.kind === "number");
    const numbers = [...table.tBodies[0].rows].map((row) => [...row.cells].map((cell) => cell.dataset.order));
    const filters = make("tr", { class: "filters" });
    const inputs = titles.map((title, index) => {
      const hint = numeric[index] ? ", for example > 0.9 or 0.1..0.3" : "";
      const input = make("input", { type: "search", "aria-label": `Filter by ${title}${hint}`, placeholder: numeric[index] ? "> …" : "…" });
      filters.append(make("td", { "data-dt-order": "disable" }, input));
      return input;
    });
    table.tHead.append(filters);
    const box = table.parentElement;
    box.classList.add("points-box");
    const shown = new DataTable(table, {
      paging: false, info: false, autoWidth: false, titleRow: 0, layout: { topStart: null, topEnd: null, bottomStart: null, bottomEnd: null },
      order: [], language: { zeroRecords: "No point fits these filters.", emptyTable: "No points." },
      columnDefs: [
        { targets: numeric.flatMap((is, index) => (is || index === 0 ? [index] : [])), type: "num" },
        { targets: heads.flatMap((head, index) => ("hidden" in head.dataset ? [index] : [])), visible: false },
      ],
    });

    const count = make("p", { class: "count", role: "status" });
    const tell = () => {
      const found = shown.rows({ search: "applied" }).count();
      const all = numbers.length === 1 ? "1 point" : `${numbers.length} points`;
      count.textContent = found === numbers.length ? all : `${found} of ${all}`;
    };
    shown.on("draw", tell);
    inputs.forEach((input, index) => input.addEventListener("input", () => {
      const text = input.value.trim();
      const holds = numeric[index] ? condition(text) : null;
      const column = shown.column(index);
      if (holds) column.search((_, __, row) => numbers[row][index] !== "" && holds(Number(numbers[row][index]))).draw();
      else column.search(text, { regex: false, smart: false }).draw();
    }));

    const search = make("input", { type: "search" });
    search.addEventListener("input", () => shown.search(search.value).draw());
    const boxes = titles.map((title, index) => {
      const check = make("input", { type: "checkbox" });
      check.checked = shown.column(index).visible();
      check.disabled = index === 0;
      check.addEventListener("change", () => shown.column(index).visible(check.checked));
      return make("label", {}, check, title);
    });
    const choice = make("details", { class: "choice" }, make("summary", {}, "Columns"), make("fieldset", {}, make("legend", {}, "Columns to show"), ...boxes));
    choice.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      choice.open = false;
      choice.firstChild.focus();
    });
    document.addEventListener("click", (event) => { if (!choice.contains(event.target)) choice.open = false; });
    box.closest("section").querySelector(".table-tools").append(make("label", {}, "Search all columns", search), choice, count);
    tell();
  };
  for (const table of document.querySelectorAll("table.points")) enhance(table);

  // --- A trial -------------------------------------------------------------------------------------------------------------
  const dialog = document.getElementById("trial");
  const body = dialog.querySelector(".dialog-body");
  const said = (value, digits = 4) => (value === undefined || value === null ? "–" : String(Number(value.toPrecision(digits))));
  const percent = (value) => said(value, 3);

  const facts = (pairs) => make("dl", { class: "facts" }, ...pairs.filter(([, text]) => text !== undefined && text !== null)
    .map(([name, text]) => make("div", {}, make("dt", {}, name), make("dd", {}, typeof text === "number" ? said(text) : text))));

  const table = (caption, titles, rows) => make("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": caption },
    make("table", { class: "plain" }, make("caption", {}, caption),
      make("thead", {}, make("tr", {}, ...titles.map((title, index) => make("th", { scope: "col", ...(index === 1 || index === 3 ? { class: "number" } : {}) }, title)))),
      make("tbody", {}, ...rows.map((cells) => make("tr", {}, ...cells)))));

  /** A line chart of one or two curves over the epochs. */
  const chart = (title, curves) => {
    const svg = (name, attributes, text) => {
      const made = document.createElementNS("http://www.w3.org/2000/svg", name);
      for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
      if (text !== undefined) made.textContent = text;
      return made;
    };
    const [width, height, left, right, top, bottom] = [400, 210, 48, 8, 30, 26];
    const values = curves.flatMap(([, points]) => points.filter((value) => value !== null));
    const epochs = Math.max(...curves.map(([, points]) => points.length));
    const low = Math.min(...values), high = Math.max(...values), range = high - low || 1;
    const x = (index) => left + (epochs > 1 ? index / (epochs - 1) : 0.5) * (width - left - right);
    const y = (value) => height - bottom - ((value - low) / range) * (height - top - bottom);
    const told = curves.map(([name, points]) => `${name} from ${said(points.find((v) => v !== null), 3)} to ${said(points.findLast((v) => v !== null), 3)}`);
    const made = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title} over ${epochs} epochs: ${told.join(", ")}` });
    for (const value of [low, low + range / 2, high]) {
      made.append(svg("path", { class: "axis", d: `M${left} ${y(value)}H${width - right}` }));
      made.append(svg("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, said(value, 3)));
    }
    made.append(svg("text", { x: left, y: height - 8 }, "1"), svg("text", { x: width - right, y: height - 8, "text-anchor": "end" }, `${epochs} epochs`));
    curves.forEach(([name, points], number) => {
      const look = number ? "second" : "first";
      const drawn = points.map((value, index) => (value === null ? null : `${x(index).toFixed(1)} ${y(value).toFixed(1)}`)).filter((at) => at !== null);
      made.append(svg("path", { class: look, d: `M${drawn.join("L")}` }));
      made.append(svg("text", { class: `key-${look}`, x: left + number * 170, y: 14 }, `${number ? "┅" : "━"} ${name}`));
    });
    return made;
  };

  const charts = (trial) => {
    const epochs = trial.epochs;
    if (!epochs) return [];
    const pair = (title, names) => {
      const found = names.filter(([, key]) => epochs[key]).map(([name, key]) => [name, epochs[key]]);
      return found.length ? [chart(title, found)] : [];
    };
    const stages = trial.stages ? [make("p", {}, `Stages: ${trial.stages.map(([name, count]) => `${name} (${count} epochs)`).join(", then ")}.`)] : [];
    return [make("h3", {}, "Learning curves"), ...stages, make("div", { class: "curves" },
      ...pair("Accuracy", [["on validation images", "val_accuracy"], ["on training batches", "train_accuracy"]]),
      ...pair("Loss", [["training loss", "loss"], ["validation", "val_loss"]]))];
  };

  const evaluations = (trial) => {
    if (!trial.numbers || !trial.numbers.length) return [make("h3", {}, "Evaluations"), make("p", {}, "Nothing was measured of this trial beyond its accuracy.")];
    const rows = trial.numbers.map(([name, value, low, high, examples, note]) => [
      make("th", { scope: "row" }, data.texts[name]), make("td", { class: "number" }, said(value)),
      make("td", {}, low === undefined || low === null ? "–" : `${percent(low)} to ${percent(high)}`),
      make("td", { class: "number" }, said(examples)), make("td", { class: "doubt" }, note === undefined ? "" : data.texts[note])]);
    return [make("h3", {}, "Evaluations"), table("What was measured of this trial", ["Number", "Value", "95 % interval", "Images", "Doubt or error"], rows)];
  };

  const file = (id, trial) => {
    const text = trial.file.map((number) => data.texts[number]).join("");
    const name = `rerun-${id}.yaml`;
    const status = make("span", { role: "status" });
    const copy = make("button", { type: "button" }, "Copy");
    copy.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(text);
        status.textContent = "copied";
      } catch {
        getSelection().selectAllChildren(shown);
        status.textContent = "selected: copy it with the keyboard";
      }
    });
    const save = make("button", { type: "button" }, "Save as a file");
    save.addEventListener("click", () => {
      const url = URL.createObjectURL(new Blob([text], { type: "application/yaml" }));
      make("a", { href: url, download: name }).click();
      setTimeout(() => URL.revokeObjectURL(url), 1000);
      status.textContent = `saved as ${name}`;
    });
    const shown = make("pre", { tabindex: "0", "aria-label": "Sweep file that repeats this trial" }, text);
    return [make("h3", {}, "Configuration, and how to repeat it"),
      make("p", {}, "This sweep file describes the trial completely; what it does not say is at its default. Saved as ", make("code", {}, name), ", it is repeated by ",
        make("code", { class: "command" }, `kdray run ${name} --results rerun`), ". A trial of the same id is the same training."),
      make("div", { class: "actions" }, save, copy, status), shown];
  };

  const pointOf = (id) => Object.entries(data.points).find(([, point]) => point.trials.includes(id));

  const open = (id) => {
    const trial = data.trials[id];
    if (!trial) return;
    const [key, point] = pointOf(id) || [null, null];
    const title = point ? `Point ${key.split("-")[1]} of ${point.sweep}` : `Teacher ${id}`;
    const close = make("button", { type: "button", "aria-label": "Close" }, "Close");
    close.addEventListener("click", () => dialog.close());
    const seeds = point ? make("ul", { class: "seeds", "aria-label": "Trials of this point" }, ...point.trials.map((each) => {
      const known = data.trials[each];
      const link = make("a", { href: `#trial-${each}`, ...(each === id ? { "aria-current": "true" } : {}) }, known ? `seed ${known.seed}${known.status === "completed" ? "" : ` (${known.status})`}` : "not begun");
      if (!known) link.removeAttribute("href");
      return make("li", {}, link);
    })) : null;
    const teacher = trial.teacher && data.trials[trial.teacher] ? make("a", { href: `#trial-${trial.teacher}` }, trial.teacher) : trial.teacher;
    body.replaceChildren(...[
      make("div", { class: "dialog-top" }, make("h2", { id: "trial-title", tabindex: "-1" }, title), close),
      point ? make("p", {}, point.about) : null, seeds,
      make("h3", {}, `Trial ${id}`),
      facts([["Status", trial.error ? `${trial.status}: ${trial.error}` : trial.status], ["Seed", trial.seed], ["Accuracy on validation", trial.val], ["Accuracy on test", trial.test],
        ["Teacher", teacher], ["Parameters", trial.parameters === undefined ? undefined : trial.parameters.toLocaleString("en")],
        ["Training time", trial.seconds === undefined ? undefined : `${said(trial.seconds, 3)} s`], ["Ran on", data.texts[trial.where]], ["Source (git commit)", data.texts[trial.commit]]]),
      ...charts(trial), ...evaluations(trial), ...file(id, trial),
    ].filter(Boolean));
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
    body.querySelector("#trial-title").focus();
  };

  let opener = null;
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#trial-"]');
    if (!link) return;
    event.preventDefault();
    if (!dialog.contains(link)) opener = link;
    open(link.getAttribute("href").slice("#trial-".length));
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => { if (opener) opener.focus(); opener = null; });
  const fromAddress = () => { if (location.hash.startsWith("#trial-")) open(location.hash.slice("#trial-".length)); };
  addEventListener("hashchange", fromAddress);
  fromAddress();

  // A printed page shows what can be unfolded, except the list of all trials.
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details.comparison:not([open])")];
    for (const each of closed) each.open = true;
  });
  addEventListener("afterprint", () => { for (const each of closed) each.open = false; });
})();
