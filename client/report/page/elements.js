// Building blocks: elements whose texts are text, never markup, and how numbers and p_fake look.

/** Make an element. Properties are set as properties (`data`, `aria` and `style` as groups); children are nodes or texts. */
function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (key === "style") for (const [rule, text] of Object.entries(value)) made.style.setProperty(rule, text);
    else if (key === "aria") for (const [rule, text] of Object.entries(value)) made.setAttribute(`aria-${rule}`, text);
    else if (key === "role") made.setAttribute("role", value);
    else made[key] = value;
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const find = (id) => document.getElementById(id);

/** The JSON of one of the page's data elements; the element goes, for its text would stay in memory. */
function take(id) {
  const source = find(id);
  const value = JSON.parse(source.textContent);
  source.remove();
  return value;
}

const count = (number) => number.toLocaleString("en-GB");
const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;
const score = (p) => (p === null ? "–" : p.toFixed(3));
const percent = (part, whole) => {
  const share = (100 * part) / whole;
  return `${share.toFixed(share > 0 && share < 10 ? 1 : 0)} %`;
};

/** Seconds as 1:02.5, or 1:01:02.5. */
function clock(seconds) {
  if (seconds === null) return "?";
  const tenths = Math.round(seconds * 10);
  const [hours, minutes, rest] = [Math.floor(tenths / 36000), Math.floor(tenths / 600) % 60, (tenths % 600) / 10];
  const tail = rest.toFixed(1).padStart(4, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${tail}` : `${minutes}:${tail}`;
}

function bytes(size) {
  if (size === null) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  const step = size < 1000 ? 0 : Math.min(Math.floor(Math.log10(size) / 3), units.length - 1);
  return `${(size / 1000 ** step).toFixed(step && size / 1000 ** step < 10 ? 1 : 0)} ${units[step]}`;
}

/** Blue below the threshold, orange above it, stronger with distance: told apart by colour-blind eyes too. */
function colour(p, threshold) {
  if (p === null) return "var(--quiet)";
  const edge = threshold ?? 0.5;
  const isAbove = p >= edge;
  const reach = isAbove ? 1 - edge : edge;
  const strength = 35 + 65 * Math.min(Math.abs(p - edge) / (reach || 1), 1);
  return `color-mix(in oklab, var(${isAbove ? "--fake" : "--real"}) ${strength.toFixed(0)}%, var(--between))`;
}

const VERDICTS = { fake: "Fake", real: "Real", no_face: "No face", error: "Error" };

/** What a file is called, as a word with its colour. */
function chip(verdict) {
  return element("span", { className: `chip ${verdict}` }, VERDICTS[verdict]);
}

/** p_fake as a number over a bar from 0 to 1 with the threshold marked. */
function meter(p, threshold) {
  const bar = element("span", { className: "bar", style: { "--p": p ?? 0, "--c": colour(p, threshold) } });
  if (threshold !== null) bar.append(element("i", { style: { "--at": threshold } }));
  return element(
    "span",
    { className: "meter" },
    element("span", { className: "number" }, score(p)),
    p === null ? null : bar,
  );
}

/** A file's folder and name, set apart. */
function splitPath(path) {
  const cut = path.lastIndexOf("/") + 1;
  return [path.slice(0, cut), path.slice(cut) || path];
}
