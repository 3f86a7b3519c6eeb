// The table: its headings sort, its rows open, and it shows a page at a time.

const PAGE_ROWS = 100;

const HEADINGS = [
  { label: "Picture", isHidden: true },
  { label: "File", column: "path" },
  { label: "Verdict", column: "verdict" },
  { label: "p_fake", column: "p" },
  { label: "Faces", column: "faces", isNumber: true },
  { label: "Remarks" },
];

class Table {
  #page = 0;
  #sorting = { column: "p", isDescending: true };
  #filtered = [];
  #listed = [];

  constructor(rows, pictures) {
    this.rows = rows;
    this.pictures = pictures;
    this.detail = new Detail(find("detail"), pictures, (row) => this.#reveal(row));
    this.#addHeadings();
    find("previous").addEventListener("click", () => this.#turn(this.#page - 1));
    find("next").addEventListener("click", () => this.#turn(this.#page + 1));
    find("body").addEventListener("click", (event) => this.#onClick(event));
    find("body").addEventListener("keydown", (event) => this.#onKey(event));
  }

  filter(filters) {
    this.#filtered = this.rows.filter(filters);
    this.#sort();
  }

  #sort() {
    this.#listed = this.rows.sort(this.#filtered, this.#sorting);
    this.#page = 0;
    this.#show();
  }

  #addHeadings() {
    find("headings").append(
      ...HEADINGS.map(({ label, column, isHidden, isNumber }) => {
        const heading = element("th", { role: "columnheader", scope: "col", className: isNumber ? "number" : "" });
        if (!column) heading.append(element("span", { className: isHidden ? "for-readers" : "" }, label));
        else heading.append(element("button", { type: "button", onclick: () => this.#sortBy(column) }, label));
        heading.dataset.column = column ?? "";
        return heading;
      }),
    );
  }

  #sortBy(column) {
    const isSame = this.#sorting.column === column;
    this.#sorting = {
      column,
      isDescending: isSame ? !this.#sorting.isDescending : column === "p" || column === "faces",
    };
    this.#sort();
  }

  #turn(page) {
    this.#page = page;
    this.#show();
    find("files").scrollIntoView();
  }

  #show() {
    const start = this.#page * PAGE_ROWS;
    const shown = this.#listed.slice(start, start + PAGE_ROWS);
    const pages = Math.ceil(this.#listed.length / PAGE_ROWS);
    find("body").replaceChildren(...shown.map((row, offset) => this.#line(row, start + offset)));
    for (const heading of find("headings").children) {
      if (heading.dataset.column !== this.#sorting.column) heading.removeAttribute("aria-sort");
      else heading.setAttribute("aria-sort", this.#sorting.isDescending ? "descending" : "ascending");
    }
    const all = this.rows.all.length;
    const of =
      this.#listed.length === all
        ? plural(all, "file")
        : `${count(this.#listed.length)} that match, of ${plural(all, "file")}`;
    find("range").textContent = shown.length
      ? `${count(start + 1)}–${count(start + shown.length)} of ${of}`
      : `None of ${plural(all, "file")}`;
    find("page-number").textContent = `Page ${count(this.#page + 1)} of ${count(pages)}`;
    find("pages").hidden = pages < 2;
    find("previous").disabled = this.#page === 0;
    find("next").disabled = this.#page >= pages - 1;
    find("nothing").hidden = shown.length > 0;
    find("nothing").textContent = all
      ? "No file matches these filters."
      : "The result file has no rows: nothing was scored.";
    find("table").hidden = !shown.length;
  }

  #line(row, at) {
    const [folder, name] = splitPath(row.path);
    const below = folder.slice(this.rows.folder.length);
    const open = element("button", { type: "button", className: "open" }, element("bdi", {}, name || "(bytes)"));
    const cell = (name, ...children) => element("td", { role: "cell", className: name }, ...children);
    const kind = row.kind === "video" ? element("span", { className: "tag" }, "video") : null;
    const line = element(
      "tr",
      { role: "row" },
      cell(
        "thumb",
        row.error
          ? ""
          : (picture(this.pictures[row.index], row, { isLarge: false }) ??
              element("span", { className: "no-picture" })),
      ),
      cell("file", open, element("span", { className: "small quiet" }, kind, below ? element("bdi", {}, below) : null)),
      cell("said", chip(row.verdict)),
      cell("p", meter(row.p, row.threshold)),
      cell("number count", row.numFaces === null ? "" : count(row.numFaces)),
      cell("remarks small", ...this.#remarks(row)),
    );
    line.dataset.at = at;
    return line;
  }

  #remarks(row) {
    const reason = row.error && element("span", {}, element("code", {}, row.error[0]), ` ${row.error[1]}`);
    const segment = row.video?.segment;
    const when = segment && element("span", {}, `${clock(segment.start)}–${clock(segment.end)}`);
    return [reason, when, ...remarks(row).map((word) => element("span", { className: "tag" }, word))].filter(Boolean);
  }

  #onClick(event) {
    const line = event.target.closest("tr");
    const isSelecting = String(getSelection()) && !event.target.closest("button");
    if (line && !isSelecting) this.detail.open(this.#listed, Number(line.dataset.at));
  }

  /** Up and down walk through the rows of the page; Enter opens, as on every button. */
  #onKey(event) {
    const step = { ArrowUp: "previousElementSibling", ArrowDown: "nextElementSibling" }[event.key];
    const target = step && event.target.closest("tr")?.[step];
    if (!target) return;
    event.preventDefault();
    target.querySelector(".open").focus();
  }

  /** After the dialog: the keyboard goes on at the row that was looked at last. */
  #reveal(row) {
    const at = this.#listed.indexOf(row);
    const page = Math.floor(at / PAGE_ROWS);
    if (page !== this.#page) {
      this.#page = page;
      this.#show();
    }
    find("body").children[at % PAGE_ROWS]?.querySelector(".open").focus();
  }
}
