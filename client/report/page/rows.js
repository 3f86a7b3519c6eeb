// The rows: from the page's compact arrays to objects, and which of them are shown in which order.

/** The order of fields is stated a first time in compact.py; fields that are missing at the end are null. */
function readRow(fields, index, models) {
  const [
    path,
    kind,
    verdict,
    p = null,
    numFaces = null,
    faces = [],
    error = null,
    warnings = [],
    columns = [],
    facts = [],
    model = null,
    video = null,
  ] = fields;
  const [width = null, height = null, size = null, elapsed = null] = facts;
  return {
    index,
    path,
    kind,
    verdict: verdict ?? "error",
    p,
    numFaces,
    error,
    warnings,
    columns,
    width,
    height,
    size,
    elapsed,
    status: verdict === null ? "error" : verdict === "no_face" ? "no_face" : "ok",
    faces: faces.map(readFace),
    model: models[model] ?? null,
    threshold: models[model]?.threshold ?? null,
    video: video && readVideo(video),
  };
}

function readFace([p, detector, flags, ...box]) {
  return {
    p,
    detector,
    flags: flags ? flags.split(" ") : [],
    box: box.length === 4 && !box.includes(null) ? box : null,
  };
}

function readVideo([numFrames, points, tracks, segment]) {
  return {
    numFrames,
    points: points.map(([frame, time, p, ...faces]) => ({ frame, time: time ?? 0, p, faces })),
    tracks: tracks.map(([id, p, frames, spans]) => ({ id, p, frames, spans })).sort((one, other) => other.p - one.p),
    segment: segment && { start: segment[0] ?? 0, end: segment[1] ?? 0, p: segment[2] },
  };
}

/** What is remarkable about a row, short words first. */
function remarks(row) {
  const flags = row.faces.flatMap((face) => face.flags);
  return [...new Set([...row.warnings, ...flags])].map((word) => word.replaceAll("_", " "));
}

/** The folder that all files lie in, with its slash; empty when there is none. */
function commonFolder(rows) {
  let common = null;
  for (const { path } of rows) {
    if (!path) continue;
    const [folder] = splitPath(path);
    if (common === null) common = folder;
    while (!folder.startsWith(common)) [common] = splitPath(common.slice(0, -1));
  }
  return common ?? "";
}

class Rows {
  #sortedByPath = null;

  constructor(compact, models) {
    this.all = compact.map((fields, index) => readRow(fields, index, models));
    this.folder = commonFolder(this.all);
  }

  /** Rows that pass every filter; words are looked for in the path, the error, remarks and columns. */
  filter({ words = "", verdict = "", status = "", kind = "", low = null, high = null }) {
    const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
    return this.all.filter(
      (row) =>
        (!verdict || row.verdict === verdict) &&
        (!status || row.status === status) &&
        (!kind || row.kind === kind) &&
        (low === null || (row.p !== null && row.p >= low)) &&
        (high === null || (row.p !== null && row.p <= high)) &&
        (!wanted.length || wanted.every((word) => this.#text(row).includes(word))),
    );
  }

  /** A sorted copy; rows without a value come last in either direction, equals stay in the order of the file. */
  sort(rows, { column, isDescending }) {
    const value = {
      path: (row) => this.#rank(row),
      verdict: (row) => Object.keys(VERDICTS).indexOf(row.verdict),
      p: (row) => row.p,
      faces: (row) => row.numFaces,
    }[column];
    const sign = isDescending ? -1 : 1;
    return [...rows].sort((one, other) => {
      const [left, right] = [value(one), value(other)];
      if (left === right) return one.index - other.index;
      if (left === null) return 1;
      if (right === null) return -1;
      return sign * (left - right);
    });
  }

  /** Natural order (2 before 10), compared once for all paths: a collator is slow. */
  #rank(row) {
    if (!this.#sortedByPath) {
      const { compare } = new Intl.Collator("en", { numeric: true });
      this.#sortedByPath = new Map(
        [...this.all].sort((one, other) => compare(one.path, other.path)).map((each, rank) => [each, rank]),
      );
    }
    return this.#sortedByPath.get(row);
  }

  #text(row) {
    row.text ??= [
      row.path,
      ...(row.error ?? []),
      ...row.warnings,
      ...row.faces.flatMap((face) => face.flags),
      ...row.columns.flat(),
    ]
      .join("\n")
      .toLowerCase();
    return row.text;
  }
}
