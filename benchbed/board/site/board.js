"use strict";
for (const board of document.querySelectorAll(".board")) {
  const form = board.querySelector(".controls");
  const body = board.querySelector(".ranking tbody");
  const status = board.querySelector(".status");
  const heads = [...board.querySelectorAll("th[data-column][data-first]")];
  const rows = [...body.rows];
  const keyed = [...board.querySelectorAll("[data-key]")];
  const tasked = [...board.querySelectorAll('[data-column^="task-"], [data-task]')];
  const collator = new Intl.Collator("en", { numeric: true });

  const valueOf = (row, column) => row.querySelector(`[data-column="${column}"]`).dataset.sort;

  function compare(a, b, column) {
    const [left, right] = [valueOf(a, column), valueOf(b, column)];
    if (column === "name") return collator.compare(left, right);
    return Number(left) - Number(right);
  }

  function sort(column, direction) {
    const sign = direction === "ascending" ? 1 : -1;
    const known = rows.filter((row) => valueOf(row, column) !== "");
    const unknown = rows.filter((row) => valueOf(row, column) === "");
    known.sort((a, b) => sign * compare(a, b, column));
    body.append(...known, ...unknown);
    for (const head of heads) {
      if (head.dataset.column === column) head.setAttribute("aria-sort", direction);
      else head.removeAttribute("aria-sort");
    }
    form.elements.sort.value = column;
    say();
  }

  function sorted() {
    const head = heads.find((one) => one.hasAttribute("aria-sort"));
    return [head.dataset.column, head.getAttribute("aria-sort")];
  }

  const opposite = (direction) => (direction === "ascending" ? "descending" : "ascending");

  function say() {
    const shown = rows.filter((row) => !row.hidden).length;
    const [column, direction] = sorted();
    const head = heads.find((one) => one.dataset.column === column);
    const name = head.querySelector("span").textContent;
    status.textContent = `${shown} of ${rows.length} backbones, by ${name.toLowerCase()}, ${direction}`;
  }

  function filter() {
    const text = form.elements.text.value.trim().toLowerCase();
    const start = form.elements.start.value;
    const most = form.elements.parameters.value;
    const off = new Set();
    for (const row of rows) {
      const fits =
        row.dataset.search.includes(text) &&
        (start === "" || row.dataset.start === start) &&
        (most === "" || Number(row.dataset.parameters) <= 1e6 * Number(most));
      row.hidden = !fits;
      if (!fits) off.add(row.dataset.key);
    }
    for (const one of keyed) one.classList.toggle("off", off.has(one.dataset.key));
    say();
  }

  function choose() {
    const task = form.elements.task.value;
    const others = (name) => task !== "" && /^task-/.test(name) && name !== task;
    for (const one of tasked) one.hidden = others(one.dataset.column ?? one.dataset.task);
    for (const one of form.elements.sort.options) one.hidden = one.disabled = others(one.value);
    sort(task || "place", task ? "descending" : "ascending");
  }

  function point(event) {
    const key = event.target.closest?.("[data-key]")?.dataset.key;
    for (const one of keyed) one.classList.toggle("on", one.dataset.key === key);
  }

  for (const head of heads) {
    head.querySelector("button").addEventListener("click", () => {
      const [column, direction] = sorted();
      const again = column === head.dataset.column;
      sort(head.dataset.column, again ? opposite(direction) : head.dataset.first);
    });
  }
  form.elements.sort.addEventListener("change", () => {
    const head = heads.find((one) => one.dataset.column === form.elements.sort.value);
    sort(head.dataset.column, head.dataset.first);
  });
  form.elements.reverse.addEventListener("click", () => {
    const [column, direction] = sorted();
    sort(column, opposite(direction));
  });
  form.addEventListener("input", (event) => {
    if (event.target === form.elements.task) choose();
    else if (event.target !== form.elements.sort) filter();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => {
    // the fields are empty only after this event
    setTimeout(() => {
      filter();
      choose();
    });
  });
  for (const kind of ["mouseover", "focusin"]) board.addEventListener(kind, point);
  board.addEventListener("mouseleave", point);
  form.hidden = false;
  filter();
}
