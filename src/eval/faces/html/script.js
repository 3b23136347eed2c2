"use strict";
(() => {
  const table = document.getElementById("rows");
  const search = document.getElementById("search");
  const which = document.getElementById("which");
  const count = document.getElementById("count");
  if (!table || !search || !which || !count) return;
  const rows = Array.from(table.tBodies[0].rows);
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const show = () => {
    const words = search.value.toLowerCase();
    let shown = 0;
    rows.forEach((row, at) => {
      const is = texts[at].includes(words) && (which.value === "all" || row.dataset.is.split(" ").includes(which.value));
      row.hidden = !is;
      shown += is ? 1 : 0;
    });
    count.textContent = shown + " of " + rows.length + " rows";
  };
  search.addEventListener("input", show);
  which.addEventListener("change", show);
  document.getElementById("filters").hidden = false;
  show();
})();
