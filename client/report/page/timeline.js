// A video over time: p_fake of every frame, the threshold, the most suspicious part, and who is seen when.

const MAX_LANES = 12;

const svgElement = (name, attributes) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
};

function timeline({ numFrames, points, tracks, segment }, threshold) {
  if (!points.length) return element("p", { className: "empty" }, "No frame of this video could be looked at.");
  const length = Math.max(...points.map((point) => point.time), segment?.end ?? 0) || 1;
  const x = (time) => time / length;
  const readout = element("output", { className: "readout small" });
  const plot = element(
    "div",
    { className: "plot" },
    ...gridLines(threshold),
    segmentShade(segment, x),
    curve(points, x),
    ...dots(points, x, threshold),
  );
  const thinned =
    points.length < numFrames ? ` (the most suspicious of every ${Math.ceil(numFrames / points.length)})` : "";
  addCursor(plot, readout, points, x);
  return element(
    "div",
    { className: "timeline" },
    readout,
    plot,
    element(
      "div",
      { className: "axis small quiet", aria: { hidden: "true" } },
      ...[0, 0.25, 0.5, 0.75, 1].map((part) => element("span", {}, clock(part * length))),
    ),
    segment &&
      element(
        "p",
        { className: "legend small" },
        element("i", { className: "swatch" }),
        `Most suspicious: ${clock(segment.start)} to ${clock(segment.end)}, p_fake ${score(segment.p)}`,
      ),
    element("p", { className: "small quiet" }, `${plural(numFrames, "frame")} looked at${thinned}`),
    lanes(tracks, x, threshold),
    frameTable(points),
  );
}

function gridLines(threshold) {
  const lines = [0, 0.5, 1].map((p) =>
    element(
      "span",
      { className: "rule", style: { "--p": p } },
      element("span", { className: "small quiet" }, String(p)),
    ),
  );
  if (threshold === null) return lines;
  const label = element("span", { className: "small" }, `threshold ${Number(threshold.toFixed(3))}`);
  return [...lines, element("span", { className: "rule threshold", style: { "--p": threshold } }, label)];
}

function segmentShade(segment, x) {
  if (!segment) return null;
  return element("span", { className: "segment", style: { "--from": x(segment.start), "--to": x(segment.end) } });
}

/** A line through the frames with a face; it breaks where there is none. */
function curve(points, x) {
  const svg = svgElement("svg", { viewBox: "0 0 1 1", preserveAspectRatio: "none", "aria-hidden": "true" });
  let path = "";
  points.forEach(({ time, p }, index) => {
    if (p === null) return;
    path += `${index && points[index - 1].p !== null ? "L" : "M"}${x(time).toFixed(5)} ${(1 - p).toFixed(5)}`;
  });
  svg.append(svgElement("path", { d: path, "vector-effect": "non-scaling-stroke" }));
  return svg;
}

function dots(points, x, threshold) {
  const dot = (time, p, name) =>
    element("span", { className: name, style: { "--x": x(time), "--p": p ?? 0, "--c": colour(p, threshold) } });
  return points.flatMap(({ time, p, faces }) => [
    ...faces.filter((face) => face !== null && face !== p).map((face) => dot(time, face, "dot other")),
    dot(time, p, p === null ? "dot none" : "dot"),
  ]);
}

/** Pointer and arrow keys walk through the frames; what is under the cursor is said above. */
function addCursor(plot, readout, points, x) {
  const cursor = element("span", { className: "cursor", hidden: true });
  plot.append(cursor);
  let current = points.reduce((best, point, index) => ((point.p ?? -1) > (points[best].p ?? -1) ? index : best), 0);
  const show = (index) => {
    current = Math.max(0, Math.min(points.length - 1, index));
    const { frame, time, p, faces } = points[current];
    const many = faces.length ? ` (faces ${faces.map(score).join(", ")})` : "";
    const words = `${clock(time)} · frame ${count(frame)} · ${p === null ? "no face" : `p_fake ${score(p)}${many}`}`;
    readout.textContent = words;
    cursor.style.setProperty("--x", x(time));
    plot.setAttribute("aria-valuenow", current);
    plot.setAttribute("aria-valuetext", words);
  };
  const attributes = {
    role: "slider",
    tabindex: 0,
    "aria-label": "Frames over time",
    "aria-valuemin": 0,
    "aria-valuemax": points.length - 1,
  };
  for (const [name, value] of Object.entries(attributes)) plot.setAttribute(name, value);
  show(current);
  plot.addEventListener("pointermove", (event) => {
    const box = plot.getBoundingClientRect();
    const at = (event.clientX - box.left) / box.width;
    cursor.hidden = false;
    show(
      points.reduce(
        (best, point, index) => (Math.abs(x(point.time) - at) < Math.abs(x(points[best].time) - at) ? index : best),
        0,
      ),
    );
  });
  plot.addEventListener("keydown", (event) => {
    const target = {
      ArrowRight: current + 1,
      ArrowLeft: current - 1,
      ArrowUp: current + 1,
      ArrowDown: current - 1,
      Home: 0,
      End: points.length - 1,
    }[event.key];
    if (target === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    cursor.hidden = false;
    show(target);
  });
}

function lanes(tracks, x, threshold) {
  const lane = ({ id, p, frames, spans }) =>
    element(
      "li",
      {},
      element(
        "span",
        { className: "small" },
        `Track ${id}`,
        element("span", { className: "quiet" }, ` · ${plural(frames, "frame")} · `),
        element("span", { className: "number" }, score(p)),
      ),
      element(
        "span",
        { className: "lane" },
        ...spans.map(([start, end]) =>
          element("i", {
            title: `${clock(start)} to ${clock(end)}`,
            style: { "--from": x(start), "--to": x(end), "--c": colour(p, threshold) },
          }),
        ),
      ),
    );
  if (!tracks.length) return null;
  const more = tracks.length - MAX_LANES;
  return element(
    "ul",
    { className: "lanes", aria: { label: "Faces followed through the video" } },
    ...tracks.slice(0, MAX_LANES).map(lane),
    more > 0 ? element("li", { className: "small quiet" }, `and ${plural(more, "track")} less suspicious`) : null,
  );
}

function frameTable(points) {
  const body = element("tbody");
  const details = element(
    "details",
    { className: "frames" },
    element("summary", {}, "Frames as a table"),
    element(
      "table",
      {},
      element(
        "thead",
        {},
        element("tr", {}, ...["Time", "Frame", "p_fake"].map((name) => element("th", { scope: "col" }, name))),
      ),
      body,
    ),
  );
  details.addEventListener("toggle", () => {
    const rows = points.map(({ time, frame, p }) =>
      element("tr", {}, ...[clock(time), count(frame), score(p)].map((text) => element("td", {}, text))),
    );
    if (details.open) body.replaceChildren(...rows);
  });
  return details;
}
