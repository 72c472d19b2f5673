(() => {
  const root = document.documentElement;
  const css = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const stored = (() => { try { return localStorage.getItem("ablate-theme"); } catch { return null; } })();
  if (stored) root.dataset.theme = stored;

  // Text and grid of the figures follow the page's theme; colours of the data stay.
  const theme = () => ({
    "font.color": css("--ink"), "xaxis.gridcolor": css("--grid"), "yaxis.gridcolor": css("--grid"),
    "hoverlabel.bgcolor": css("--card"), "hoverlabel.font.color": css("--ink"),
  });
  const figures = [...document.querySelectorAll(".figure")].filter(() => window.Plotly);
  const restyle = () => figures.forEach((div) => Plotly.relayout(div, theme()));

  // The figure's own buttons cannot follow a dark theme; the page draws them.
  const buttons = (div, menu) => {
    const bar = document.createElement("p");
    bar.className = "axes";
    menu.buttons.forEach((choice, i) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = choice.label;
      button.setAttribute("aria-pressed", String(i === 0));
      button.addEventListener("click", () => {
        [...bar.children].forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
        Plotly[choice.method](div, ...choice.args);
      });
      bar.append(button);
    });
    div.before(bar);
  };
  figures.forEach((div) => {
    const figure = JSON.parse(document.getElementById(div.id.replace("figure-", "data-")).textContent);
    const menu = figure.layout.updatemenus?.[0];
    delete figure.layout.updatemenus;
    if (menu) buttons(div, menu);
    Plotly.newPlot(div, figure.data, figure.layout, { responsive: true, displaylogo: false, displayModeBar: false });
  });
  restyle();

  const dark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.getElementById("theme").addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.setItem("ablate-theme", root.dataset.theme); } catch { /* a file page may have no storage */ }
    restyle();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", restyle);

  // Sorting takes the arms out of their groups; the baseline stays on top and the reference scores at the end.
  document.querySelectorAll("table.sortable").forEach((table) => {
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const original = rows.slice();
    let column = -1, direction = 1;
    const key = (row, i) => {
      const cell = row.cells[i];
      const value = cell.dataset.value;
      return value === undefined ? cell.textContent : Number(value);
    };
    const compare = (a, b) => {
      const [x, y] = [key(a, column), key(b, column)];
      if (typeof x !== typeof y) return typeof x === "number" ? -1 : 1;  // numbers first, whatever the direction
      return direction * (typeof x === "number" ? x - y : x.localeCompare(y));
    };
    const sort = (i, head) => {
      if (i !== column) { column = i; direction = 1; } else if (direction === 1) direction = -1; else column = -1;
      [...table.tHead.rows[0].cells].forEach((c) => c.removeAttribute("aria-sort"));
      if (column >= 0) head.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
      const arms = original.filter((r) => r.classList.contains("arm"));
      const shown = column < 0 ? original : [
        ...original.filter((r) => r.classList.contains("baseline")), ...arms.sort(compare),
        ...original.filter((r) => r.classList.contains("scale")),
      ];
      body.replaceChildren(...shown);
      body.querySelectorAll("tr.arm > th").forEach((th) => {
        th.dataset.short ??= th.textContent;
        th.textContent = column < 0 ? th.dataset.short : th.closest("tr").dataset.arm ?? th.dataset.short;
      });
    };
    [...table.tHead.rows[0].cells].forEach((head, i) => {
      head.tabIndex = 0;
      head.title = "sort";
      head.addEventListener("click", () => sort(i, head));
      head.addEventListener("keydown", (e) => { if (e.key === "Enter" || e.key === " ") { e.preventDefault(); sort(i, head); } });
    });
  });
})();
