"use strict";
// Shows what is new without a reload: the centre tells which sites changed, the page asks again.
(function () {
  const said = document.getElementById("live");
  const here = () => document.getElementById("results");
  if (!here()) return;

  let source = null;
  let wait = 0;
  let poll = 0;

  function tell(state, text) {
    if (said.dataset.state === state) return; // read aloud only when it is another
    said.dataset.state = state;
    said.textContent = text;
  }

  // Somebody who writes or chooses is not to lose it: the page is asked again once they are done.
  function isBusy() {
    const form = document.activeElement?.closest("#results form");
    const begun = [...document.querySelectorAll("#results form")].some((each) =>
      [...each.elements].some(
        (field) =>
          (field.type === "radio" && field.checked) ||
          (["text", "search"].includes(field.type) && field.value !== ""),
      ),
    );
    return Boolean(form) || begun;
  }

  function opened() {
    return [...document.querySelectorAll("#results details[open]")].map(mark);
  }

  function mark(details) {
    const panel = details.closest("[id]:not(details)");
    const among = [...panel.querySelectorAll("details")].indexOf(details);
    return panel.id + " " + among;
  }

  async function refresh() {
    wait = 0;
    if (document.hidden) return;
    if (isBusy()) {
      tell("waits", "new data wait");
      later(5000);
      return;
    }
    const open = new Set(opened());
    try {
      await htmx.ajax("GET", location.pathname + location.search, {
        source: document.body,
        target: "#results",
        select: "#results",
        swap: "outerHTML",
      });
    } catch {
      return; // the page says that the centre is not reached
    }
    document.querySelectorAll("#results details").forEach(function (each) {
      if (open.has(mark(each))) each.open = true;
    });
    if (source?.readyState === EventSource.OPEN) tell("on", "live");
  }

  // Not all pages at the same moment: what a thousand of them ask at once, all wait for.
  function later(least) {
    if (!wait) wait = setTimeout(refresh, least + Math.random() * 1500);
  }

  function changed(event) {
    const known = JSON.parse(here().dataset.revisions);
    const news = JSON.parse(event.data);
    if (Object.entries(news).some(([site, at]) => site in known && known[site] !== at)) later(100);
    // Whoever was rendered before anything was known of revisions is taken to be up to date.
    here().dataset.revisions = JSON.stringify({ ...known, ...news });
  }

  function listen() {
    source?.close();
    source = new EventSource("/v1/events");
    source.addEventListener("rev", changed);
    source.onopen = () => tell("on", "live");
    source.onerror = function () {
      tell("off", "not live");
      // Refused, and not only cut: it is asked now and then instead, and again for a stream.
      if (source.readyState === EventSource.CLOSED) setTimeout(listen, 30000);
    };
  }

  function start() {
    clearInterval(poll);
    if (document.hidden) {
      source?.close();
      source = null;
      tell("off", "not live");
      return;
    }
    listen();
    poll = setInterval(() => later(0), 1000 * Number(here().dataset.poll));
  }

  document.addEventListener("visibilitychange", function () {
    start();
    if (!document.hidden) later(0);
  });
  start();
})();
