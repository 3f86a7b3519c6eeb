// Puts the page together: the data in, the filters wired to the table.

const summary = take("summary");
const rows = new Rows(take("rows"), summary.models);
const table = new Table(rows, take("pictures"));
const filters = find("filters");

function readFilters() {
  const { words, verdict, status, kind, low, high } = Object.fromEntries(new FormData(filters));
  const number = (text) => (text === "" ? null : Number(text));
  table.filter({ words, verdict, status, kind, low: number(low), high: number(high) });
}

/** Filter by these alone, and go to the table. */
function filterBy(values) {
  filters.reset();
  for (const [name, value] of Object.entries(values)) filters.elements[name].value = value;
  readFilters();
  find("files").scrollIntoView();
}

filters.addEventListener("input", readFilters);
filters.addEventListener("reset", () => setTimeout(readFilters));
filters.addEventListener("submit", (event) => event.preventDefault());

const leftOut = summary.total - rows.all.length;
find("left-out").textContent = [
  leftOut
    ? `The ${count(rows.all.length)} of highest p_fake, of ${count(summary.total)}; everything above counts them all.`
    : "",
  rows.folder ? `Below ${rows.folder}` : "",
]
  .filter(Boolean)
  .join(" ");
showSummary(summary, filterBy);
readFilters();
