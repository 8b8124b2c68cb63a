// What the board does in a browser beyond plain HTML: passkeys, live pages, plots. Reading needs none of it.
"use strict";

// --- passkeys (WebAuthn): the form says what is asked for, the answer goes back in a field

const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
const text = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

function decode(options) {
  const found = { ...options, challenge: bytes(options.challenge) };
  if (options.user) found.user = { ...options.user, id: bytes(options.user.id) };
  for (const list of ["allowCredentials", "excludeCredentials"]) {
    if (options[list]) found[list] = options[list].map((one) => ({ ...one, id: bytes(one.id) }));
  }
  return found;
}

function encode(credential) {
  const response = {};
  for (const name of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (credential.response[name]) response[name] = text(credential.response[name]);
  }
  return JSON.stringify({
    id: credential.id,
    rawId: text(credential.rawId),
    type: credential.type,
    response,
    clientExtensionResults: {},
  });
}

async function askPasskey(form) {
  const options = JSON.parse(form.dataset.options);
  const publicKey = decode(options.publicKey || options);
  const ask = form.dataset.passkey === "create" ? "create" : "get";
  form.elements.response.value = encode(await navigator.credentials[ask]({ publicKey }));
}

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.dataset.passkey || form.elements.response.value) return;
  event.preventDefault();
  const failed = form.querySelector(".failed");
  if (failed) failed.hidden = true;
  try {
    await askPasskey(form);
    HTMLFormElement.prototype.submit.call(form);
  } catch {
    form.elements.response.value = "";
    if (failed) failed.hidden = false;
  }
});

// --- live pages: an event is only a hint; what changed is asked for again, as the person may see it

let stream = null;
function listen() {
  const wanted = document.querySelector("[data-live]");
  if (!wanted || stream) return;
  stream = new EventSource(wanted.dataset.live);
  let waiting = null;
  const askAgain = () => document.querySelectorAll("[data-live]").forEach((one) => htmx.trigger(one, "live"));
  stream.onmessage = () => {
    if (waiting) return;
    waiting = setTimeout(() => {
      waiting = null;
      askAgain();
    }, 200);
  };
  // Refused for good, as when the session has ended: what stands here is old, so ask and be told.
  stream.onerror = () => {
    if (stream && stream.readyState === EventSource.CLOSED) askAgain();
  };
}
document.addEventListener("visibilitychange", () => {
  if (document.hidden && stream) {
    stream.close();
    stream = null;
  } else listen();
});

// --- countdowns: they go on counting, in the form of words.countdown; days stay in words

function tick() {
  document.querySelectorAll("[data-until]").forEach((one) => {
    const left = Math.round(Number(one.dataset.until) - Date.now() / 1000);
    const whole = Math.abs(left);
    if (whole >= 86400) return;
    const clock = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60]
      .map((part) => String(part).padStart(2, "0"))
      .join(":");
    one.textContent = (left < 0 ? "+" : "") + clock;
  });
}

// --- plots, drawn from the table inside the figure

const COLOURS = ["#1f6fb2", "#b25d1f", "#3a8a4d", "#8a3a7a", "#6b6b6b"];

function draw(figure) {
  const canvas = figure.querySelector(".canvas");
  const rows = [...figure.querySelectorAll("tbody tr")];
  if (!canvas || !rows.length || canvas.childElementCount) return;
  const xs = rows.map((row) => Number(row.querySelector("th").dataset.x));
  const labels = rows.map((row) => row.querySelector("th").textContent);
  const names = [...figure.querySelectorAll("thead th")].slice(1).map((one) => one.textContent);
  const value = (cell) => (cell.dataset.y === undefined ? null : Number(cell.dataset.y));
  const columns = names.map((_, at) => rows.map((row) => value(row.querySelectorAll("td")[at])));
  canvas.hidden = false;
  const bars = figure.dataset.kind === "bars";
  const style = getComputedStyle(document.body);
  const axis = { stroke: style.color, grid: { stroke: "rgba(128,128,128,.18)" }, ticks: { show: false } };
  const ends = [Number(figure.dataset.from) || xs[0], Number(figure.dataset.to) || xs[xs.length - 1]];
  const span = ends[1] - ends[0];
  const ahead = Number(figure.dataset.ahead); // the site's time, whatever the browser's is
  const two = (number) => String(number).padStart(2, "0");
  const clock = (seconds) => {
    const at = new Date((seconds + ahead) * 1000);
    const day = `${two(at.getUTCMonth() + 1)}-${two(at.getUTCDate())}`;
    return span <= 2 * 86400 ? [`${two(at.getUTCHours())}:${two(at.getUTCMinutes())}`, day] : [day];
  };
  // Below a time of the day stands its date, where it is the first or another than before.
  const marks = (all) => all.map(([shown, day], at) => (day && (!at || day !== all[at - 1][1]) ? `${shown}\n${day}` : shown));
  const times = { values: (_, at) => marks(at.map(clock)), space: 60 };
  const counts = { incrs: [1, 2, 5].flatMap((one) => [1, 10, 100, 1e3, 1e4, 1e5, 1e6].map((ten) => one * ten)).sort((a, b) => a - b) };
  // A mark for each of few values, and for one that has no neighbour to be joined to.
  const alone = (plot, at) => {
    const values = plot.data[at];
    const near = (index) => values[index] !== null && values[index] !== undefined;
    return values.map((_, index) => index).filter((index) => near(index) && (rows.length < 40 || !(near(index - 1) || near(index + 1))));
  };
  const categories = { splits: () => xs, values: () => labels, grid: { show: false } };
  const options = {
    width: Math.max(280, canvas.clientWidth || figure.clientWidth),
    height: 200,
    legend: { show: names.length > 1, live: false },
    tzDate: (seconds) => uPlot.tzDate(new Date((seconds + ahead) * 1000), "Etc/UTC"),
    scales: { x: bars ? { time: false, range: () => [-0.5, rows.length - 0.5] } : { time: true, range: () => (span ? ends : [ends[0] - 60, ends[0] + 60]) }, y: { range: (_, __, most) => [0, most || 1] } },
    axes: [{ ...axis, ...(bars ? categories : times) }, { ...axis, ...("whole" in figure.dataset ? counts : {}) }],
    series: [
      { label: figure.querySelector("thead th").textContent },
      ...names.map((label, at) => ({
        label,
        stroke: COLOURS[at % COLOURS.length],
        fill: bars ? COLOURS[at % COLOURS.length] : undefined,
        width: 2,
        dash: bars || !at ? undefined : [12, 3 * at], // where lines lie on each other, each is seen
        points: bars ? { show: false } : { show: true, filter: alone },
        paths: bars ? uPlot.paths.bars({ size: [0.7, 60] }) : undefined,
      })),
    ],
  };
  new uPlot(options, [xs, ...columns], canvas);
}

// --- paper: short tables of figures beside their pictures, and when it was printed

let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll(".plot details:not([open])")].filter((one) => one.querySelectorAll("tbody tr").length <= 12);
  opened.forEach((one) => (one.open = true));
  document.querySelectorAll("[data-printed]").forEach((one) => {
    const here = new Date(Date.now() + 1000 * Number(one.dataset.printed)); // the site's time
    one.textContent = here.toISOString().slice(0, 19).replace("T", " ");
  });
});
addEventListener("afterprint", () => opened.forEach((one) => (one.open = false)));

function prepare() {
  document.querySelectorAll("figure.plot").forEach(draw);
  listen();
  tick();
}

document.addEventListener("DOMContentLoaded", () => {
  prepare();
  setInterval(tick, 1000);
});
document.addEventListener("htmx:afterSettle", prepare);
