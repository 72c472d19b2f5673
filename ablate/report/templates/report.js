(() => {
  const root = document.documentElement;
  const $ = (id) => document.getElementById(id);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const css = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const make = (tag, text = "", fields = {}) => Object.assign(document.createElement(tag), { textContent: text, ...fields });
  const button = (text, act, fields = {}) => { const b = make("button", text, { type: "button", ...fields }); b.addEventListener("click", act); return b; };
  const stored = (() => { try { return localStorage.getItem("ablate-theme"); } catch { return null; } })();
  if (stored) root.dataset.theme = stored;

  const save = (name, text, type) => {
    const link = make("a", "", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };
  const study = document.querySelector("nav .home")?.textContent ?? "study";
  const quoted = (value) => /[",\n]/.test(value ?? "") ? `"${String(value).replaceAll('"', '""')}"` : String(value ?? "");
  const csv = (rows) => rows.map((row) => row.map(quoted).join(",")).join("\n") + "\n";
  $("save-findings").addEventListener("click", () => save("findings.json", $("findings").textContent, "application/json"));

  // ── Figures. Text and grid follow the page's theme; colours of the data stay.
  const theme = () => ({
    "font.color": css("--ink"), "xaxis.gridcolor": css("--grid"), "yaxis.gridcolor": css("--grid"),
    "hoverlabel.bgcolor": css("--card"), "hoverlabel.font.color": css("--ink"),
  });
  const figures = all(".figure").filter(() => window.Plotly);
  const restyle = () => figures.forEach((div) => div.data && Plotly.relayout(div, theme()));
  const PALETTE = ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#b8a800"];

  const choice = (bar, entries) => {  // buttons of which one is pressed
    const made = entries.map(([text, act], i) => {
      const b = button(text, () => { made.forEach((other) => other.setAttribute("aria-pressed", String(other === b))); act(); });
      b.setAttribute("aria-pressed", String(i === 0));
      return b;
    });
    bar.append(...made);
  };

  // One button per arm instead of a legend: two hundred arms fit, and colours go to what is shown.
  const chooser = (div, bar) => {
    const arms = [...new Set(div.data.map((t) => t.meta).filter(Boolean))];
    if (!arms.length) return;
    const list = make("div", "", { className: "arms", role: "group", tabIndex: 0 });
    list.setAttribute("aria-label", "Arms shown");
    const of = (arm) => div.data.flatMap((t, i) => (t.meta === arm ? [i] : []));
    const colours = new Map(arms.map((arm) => [arm, div.data[of(arm)[0]].line.color]));
    const shown = new Set(arms.filter((arm) => div.data[of(arm)[0]].visible === true));
    const paint = (b, arm) => { b.setAttribute("aria-pressed", String(shown.has(arm))); b.style.setProperty("--own", colours.get(arm)); };
    const toggle = (arm, b) => {
      if (shown.has(arm)) shown.delete(arm);
      else {
        if (colours.get(arm) !== "#808080") {
          const used = [...shown].map((a) => colours.get(a));
          colours.set(arm, PALETTE.find((c) => !used.includes(c)) ?? colours.get(arm));
        }
        shown.add(arm);
      }
      Plotly.restyle(div, { visible: shown.has(arm), "line.color": colours.get(arm) }, of(arm));
      paint(b, arm);
    };
    arms.forEach((arm) => {
      const b = button(arm, () => toggle(arm, b));
      b.dataset.arm = arm;
      paint(b, arm);
      list.append(b);
    });
    bar.after(list);
    Plotly.relayout(div, { showlegend: false });
  };

  const points = (div) => {
    const rows = [["series", "x", "y", "low", "high"]];
    div.data.forEach((t) => t.x?.forEach((x, i) => {
      const e = t.error_y?.array ? t.error_y : null;
      rows.push([t.text?.[i] ?? t.meta ?? t.name ?? "", x, t.y[i], e ? t.y[i] - e.arrayminus[i] : "", e ? t.y[i] + e.array[i] : ""]);
    }));
    return rows;
  };
  const cells = (table) => {
    const rows = [[...table.tHead.rows[0].cells].flatMap((c) => {
      const head = c.dataset.head ?? c.textContent;
      return [head, `${head} low`, `${head} high`];
    })];
    [...table.tBodies[0].rows].forEach((r) => rows.push([...r.cells].flatMap((c) => [
      c.tagName === "TH" ? r.dataset.arm ?? c.textContent : c.dataset.value ?? c.textContent.trim(), c.dataset.low ?? "", c.dataset.high ?? "",
    ])));
    const width = Math.max(...rows.map((r) => r.length));
    const kept = [...Array(width).keys()].filter((i) => i % 3 === 0 || rows.slice(1).some((r) => r[i]));
    return rows.map((r) => kept.map((i) => r[i] ?? ""));
  };

  // Every figure shows and saves the numbers behind it.
  const inspect = (bar, name, rows) => {
    const view = button("Data", () => {
      const open = bar.parentElement.querySelector(`.data-view[data-of="${name}"]`);
      view.setAttribute("aria-pressed", String(!open));
      if (open) return open.remove();
      const found = rows();
      const box = make("div", "", { className: "scroll tall data-view", tabIndex: 0, role: "region" });
      box.dataset.of = name;
      box.setAttribute("aria-label", `Data of ${name}`);
      const table = make("table");
      const head = table.createTHead().insertRow();
      found[0].forEach((text) => head.append(make("th", text, { scope: "col" })));
      const body = table.createTBody();
      found.slice(1, 501).forEach((row) => { const tr = body.insertRow(); row.forEach((value) => tr.insertCell().append(String(value))); });
      box.append(table);
      if (found.length > 501) box.append(make("p", `the first 500 of ${found.length - 1} rows; the CSV has all`, { className: "note" }));
      bar.after(box);
    });
    bar.append(view, button("CSV", () => save(`${study}-${name}.csv`, csv(rows()), "text/csv")));
  };

  all(".tools").forEach((bar) => {
    const name = bar.dataset.for;
    const table = name === "ablation" ? document.querySelector("table.ablation") : name === "interactions" ? $("interactions-table") : $(name);
    if (name === "forest" && table && Number(table.style.getPropertyValue("--zoom")) > 1) {
      choice(bar, [["whole range", () => table.classList.remove("near")], ["near the margin", () => table.classList.add("near")]]);
    }
    if (table?.tagName === "TABLE") { bar.append(make("span", "", { className: "spring" })); inspect(bar, table.dataset.name ?? name, () => cells(table)); }
  });
  figures.forEach((div) => {
    const name = div.id.replace("figure-", "");
    const bar = document.querySelector(`.tools[data-for="${name}"]`);
    const figure = JSON.parse($(`data-${name}`).textContent);
    const menu = figure.layout.updatemenus?.[0];
    delete figure.layout.updatemenus;  // drawn by the page: plotly's own cannot follow a dark theme
    Object.entries(theme()).forEach(([path, value]) => {
      const steps = path.split("."), last = steps.pop();
      steps.reduce((at, step) => (at[step] ??= {}), figure.layout)[last] = value;
    });
    Plotly.newPlot(div, figure.data, figure.layout, { responsive: true, displaylogo: false, displayModeBar: false });
    if (menu) choice(bar, menu.buttons.map((b) => [b.label, () => Plotly[b.method](div, ...structuredClone(b.args))]));
    bar.append(make("span", "", { className: "spring" }));
    inspect(bar, name, () => points(div));
    for (const format of ["svg", "png"]) {
      bar.append(button(format.toUpperCase(), () => Plotly.downloadImage(div, { format, filename: `${study}-${name}`, width: 900, height: 540, scale: format === "png" ? 3 : 1 })));
    }
    chooser(div, bar);
  });

  const dark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  $("theme").addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.setItem("ablate-theme", root.dataset.theme); } catch { /* a file page may have no storage */ }
    restyle();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", restyle);

  // Paper is light, and narrower than the window.
  let before, heads = [];
  addEventListener("beforeprint", () => {
    // Chromium repeats a table's head on every page, but not the buttons in it.
    heads = all("thead th > button").map((b) => [b.parentElement, b, [...b.childNodes]]);
    heads.forEach(([th, , inside]) => th.replaceChildren(...inside));
    before = root.dataset.theme;
    root.dataset.theme = "light";
    figures.forEach((div) => Plotly.relayout(div, { ...theme(), width: 680, "font.size": 11, showlegend: true }));
    all("details").forEach((d) => { d.dataset.was = d.open ? "open" : ""; if (document.querySelectorAll(".verdicts li").length <= 24) d.open = true; });
  });
  addEventListener("afterprint", () => {
    heads.forEach(([th, b, inside]) => { b.append(...inside); th.replaceChildren(b); });
    if (before) root.dataset.theme = before; else delete root.dataset.theme;
    figures.forEach((div) => Plotly.relayout(div, { ...theme(), width: null, autosize: true, "font.size": 13, showlegend: !div.data.some((t) => t.meta) }));
    all("details").forEach((d) => { d.open = d.dataset.was === "open"; });
  });

  // ── Filters: a verdict's button, or part of a name, narrows every table and list of arms.
  const filter = $("filter");
  const pills = all("#tally .pill");
  const narrow = () => {
    const text = (filter?.value ?? "").toLowerCase();
    const wanted = pills.filter((p) => p.getAttribute("aria-pressed") === "true").map((p) => p.dataset.verdict);
    const verdicts = new Map(all("#forest tr.arm").map((r) => [r.dataset.arm, r.dataset.verdict]));
    let count = 0;
    all("tr.arm, .verdicts li").forEach((row) => {
      const verdict = row.dataset.verdict ?? verdicts.get(row.dataset.arm);
      row.hidden = !(row.dataset.arm ?? "").toLowerCase().includes(text) || (wanted.length > 0 && !wanted.includes(verdict));
      if (!row.hidden && row.closest("#forest")) count += 1;
    });
    all("tr.group").forEach((row) => {
      let next = row.nextElementSibling, any = false, arms = false;
      while (next?.classList.contains("indent")) { arms ||= next.classList.contains("arm"); any ||= !next.hidden; next = next.nextElementSibling; }
      row.hidden = arms && !any;
    });
    if (filter) $("found").textContent = text || wanted.length ? `${count} of ${verdicts.size} arms` : "";
  };
  filter?.addEventListener("input", narrow);
  pills.forEach((pill) => pill.addEventListener("click", () => {
    pill.setAttribute("aria-pressed", String(pill.getAttribute("aria-pressed") !== "true"));
    narrow();
  }));
  const opened = () => {  // a link to an arm opens it, and whatever it is folded into
    let at = location.hash ? $(location.hash.slice(1)) : null;
    at?.querySelector("details")?.setAttribute("open", "");
    for (; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
    if (location.hash) $(location.hash.slice(1))?.scrollIntoView();
  };
  addEventListener("hashchange", opened);
  if (location.hash.startsWith("#arm-")) opened();

  // ── Sorting takes the arms out of their groups; the baseline stays on top and the reference scores at the end.
  all("table.sortable").forEach((table) => {
    const body = table.tBodies[0];
    const original = [...body.rows];
    let column = -1, direction = 1;
    const key = (row, i) => {
      const cell = row.cells[i], value = cell.dataset.value;
      if (value === undefined && cell.classList.contains("num")) return null;
      return value === undefined ? (cell.tagName === "TH" ? row.dataset.arm ?? cell.textContent : cell.textContent) : Number(value);
    };
    const compare = (a, b) => {
      const [x, y] = [key(a, column), key(b, column)];
      if (x === null || y === null) return (x === null) - (y === null);  // nothing to sort by comes last
      if (typeof x !== typeof y) return typeof x === "number" ? -1 : 1;  // numbers first, whatever the direction
      return direction * (typeof x === "number" ? x - y : x.localeCompare(y, undefined, { numeric: true }));
    };
    const sort = (i, head) => {
      if (i !== column) { column = i; direction = 1; } else if (direction === 1) direction = -1; else column = -1;
      [...table.tHead.rows[0].cells].forEach((c) => c.removeAttribute("aria-sort"));
      if (column >= 0) head.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
      const kind = (name) => original.filter((r) => r.classList.contains(name));
      body.replaceChildren(...(column < 0 ? original : [...kind("baseline"), ...kind("arm").sort(compare), ...kind("scale")]));
      if (table.classList.contains("ablation")) all("tr.arm > th", body).forEach((th) => {
        th.dataset.short ??= th.textContent;
        th.textContent = column < 0 ? th.dataset.short : th.closest("tr").dataset.arm ?? th.dataset.short;
      });
    };
    [...table.tHead.rows[0].cells].forEach((head, i) => {
      if (head.dataset.sort === "none") return;
      head.dataset.head = head.textContent;
      const b = button("", () => sort(i, head), { title: "sort" });
      b.append(...head.childNodes);
      head.append(b);
    });
  });

  // ── The section in view is marked in the list of sections.
  const links = new Map(all("nav a[href^='#']").map((a) => [a.getAttribute("href").slice(1), a]));
  const seen = new IntersectionObserver((entries) => entries.forEach((entry) => {
    const link = links.get(entry.target.id);
    if (!entry.isIntersecting) return link?.removeAttribute("aria-current");
    links.forEach((a) => a.removeAttribute("aria-current"));
    link?.setAttribute("aria-current", "true");
  }), { rootMargin: "-10% 0px -80% 0px" });
  all("main section[id]").forEach((section) => seen.observe(section));
})();
