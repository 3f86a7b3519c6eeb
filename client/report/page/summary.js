// Above the table: what all rows add up to, what the numbers cannot say, and how they were made.

function showSummary(summary, filterBy) {
  const { results, written, note, total, kinds } = summary;
  document.title = `${results} – deepfake scores`;
  find("title").textContent = results;
  const counted = ["image", "video"].filter((kind) => kinds[kind]).map((kind) => plural(kinds[kind], kind));
  find("subtitle").textContent = [counted.join(", ") || "No files", `written ${written}`].join(" · ");
  find("note").hidden = !note;
  find("note").textContent = note;
  showTiles(summary, filterBy);
  if (total === 0) {
    for (const id of ["tiles", "scores", "filters", "made", "range"]) find(id).hidden = true;
    return;
  }
  showHistogram(summary);
  showRates(summary);
  showReasons(summary.reasons, filterBy);
  showModels(summary);
}

function showTiles({ total, statuses, verdicts }, filterBy) {
  const withFace = statuses.ok ?? 0;
  const tile = (verdict, number, label, share, filter) =>
    element(
      "button",
      { type: "button", className: `tile ${verdict}`, disabled: !number, onclick: () => filterBy(filter) },
      element("span", { className: "label" }, element("i", { className: "key" }), label),
      element("span", { className: "figure" }, count(number)),
      element("span", { className: "small quiet" }, share),
    );
  const ofFaces = (number) => (withFace ? `${percent(number, withFace)} of files with a face` : "no file with a face");
  const ofAll = (number) => (total ? `${percent(number, total)} of all files` : "");
  const [fake, real] = [verdicts.fake ?? 0, verdicts.real ?? 0];
  const [noFace, errors] = [statuses.no_face ?? 0, statuses.error ?? 0];
  find("tiles").replaceChildren(
    tile("fake", fake, "Called fake", ofFaces(fake), { verdict: "fake" }),
    tile("real", real, "Called real", ofFaces(real), { verdict: "real" }),
    tile("no_face", noFace, "No face", ofAll(noFace), { status: "no_face" }),
    tile("error", errors, "Not scored", ofAll(errors), { status: "error" }),
  );
}

function showHistogram({ histogram, models, statuses, total }) {
  const scored = histogram.reduce((sum, number) => sum + number, 0);
  if (!scored) {
    const reason = statuses.error === total ? "No file could be scored." : "No face was found in any file.";
    find("histogram").replaceChildren(element("p", { className: "empty" }, `${reason} There is no p_fake to show.`));
    find("scores").classList.add("single");
    find("reading").hidden = true;
    return;
  }
  const thresholds = [...new Set(models.map((model) => model.threshold).filter((value) => value !== null))];
  const highest = Math.max(...histogram);
  const width = 1 / histogram.length;
  const bars = histogram.map((number, index) => {
    const middle = (index + 0.5) * width;
    const range = `${(index * width).toFixed(2)} to ${((index + 1) * width).toFixed(2)}`;
    return element("span", {
      className: "column",
      title: `${range}: ${plural(number, "file")}`,
      style: { "--h": number / highest, "--c": colour(middle, thresholds[0]), "--least": number ? "2px" : "0" },
    });
  });
  const marks = thresholds.map((value) =>
    element(
      "span",
      { className: `mark${value > 0.6 ? " left" : ""}`, style: { "--at": value } },
      element("span", {}, `threshold ${Number(value.toFixed(3))}`),
    ),
  );
  const label = `Histogram of p_fake over ${plural(scored, "file")}; the highest column holds ${count(highest)}.`;
  find("histogram").replaceChildren(
    element(
      "p",
      { className: "axis-top small quiet" },
      `${plural(scored, "file")} with a face; the highest column is ${count(highest)}`,
    ),
    element("div", { className: "plot", role: "img", aria: { label } }, ...bars, ...marks),
    element(
      "div",
      { className: "axis small quiet", aria: { hidden: "true" } },
      ...["0", "0.25", "0.5", "0.75", "1"].map((tick) => element("span", {}, tick)),
    ),
    element(
      "p",
      { className: "axis-ends small" },
      element("span", {}, "less like a fake"),
      element("span", { className: "quiet" }, "p_fake"),
      element("span", {}, "more like a fake"),
    ),
  );
}

