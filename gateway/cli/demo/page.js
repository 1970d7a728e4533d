// The page of `gateway demo`, live.  What it says comes with the page, what it shows by Server-Sent Events; the server
// renders what is one click away.  Numbers of requests are nanoseconds.

const KEPT = 50; // requests of a lane, as the server remembers them
const ROWS = 6; // of them, drawn phase by phase
const OK = "200 OK";

const texts = JSON.parse(document.getElementById("texts").textContent);
const connection = document.getElementById("connection");
const summary = document.getElementById("summary");
const atOnce = document.getElementById("at_once");
const zoom = document.getElementById("zoom");
const calm = matchMedia("(prefers-reduced-motion: reduce)");

const say = (key, values) => texts[key].replace(/{(\w+)}/g, (_, name) => values[name]);

function milliseconds(nanoseconds) {
  const value = nanoseconds / 1e6;
  return value.toFixed(value < 10 ? 2 : 1);
}

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// A colour for each process: numbers that follow each other are far apart on the wheel.
const hue = (pid) => (pid * 137.508) % 360;

class Lane {
  constructor(article) {
    this.name = article.id;
    this.article = article;
    this.recent = [];
    this.scale = 1; // nanoseconds that its longest bar lasts
    for (const part of article.querySelectorAll("details")) part.addEventListener("toggle", () => this.refresh(part));
  }

  show(values) {
    for (const place of this.article.querySelectorAll("[data-value]")) {
      const value = values[place.dataset.value];
      if (value !== undefined) place.textContent = value;
    }
  }

  take(request) {
    this.recent.push(request);
    if (this.recent.length > KEPT) this.recent.shift();
  }

  measure() {
    this.scale = Math.max(1, ...this.recent.slice(-ROWS).map((request) => request.whole));
    this.highest = Math.max(1, ...this.recent.map((request) => request.waited));
  }

  draw(scale, highest) {
    const latest = this.recent.at(-1);
    if (!latest) return;
    const failed = latest.status !== OK;
    this.show({
      pid: latest.pid || "–", served: latest.served || "–", asked: latest.asked, took: milliseconds(latest.waited),
      ...(latest.median === undefined ? {} : {median: milliseconds(latest.median)}),
    });
    this.article.querySelector(".error").textContent = failed ? say("failed", latest) : "";
    this.article.querySelector(".parts").textContent = describe(latest);
    const rows = this.recent.slice(-ROWS).reverse().map((request) => row(request, scale));
    this.article.querySelector(".rows").replaceChildren(...rows);
    this.article.querySelector(".strip").replaceChildren(...this.recent.map((request) => column(request, highest)));
  }

  // The server renders what is one click away, for who has clicked.
  async refresh(part) {
    if (!part.open) return;
    const query = new URLSearchParams({lane: this.name, part: part.dataset.part, lang: document.documentElement.lang});
    const response = await fetch(`/part?${query}`).catch(() => undefined);
    if (!response?.ok) return; // the stream says that there is no connection
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    const focused = part.contains(document.activeElement) && document.activeElement.className;
    while (part.children.length > 1) part.lastChild.remove();
    part.append(...fresh.body.childNodes);
    if (focused) part.querySelector(`.${focused}`)?.focus();
  }

  refreshAll() {
    clearTimeout(this.refreshing);
    this.refreshing = setTimeout(() => this.article.querySelectorAll("details").forEach((part) => this.refresh(part)), 150);
  }
}

const describe = (request) =>
  request.phases.map((phase) => `${texts[phase.name]} ${milliseconds(phase.end - phase.start)}`).join(" · ");

