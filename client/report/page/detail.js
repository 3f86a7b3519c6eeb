// One file, looked at closely: a dialog beside the table.

/** A picture with its face boxes laid over, coloured by p_fake; null when there is none. */
function picture(source, row, { isLarge }) {
  if (!source) return null;
  const [src, width, height, faces] = source;
  const boxes = faces.map(readFace).filter((face) => face.box);
  const overlay = boxes.map(({ p, box: [left, top, right, bottom], flags }) =>
    element(
      "span",
      {
        className: `box${top < height * 0.12 ? " below" : ""}`,
        title: [`p_fake ${score(p)}`, ...flags].join(" · "),
        style: {
          "--left": left / width,
          "--top": top / height,
          "--width": (right - left) / width,
          "--height": (bottom - top) / height,
          "--c": colour(p, row.threshold),
        },
      },
      isLarge ? element("b", {}, score(p)) : null,
    ),
  );
  const image = element("img", { src, alt: "", loading: "lazy", decoding: "async" });
  return element("span", { className: "picture", style: { "--ratio": width / height } }, image, ...overlay);
}

class Detail {
  #list = [];
  #at = 0;

  /** `onClose` learns the row that was looked at last. */
  constructor(dialog, pictures, onClose) {
    this.dialog = dialog;
    this.pictures = pictures;
    dialog.addEventListener("close", () => onClose(this.#list[this.#at]));
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
    dialog.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step && !event.altKey && !event.ctrlKey && !event.metaKey) this.#go(this.#at + step);
    });
  }

  /** Open on one of the rows that the table lists. */
  open(list, at) {
    this.#list = list;
    this.#show(at);
    this.dialog.showModal();
  }

  #go(at) {
    if (at < 0 || at >= this.#list.length) return;
    const name = document.activeElement?.dataset.name;
    this.#show(at);
    this.dialog.querySelector(name ? `[data-name="${name}"]:enabled` : "button")?.focus();
  }

  #show(at) {
    this.#at = at;
    const row = this.#list[at];
    this.dialog.replaceChildren(
      this.#bar(),
      element("div", { className: "sheet" }, ...this.#parts(row).filter(Boolean)),
    );
    this.dialog.lastChild.scrollTop = 0;
  }

  #bar() {
    const button = (name, label, act, isOff = false) => {
      const made = element("button", { type: "button", className: "plain", disabled: isOff, onclick: act }, label);
      made.dataset.name = name;
      return made;
    };
    return element(
      "div",
      { className: "bar-of-detail" },
      button("previous", "‹ Previous", () => this.#go(this.#at - 1), this.#at === 0),
      button("next", "Next ›", () => this.#go(this.#at + 1), this.#at === this.#list.length - 1),
      element("span", { className: "quiet small" }, `${count(this.#at + 1)} of ${count(this.#list.length)}`),
      button("close", "Close", () => this.dialog.close()),
    );
  }

  #parts(row) {
    const [folder, name] = splitPath(row.path);
    const source = this.pictures[row.index];
    return [
      element("h2", { id: "detail-title" }, element("bdi", {}, name || "(bytes)")),
      folder && element("p", { className: "small quiet path" }, element("bdi", {}, folder)),
      this.#verdict(row),
      row.error && element("p", { className: "note" }, element("code", {}, row.error[0]), ` ${row.error[1]}`),
      source &&
        element(
          "figure",
          {},
          picture(source, row, { isLarge: true }),
          row.kind === "video"
            ? element("figcaption", { className: "small quiet" }, `The most suspicious frame, at ${clock(source[4])}`)
            : null,
        ),
      row.video &&
        element(
          "section",
          { aria: { label: "Over time" } },
          element("h3", {}, "Over time"),
          timeline(row.video, row.threshold),
        ),
      row.faces.length && element("section", {}, element("h3", {}, plural(row.faces.length, "face")), this.#faces(row)),
      row.columns.length && element("section", {}, element("h3", {}, "Columns of the input"), factList(row.columns)),
      element("section", {}, element("h3", {}, "File"), factList(this.#facts(row))),
    ];
  }

  #verdict(row) {
    const edge = row.threshold === null || row.p === null ? "" : `threshold ${Number(row.threshold.toFixed(3))}`;
    return element(
      "p",
      { className: "verdict" },
      chip(row.verdict),
      row.p === null ? null : element("span", { className: "figure" }, score(row.p)),
      element("span", { className: "small quiet" }, edge),
    );
  }

  #faces(row) {
    const line = ({ p, detector, flags, box }) =>
      element(
        "tr",
        {},
        element("td", {}, meter(p, row.threshold)),
        element("td", {}, box ? `${Math.round(box[2] - box[0])} × ${Math.round(box[3] - box[1])}` : "ready crop"),
        element("td", {}, detector === null ? "–" : detector.toFixed(2)),
        element("td", {}, flags.map((flag) => flag.replaceAll("_", " ")).join(", ")),
      );
    const heads = ["p_fake", "Size, px", "Detector", "Remarks"].map((label) => element("th", { scope: "col" }, label));
    return element(
      "table",
      { className: "faces" },
      element("thead", {}, element("tr", {}, ...heads)),
      element("tbody", {}, ...row.faces.map(line)),
    );
  }

  #facts(row) {
    const warnings = row.warnings.map((word) => word.replaceAll("_", " ")).join(", ");
    return [
      ["Kind", row.kind],
      [
        "Size",
        [row.width === null ? null : `${row.width} × ${row.height} px`, row.size === null ? null : bytes(row.size)]
          .filter(Boolean)
          .join(", ") || "–",
      ],
      ...(warnings ? [["Put right", warnings]] : []),
      [
        "Took",
        row.elapsed === null ? "–" : row.elapsed < 10000 ? `${count(row.elapsed)} ms` : clock(row.elapsed / 1000),
      ],
      ...(row.model
        ? [
            [
              "Model",
              row.model.facts
                .filter(([name]) => ["name", "precision", "artifact_id"].includes(name))
                .map(([, text]) => text)
                .join(", "),
            ],
          ]
        : []),
    ];
  }
}

function factList(pairs) {
  return element(
    "dl",
    { className: "facts" },
    ...pairs.flatMap(([name, text]) => [
      element("dt", {}, element("bdi", {}, name)),
      element("dd", {}, element("bdi", {}, text)),
    ]),
  );
}
