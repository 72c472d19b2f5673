(() => {
  const root = document.documentElement;
  const css = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const store = (key, value) => { try { return value === undefined ? localStorage.getItem(key) : localStorage.setItem(key, value); } catch { return null; } };
  if (store("ablate-theme")) root.dataset.theme = store("ablate-theme");

  let state = JSON.parse(document.getElementById("state").textContent);
  const curves = state.curves;  // trial → columns; news are merged in
  const PALETTE = ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#c8b400"];  // Okabe & Ito, as in the report
  const DASHES = ["solid", "dash", "dot", "dashdot"];
  const SHOWN = 6;  // arms drawn at first; the others wait behind their buttons
  const hidden = new Set(state.study.arms.slice(SHOWN + 1));

  // --- small things ------------------------------------------------------------------------------------------
  const el = (tag, props = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [key, value] of Object.entries(props)) key in node ? (node[key] = value) : node.setAttribute(key, value);
    node.append(...children);
    return node;
  };
  const svg = (tag, props = {}, ...children) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [key, value] of Object.entries(props)) node.setAttribute(key, value);
    node.append(...children);
    return node;
  };
  const text = (node, value) => { if (node.textContent !== value) node.textContent = value; };
  const minutes = (seconds) => {
    if (seconds === null || seconds === undefined) return "–";
    const s = Math.round(seconds), m = Math.floor(s / 60), h = Math.floor(m / 60), d = Math.floor(h / 24);
    if (s < 60) return `${s} s`;
    if (m < 60) return m < 10 ? `${m} min ${s % 60} s` : `${m} min`;
    return h < 48 ? `${h} h ${m % 60} min` : `${d} d ${h % 24} h`;
  };
  const quantity = (value) => {
    if (value === null || value === undefined) return "–";
    for (const [size, unit] of [[1e12, " T"], [1e9, " G"], [1e6, " M"], [1e3, " k"]])
      if (Math.abs(value) >= size) return Number((value / size).toPrecision(3)) + unit;
    return Number(value.toPrecision(3)).toString();
  };
  const plural = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;
  const armStyle = (arm) => {
    const i = state.study.arms.indexOf(arm);
    return i <= 0 ? { color: "#808080", dash: "solid" }  // the baseline is grey, as in the report
      : { color: PALETTE[(i - 1) % PALETTE.length], dash: DASHES[Math.floor((i - 1) / PALETTE.length) % DASHES.length] };
  };
  const kindOf = (trial) => trial.failed ? "failed" : trial.state;

  // --- the line that says it all -----------------------------------------------------------------------------
  const sentence = () => {
    const p = state.progress;
    const failures = p.failed ? ` ${plural(p.failed, "trial")} failed.` : "";
    if (p.finished) return `Finished: ${plural(p.done, "trial")}.${failures}`;
    const running = state.trials.filter((t) => t.state === "running").length;
    const eta = p.eta_seconds ? ` About ${minutes(p.eta_seconds)} left.` : "";
    if (p.coordinator) return `Running: ${p.done} of ${plural(p.total, "trial")} done, ${running} at work.${eta}${failures}`;
    return `Not running: ${p.done} of ${plural(p.total, "trial")} done. ablate run resumes the study.${failures}`;
  };
  const each = () => { // arms of imported runs, or of a study that adds blocks, may have different numbers
    const counts = state.study.arms.map((arm) => state.trials.filter((t) => t.arm === arm).length);
    const least = Math.min(...counts), most = Math.max(...counts);
    return `${least < most ? `${least}–` : ""}${plural(most, state.study.unit)}`;
  };
  const drawStatus = () => {
    const p = state.progress, s = state.study;
    text(document.getElementById("study"), s.name);
    text(document.getElementById("question"), s.question);
    text(document.getElementById("design"), `${s.design} · ${plural(s.arms.length, "arm")} × ${each()} · ${s.budget}`);
    text(document.getElementById("now"), sentence());
    document.getElementById("pulse").className = p.finished ? (p.failed ? "failed" : "finished") : p.coordinator ? "running" : "";
    document.title = `${p.done}/${p.total} · ${state.study.title}`;
  };
  const drawFresh = (trouble) => {
    const fresh = document.getElementById("fresh");
    const at = new Date(state.at * 1000);
    const when = window.ABLATE_LIVE ? at.toLocaleTimeString() : at.toLocaleString();
    fresh.classList.toggle("stale", Boolean(trouble));
    text(fresh, trouble ? `${trouble} Shown is ${when}.` : window.ABLATE_LIVE ? `As of ${when}; updates itself.` : `A snapshot of ${when}.`);
  };

  // --- progress ----------------------------------------------------------------------------------------------
  const makeProgress = () => {
    const tiles = el("dl", { className: "tiles" }), bar = el("div", { className: "bar", ariaHidden: "true" });
    const values = {};
    for (const [key, label] of [["done", "trials done"], ["running", "at work"], ["failed", "failed"], ["eta", "left"],
      ["speed", "tokens/s now"], ["tokens", "tokens trained"], ["seconds", "training time"], ["occupied", "machine time"]]) {
      values[key] = el("dd");
      tiles.append(el("div", {}, el("dt", {}, label), values[key]));
    }
    const parts = Object.fromEntries(["complete", "failed", "running", "paused"].map((k) => [k, el("i", { className: k })]));
    bar.append(...Object.values(parts));
    const { table, cells } = makeMatrix();
    const node = el("div", {}, tiles, bar, el("div", { className: "scroll long", tabIndex: 0, role: "region", ariaLabel: `Every trial by arm and ${state.study.unit}` }, table),
      el("p", { className: "states" }, ...["✓ complete, with its outcome", "✗ failed", "% at work", "↻ paused, resumes", "· waiting"].map((k) => el("span", {}, k))));
    return { node, update: () => { drawTiles(values); drawBar(parts); drawCells(cells); } };
  };
  const drawTiles = (values) => {
    const p = state.progress;
    const shown = {
      done: `${p.done} / ${p.total}`, running: String(state.trials.filter((t) => t.state === "running").length),
      failed: String(p.failed), eta: p.finished ? "0 s" : minutes(p.eta_seconds), speed: quantity(p.tokens_per_second),
      tokens: quantity(p.tokens), seconds: minutes(p.seconds), occupied: minutes(p.occupied),
    };
    for (const [key, value] of Object.entries(shown)) text(values[key], value);
  };
  const drawBar = (parts) => {
    for (const [kind, part] of Object.entries(parts)) {
      const share = state.trials.filter((t) => kindOf(t) === kind).reduce((sum, t) => sum + (kind === "complete" || kind === "failed" ? 1 : t.progress), 0);
      part.style.width = `${100 * share / Math.max(1, state.trials.length)}%`;
    }
  };
  const makeMatrix = () => {
    const cells = new Map(), head = el("tr", {}, el("td"));
    for (let b = 0; b < state.study.blocks; b++) head.append(el("th", { scope: "col" }, `${state.study.unit} ${b}`));
    const body = el("tbody");
    for (const arm of state.study.arms) {
      const row = el("tr", {}, el("th", { scope: "row" }, arm));
      for (let b = 0; b < state.study.blocks; b++) {
        const cell = el("span", { className: "cell none" }, el("i"), el("span", {}, ""));
        cells.set(`${arm}\n${b}`, cell);
        row.append(el("td", {}, cell));
      }
      body.append(row);
    }
    return { table: el("table", { className: "matrix" }, el("thead", {}, head), body), cells };
  };
  const drawCells = (cells) => {
    for (const t of state.trials) {
      const cell = cells.get(`${t.arm}\n${t.block}`);
      if (!cell) continue;
      const kind = kindOf(t), share = `${Math.round(100 * t.progress)} %`;
      const shown = { complete: `✓ ${t.outcome === null ? "" : Number(t.outcome.toPrecision(4))}`, failed: `✗ ${t.state}`, paused: `↻ ${share}`,
        running: t.phase === "pretrain" ? share : t.phase === "evaluate" ? `eval ${share}` : t.phase, waiting: "·" }[kind];
      const name = `cell ${kind}`;
      if (cell.className !== name) cell.className = name;
      cell.style.setProperty("--p", share.replace(" ", ""));
      text(cell.lastChild, shown);
      const hint = [`${t.arm} / ${t.block} (${t.trial}): ${t.state}`, t.loss !== null && `loss ${t.loss.toFixed(3)}`,
        t.tokens_per_second && `${quantity(t.tokens_per_second)} tokens/s`, t.attempts > 1 && `attempt ${t.attempts}`, t.reason].filter(Boolean).join(" · ");
      if (cell.title !== hint) cell.title = hint;
    }
  };

  // --- verdicts ----------------------------------------------------------------------------------------------
  const makeVerdicts = () => {
    const node = el("div");
    let drawn = "";
    return { node, update: () => {
      const v = state.verdicts, key = JSON.stringify(v);
      if (key === drawn) return;
      drawn = key;
      node.replaceChildren(...verdicts(v));
    } };
  };
  const verdicts = (v) => {
    const rows = v.rows.filter((r) => r.estimate !== null || r.absent);
    if (!rows.length) return [el("p", { className: "empty" }, v.answer || "No trial has a score yet.")];
    const head = el("p", {}, v.answer);
    if (v.interim) head.append(el("span", { className: "badge" }, "interim"));
    const drawn = rows.filter((r) => !r.absent), scale = axis(drawn, v.margin ?? 0);
    const body = el("tbody", {}, ...rows.map((r) => effectRow(r, v, scale)));
    const heads = ["Arm", state.study.unit === "block" ? "Blocks" : "Trials", v.higher_is_better ? "worse ← → better" : "better ← → worse", `Δ${v.unit ? ` ${v.unit}` : ""} [CI]`, "adj. p", "Verdict"];
    const table = el("table", { className: "effects" }, el("thead", {}, el("tr", {}, ...heads.map((h, i) => el("th", { scope: "col", className: i === 1 || i === 3 || i === 4 ? "num" : "" }, h)))), body);
    const notes = [v.note, v.margin && drawn.length ? `Shaded: the margin of ±${v.margin}, the largest difference that would not matter.` : ""].filter(Boolean);
    return [head, el("div", { className: "scroll long", tabIndex: 0, role: "region", ariaLabel: "Effects by arm" }, table), el("p", { className: "note" }, notes.join(" "))];
  };
  const axis = (rows, margin) => {
    const ends = rows.flatMap((r) => [Math.abs(r.estimate), Math.abs(r.low ?? 0), Math.abs(r.high ?? 0)]).sort((a, b) => a - b);
    // Two blocks give intervals thirty times as wide as the effect: the axis keeps to what can be told apart.
    const most = Math.max(2 * margin, 1.2 * Math.max(...rows.map((r) => Math.abs(r.estimate))), Math.min(1.05 * ends[ends.length - 1], 6 * (margin || ends[0] || 1)));
    return (value) => 100 * Math.min(1, Math.max(0, (value / (most || 1) + 1) / 2));
  };
  const effectRow = (r, v, at) =>
    el("tr", { className: v.interim ? "interim" : "" }, el("th", { scope: "row", title: r.reason }, r.arm),
      el("td", { className: `num n ${state.study.unit}` }, `${r.n} / ${r.planned}`),
      r.absent ? el("td", { className: "plot absent" }, r.absent) : el("td", { className: "plot" }, effectMark(r, v, at)),
      el("td", { className: "num" }, r.text), el("td", { className: "num padj" }, r.p),
      el("td", { className: "verdict-cell" }, el("span", { className: `verdict ${r.verdict}` }, r.verdict)));
  const effectMark = (r, v, at) => {
    const mark = svg("svg", { viewBox: "0 0 100 26", preserveAspectRatio: "none", "aria-hidden": "true", class: r.verdict });
    if (v.margin) mark.append(svg("rect", { class: "margin", x: at(-v.margin), width: at(v.margin) - at(-v.margin), y: 0, height: 26 }));
    mark.append(svg("line", { class: "zero", x1: 50, x2: 50, y1: 0, y2: 26, "vector-effect": "non-scaling-stroke" }));
    if (r.low !== null && r.high !== null) mark.append(svg("line", { class: "whisker", x1: at(r.low), x2: at(r.high), y1: 13, y2: 13, "vector-effect": "non-scaling-stroke" }));
    mark.append(svg("line", { class: "whisker", x1: at(r.estimate), x2: at(r.estimate), y1: 5, y2: 21, "vector-effect": "non-scaling-stroke", style: "stroke-width: 5" }));
    return mark;
  };

  // --- failures ----------------------------------------------------------------------------------------------
  const makeFailures = () => {
    const node = el("div");
    let drawn = null;
    return { node, update: () => {
      const failed = state.trials.filter((t) => t.failed), key = JSON.stringify(failed);
      if (key === drawn) return;
      drawn = key;
      node.replaceChildren(failed.length ? el("ul", { className: "failures" }, ...failed.map((t) => el("li", {},
        el("span", { className: "state" }, t.state), ` ${t.arm} / ${t.block} `, el("code", {}, t.trial), el("br"), t.reason || "no reason recorded")))
        : el("p", { className: "empty" }, "None."));
    } };
  };

  // --- figures -----------------------------------------------------------------------------------------------
  const inView = new WeakSet();
  const onView = new Map();
  const observer = new IntersectionObserver((entries) => entries.forEach((e) => {
    e.isIntersecting ? inView.add(e.target) : inView.delete(e.target);
    if (e.isIntersecting) onView.get(e.target)?.();
  }), { rootMargin: "400px" });
  // What was never scrolled to would be an empty panel on paper.
  addEventListener("beforeprint", () => onView.forEach((draw, node) => { if (node.isConnected) { inView.add(node); draw(); } }));

  const makeFigure = (panel) => {
    const figure = el("div", { className: "figure" }), empty = el("p", { className: "empty" }, "No trial has reported it yet.");
    const node = el("figure", { className: "panel" }, el("h3", {}, panel.title), figure, empty);
    node.dataset.metric = panel.metric;
    let drawn = "";
    const draw = () => {
      const traces = panel.kind === "line" ? lines(panel) : marks(panel);
      figure.hidden = !traces.length;
      empty.hidden = Boolean(traces.length) || panel.optional;
      node.hidden = !traces.length && panel.optional;
      if (!traces.length) return;
      const key = fingerprint(panel) + css("--ink");
      if (key === drawn || !inView.has(node)) return;
      drawn = key;
      if (panel.kind === "bar") figure.style.height = `${90 + 30 * traces.length}px`;
      Plotly.react(figure, traces, layout(panel), { responsive: true, displayModeBar: false });
    };
    onView.set(node, draw);
    observer.observe(node);
    return { node, update: draw };
  };
  const fingerprint = (panel) => panel.kind === "line"
    ? `${state.session} ${state.version} ${[...hidden].join()}` : JSON.stringify([state.scores[panel.metric], [...hidden]]);
  const drawnTrials = () => state.trials.filter((t) => !hidden.has(t.arm));
  const lines = (panel) => drawnTrials().flatMap((t) => {
    const x = curves[t.trial]?.[panel.x], y = curves[t.trial]?.[panel.metric];
    if (!x || !y) return [];
    const style = armStyle(t.arm), name = safe(`${t.arm} / ${t.block}`);
    return [{ type: "scatter", mode: y.length > 1 ? "lines" : "markers", x, y, name, showlegend: false, opacity: t.state === "running" ? 1 : .7,
      line: { ...style, width: t.state === "running" ? 2.2 : 1.4 }, marker: { color: style.color, size: 5 },
      hovertemplate: `${name}<br>%{x:.4~s} → %{y:.4~g}<extra></extra>` }];
  });
  const marks = (panel) => {
    const values = state.scores[panel.metric] ?? {};
    return state.study.arms.filter((arm) => !hidden.has(arm)).flatMap((arm) => {
      const mine = state.trials.filter((t) => t.arm === arm && values[t.trial] !== undefined);
      return mine.length ? [{ type: "scatter", mode: "markers", x: mine.map((t) => values[t.trial]), y: mine.map(() => safe(arm)), showlegend: false,
        marker: { color: armStyle(arm).color, size: 10, opacity: .8 }, text: mine.map((t) => safe(`${arm} / ${t.block}`)),
        hovertemplate: "%{text}<br>%{x:.4~g}<extra></extra>" }] : [];
    });
  };
  // One loss that exploded would press all others flat: the axis begins with trials that did not fail.
  const range = (panel) => {
    const drawn = drawnTrials(), well = drawn.filter((t) => kindOf(t) !== "failed");
    const values = well.flatMap((t) => curves[t.trial]?.[panel.metric] ?? []).filter((v) => Number.isFinite(v) && !(panel.log_y && v <= 0));
    if (well.length === drawn.length || !values.length) return {};
    const seen = values.map((v) => (panel.log_y ? Math.log10(v) : v));
    const low = seen.reduce((m, v) => Math.min(m, v)), high = seen.reduce((m, v) => Math.max(m, v)), room = (high - low || 1) / 20;
    return { range: [low - room, high + room] };
  };
  const safe = (name) => name.replace(/&/g, "&amp;").replace(/</g, "&lt;");
  const layout = (panel) => {
    const grid = css("--grid"), ink = css("--ink");
    const axis = { gridcolor: grid, zeroline: false, automargin: true, linecolor: grid, tickcolor: grid };
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 8, r: 12, t: 8, b: 42 }, uirevision: "keep", hovermode: "closest",
      font: { family: "system-ui, sans-serif", size: 12, color: ink }, hoverlabel: { bgcolor: css("--card"), font: { color: ink } },
      xaxis: { ...axis, title: { text: panel.kind === "line" ? panel.x_title || panel.x : panel.metric, standoff: 6 }, type: panel.log_x ? "log" : "linear", exponentformat: "SI", nticks: 6 },
      yaxis: panel.kind === "line" ? { ...axis, title: { text: panel.y_title, standoff: 6 }, exponentformat: "SI", ...(panel.log_y ? { type: "log", dtick: "D2" } : { type: "linear", nticks: 7 }), ...range(panel) }
        : { ...axis, autorange: "reversed", type: "category", tickfont: { size: 11 }, ticklabelstandoff: 6 },
    };
  };

  // --- arms: one legend for every figure ---------------------------------------------------------------------
  const makeArms = () => {
    const list = el("ul", { className: "arms", ariaLabel: "Arms shown in the figures" });
    for (const arm of state.study.arms) {
      const style = armStyle(arm), swatch = svg("svg", { viewBox: "0 0 22 4", "aria-hidden": "true" },
        svg("line", { x1: 0, x2: 22, y1: 2, y2: 2, stroke: style.color, "stroke-width": 4, "stroke-dasharray": { solid: "none", dash: "6 3", dot: "2 2", dashdot: "6 2 2 2" }[style.dash] }));
      const button = el("button", { type: "button" }, swatch, el("span", {}, arm));
      button.setAttribute("aria-pressed", String(!hidden.has(arm)));
      button.addEventListener("click", () => {
        hidden.has(arm) ? hidden.delete(arm) : hidden.add(arm);
        button.setAttribute("aria-pressed", String(!hidden.has(arm)));
        update();
      });
      list.append(el("li", {}, button));
    }
    return list;
  };

  // --- the page ----------------------------------------------------------------------------------------------
  const MAKERS = { progress: makeProgress, verdicts: makeVerdicts, failures: makeFailures, line: makeFigure, bar: makeFigure };
  let panels = [], shape = "";
  const slug = (name) => name.toLowerCase().replace(/[^a-z0-9]+/g, "-");
  const build = () => {
    const main = document.getElementById("main"), nav = document.getElementById("nav");
    observer.disconnect();
    panels = [];
    main.replaceChildren();
    nav.replaceChildren(nav.firstElementChild);
    let legend = false;
    for (const section of state.sections) {
      const figures = section.panels.some((p) => p.kind === "line" || p.kind === "bar");
      if (figures && !legend) { main.append(makeArms()); legend = true; }
      const made = section.panels.map((p) => MAKERS[p.kind](p));
      panels.push(...made);
      nav.append(el("a", { href: `#${slug(section.name)}` }, section.name));
      main.append(el("section", { id: slug(section.name) }, el("h2", {}, section.name), el("p", { className: "lead" }, section.question),
        el("div", { className: figures ? "panels" : "" }, ...made.map((m) => m.node))));
    }
  };
  const update = () => {
    const now = JSON.stringify([state.sections, state.study.arms, state.study.blocks]);
    if (now !== shape) { shape = now; build(); }
    drawStatus();
    panels.forEach((panel) => panel.update());
  };

  const dark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.getElementById("theme").addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    store("ablate-theme", root.dataset.theme);
    update();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", update);

  // --- news --------------------------------------------------------------------------------------------------
  let last = state.version;
  const news = async () => {
    const answer = await fetch(`state.json?session=${state.session}&after=${last}`, { cache: "no-store" });
    const fresh = await answer.json();
    if (fresh.error) throw new Error(fresh.error);
    // Another server at this address, perhaps of another study.
    if (fresh.session !== state.session) Object.keys(curves).forEach((trial) => delete curves[trial]);
    Object.assign(curves, fresh.curves);
    state = fresh;
    last = state.version;
  };
  const follow = async () => {
    if (!document.hidden) {
      try { await news(); update(); drawFresh(""); }
      catch (error) { drawFresh(error instanceof TypeError ? "No connection: ablate dashboard no longer runs." : `${error.message}.`); }
    }
    setTimeout(follow, state.progress.finished ? 10000 : 2000);
  };
  update();
  drawFresh("");
  if (window.ABLATE_LIVE) {
    document.addEventListener("visibilitychange", () => { if (!document.hidden) news().then(() => { update(); drawFresh(""); }, () => {}); });
    setTimeout(follow, 1000);
  }
})();
