// Airflow's own theme (its UI keeps the choice under this key), without it the system's.
function theme() {
  const chosen = localStorage.getItem("theme");
  document.documentElement.dataset.theme = chosen === "light" || chosen === "dark" ? chosen : "";
}
theme();
addEventListener("storage", theme);

function sortable(table) {
  const body = table.tBodies[0], rows = [...body.rows], text = (row, column) => row.cells[column].innerText.trim();
  const number = (row, column) => parseFloat(text(row, column).replace(/,/g, ""));
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.classList.contains("num") ? head.ariaSort !== "descending" : head.ariaSort === "ascending";
      for (const other of table.tHead.rows[0].cells) other.ariaSort = null;
      head.ariaSort = down ? "descending" : "ascending";
      const order = head.classList.contains("num")
        ? (a, b) => (isNaN(number(a, column)) ? -1 : number(a, column)) - (isNaN(number(b, column)) ? -1 : number(b, column))
        : (a, b) => text(a, column).localeCompare(text(b, column), undefined, { numeric: true });
      body.append(...rows.sort((a, b) => (down ? -1 : 1) * order(a, b)));
    });
  });
  if (rows.length < 10) return;
  const label = document.createElement("label"), input = document.createElement("input");
  input.type = "search";
  label.className = "tools";
  label.append("Show only what contains ", input);
  input.addEventListener("input", () => {
    const wanted = input.value.toLowerCase();
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  });
  table.closest(".scroll").before(label);
}

document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("table.sortable").forEach(sortable);
  // Airflow's frame around this page lets no link out of it; a link in Airflow's own document does.
  for (const link of document.querySelectorAll("a[target=_top]")) {
    link.addEventListener("click", (event) => {
      if (parent === window) return;
      event.preventDefault();
      const outside = parent.document.createElement("a");
      outside.href = link.href;
      outside.click();
    });
  }
});
