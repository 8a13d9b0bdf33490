"use strict";
// Conflicts by keys: j and k go from one to the next, 1, 2 and 3 choose, and then a reason is due.
(function () {
  const takes = { 1: "here", 2: "central", 3: "value" };

  function cards() {
    return [...document.querySelectorAll("[data-card]")];
  }

  function go(step) {
    const all = cards();
    const at = all.indexOf(document.activeElement?.closest("[data-card]"));
    const next = all[Math.max(0, Math.min(all.length - 1, at + step))];
    next?.focus();
  }

  function choose(take) {
    const card = document.activeElement?.closest("[data-card]");
    const radio = card?.querySelector(`input[name="take"][value="${take}"]`);
    if (!radio) return;
    radio.checked = true;
    const next = take === "value" ? card.querySelector(".values input") : null;
    (next ?? card.querySelector('input[name="reason"]')).focus();
  }

  document.addEventListener("keydown", function (event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !cards().length) return;
    const into = event.target.closest?.("input:not([type=radio]), select, textarea");
    if (into) return;
    if (event.key === "j") go(1);
    else if (event.key === "k") go(-1);
    else if (event.key in takes) choose(takes[event.key]);
    else return;
    event.preventDefault();
  });
  document.addEventListener("htmx:afterSwap", function (event) {
    const said = event.detail.target?.id?.startsWith("conflict-")
      ? document.getElementById(event.detail.target.id)
      : null;
    said?.focus();
  });
})();