// One request: its phases from left to right, as long as they took, and the same in words for who does not see them.
function row(request, scale) {
  const bar = element("span", {className: "bar", ariaHidden: "true"});
  for (const phase of request.phases) {
    const took = milliseconds(phase.end - phase.start);
    const part = element("i", {title: `${texts[phase.name]} ${took} ms`});
    part.dataset.phase = phase.name;
    part.style.left = `${(100 * phase.start) / scale}%`;
    part.style.width = `${(100 * (phase.end - phase.start)) / scale}%`;
    bar.append(part);
  }
  const values = {...request, took: milliseconds(request.waited), phases: describe(request)};
  const count = element("small", {}, ` #${request.served}`);
  const pid = element("span", {className: "pid", ariaHidden: "true"}, String(request.pid || "–"), count);
  pid.style.setProperty("--hue", hue(request.pid));
  const took = element("span", {className: "took", ariaHidden: "true"}, `${values.took} ms`);
  return element("li", {}, element("span", {className: "unseen"}, say("row", values)), pid, bar, took);
}

function column(request, highest) {
  const made = element("i", {title: `${request.pid}: ${milliseconds(request.waited)} ms`});
  made.style.setProperty("--hue", hue(request.pid));
  made.style.height = `${(100 * request.waited) / highest}%`;
  return made;
}

const lanes = new Map(Array.from(document.querySelectorAll("article"), (article) => [article.id, new Lane(article)]));

// At most once for each frame of the screen; for who prefers reduced motion, once in a second.
let drawing = false;
function draw() {
  if (drawing) return;
  drawing = true;
  const wait = calm.matches ? (work) => setTimeout(work, 1000) : requestAnimationFrame;
  wait(() => {
    drawing = false;
    const all = [...lanes.values()];
    for (const lane of all) lane.measure();
    const scale = Math.max(...all.map((lane) => lane.scale));
    const highest = Math.max(...all.map((lane) => lane.highest));
    for (const lane of all) lane.draw(zoom.checked ? lane.scale : scale, zoom.checked ? lane.highest : highest);
  });
}
zoom.addEventListener("change", draw);

function showProcesses(found) {
  for (const [name, {processes, memory}] of Object.entries(found)) {
    if (processes !== null) lanes.get(name).show({processes, memory: (memory / 1e6).toFixed(1)});
  }
}

function listen() {
  const events = new EventSource("/events");
  const on = (name, take) => events.addEventListener(name, (event) => take(JSON.parse(event.data)));
  on("lanes", (all) => {
    for (const [name, {recent, median}] of Object.entries(all)) {
      const lane = lanes.get(name);
      lane.recent = recent;
      lane.show({median: milliseconds(median)});
    }
    showProcesses(all);
    draw();
  });
  on("request", (request) => {
    const lane = lanes.get(request.lane);
    lane.take(request);
    lane.refreshAll();
    draw();
  });
  on("processes", showProcesses);
  events.onopen = () => connect(true);
  events.onerror = () => {
    connect(false);
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, 2000);
  };
}

function connect(yes) {
  connection.className = yes ? "yes" : "no";
  connection.textContent = texts[yes ? "connected" : "disconnected"];
}

// A click has requests made; once they are answered, what they came to is said, in one go.
async function send(event) {
  event.preventDefault();
  const form = event.target;
  const body = new URLSearchParams(new FormData(form, event.submitter));
  if (atOnce.checked) body.set("at_once", "on"); // it is for the buttons of every lane
  const request = {method: "POST", body, headers: {Accept: "application/json"}};
  const response = await fetch(form.action, request).catch(() => undefined);
  if (!response?.ok) {
    summary.textContent = response ? say("failed", {status: `${response.status} ${response.statusText}`}) : texts.disconnected;
    return;
  }
  const results = Object.entries(await response.json());
  const said = results.map(([name, result]) =>
    say("summary", {lane: texts[`${name}_name`], ...result, median: milliseconds(result.median)}));
  summary.textContent = said.join(" ");
}

for (const form of document.forms) form.addEventListener("submit", send);
for (const place of document.querySelectorAll("[hidden]")) place.hidden = false; // what is for scripts alone
listen();