function showRates({ images, faces, most_faces: most }) {
  const rate = ([part, whole], label) =>
    element(
      "div",
      {},
      element("dt", {}, label),
      element(
        "dd",
        {},
        element("span", { className: "figure" }, percent(part, whole)),
        element("span", { className: "small quiet" }, `${count(part)} of ${count(whole)}`),
      ),
    );
  if (images[1]) {
    find("rates").append(
      element(
        "dl",
        { className: "pair" },
        rate(images, "Images called fake"),
        rate(faces, "Their faces at or above the threshold"),
      ),
    );
  }
  find("caveat").textContent =
    "p_fake is how much a face looks like the manipulated faces that the model was trained on: a hint that ranks files, " +
    "not a proof. Wholly generated images, voices and edits beside the face are outside its domain. Unless another rule " +
    "was asked for, an image is as suspicious as its most suspicious face, so every further face is one more chance of a " +
    `false alarm${most > 1 ? ` (up to ${count(most)} faces in one image here)` : ""}: read the rate per image beside the rate per face.`;
}

function showReasons(reasons, filterBy) {
  find("errors").hidden = !reasons.length;
  const digits = Math.max(...reasons.map(([, number]) => count(number).length));
  find("reasons").style.setProperty("--digits", digits);
  find("reasons").replaceChildren(
    ...reasons.map(([code, number, examples]) =>
      element(
        "details",
        { className: "reason" },
        element(
          "summary",
          {},
          element("span", { className: "figure" }, count(number)),
          element("code", {}, code),
          element("span", { className: "message" }, examples[0][1]),
        ),
        element(
          "ul",
          {},
          ...examples.map(([path, message]) =>
            element(
              "li",
              {},
              element("bdi", {}, path || "(bytes)"),
              element("span", { className: "quiet" }, ` ${message}`),
            ),
          ),
        ),
        element(
          "button",
          { type: "button", className: "plain", onclick: () => filterBy({ status: "error", words: code }) },
          `Show ${number === 1 ? "it" : `all ${count(number)}`} in the table`,
        ),
      ),
    ),
  );
}

const FACTS = {
  name: "Model",
  precision: "Precision",
  artifact_id: "Artifact",
  spec_id: "Preprocessing fingerprint",
  detector: "Face detector",
  threshold: "Threshold",
};

function showModels({ models, total, statuses, pictures, settings }) {
  const pairs = (list, labels = {}) =>
    element(
      "dl",
      { className: "facts" },
      ...list.flatMap(([name, text]) => [element("dt", {}, labels[name] ?? name), element("dd", {}, text)]),
    );
  const cards = models.map((model) =>
    element(
      "article",
      {},
      models.length > 1 ? element("h3", {}, `${plural(model.rows, "file")} by ${model.name}`) : null,
      pairs([...model.facts, ["Answered", `${count(model.rows)} of ${plural(total, "file")}`]], FACTS),
      model.settings.length
        ? element("details", {}, element("summary", {}, "Preprocessing settings"), pairs(model.settings))
        : null,
    ),
  );
  find("made").hidden = !models.length;
  const { shown = 0, ...missing } = pictures;
  const remarks = Object.entries({
    gone: "no longer there",
    changed: "changed since",
    unreadable: "not decodable",
    remote: "not on this machine",
  })
    .filter(([reason]) => missing[reason])
    .map(([reason, words]) => `${count(missing[reason])} ${words}`);
  const tried = Object.values(pictures).reduce((sum, number) => sum + number, 0);
  const which = tried < total - (statuses.error ?? 0) ? " of the most suspicious files" : "";
  const thumbnails = `${plural(shown, "picture")}${which}${remarks.length ? `; without one: ${remarks.join(", ")}` : ""}.`;
  const scoredWith = settings.length
    ? element("details", { id: "settings" }, element("summary", {}, "Scoring settings"), pairs(settings))
    : null;
  const remark = element("p", { className: "small quiet", id: "picture-count" }, thumbnails);
  find("models").replaceChildren(...cards, ...(scoredWith ? [scoredWith] : []), remark);
}
