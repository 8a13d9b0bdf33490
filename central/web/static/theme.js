"use strict";
// Before anything is painted: the theme that this browser chose, else what the system has.
(function () {
  const themes = ["system", "light", "dark"];
  const root = document.documentElement;

  function stored() {
    const found = localStorage.getItem("theme");
    return themes.includes(found) ? found : "system";
  }

  function set(theme) {
    if (theme === "system") root.removeAttribute("data-theme");
    else root.dataset.theme = theme;
  }

  set(stored());
  document.addEventListener("DOMContentLoaded", function () {
    const button = document.getElementById("theme");
    const name = button.querySelector("span");
    name.textContent = stored();
    button.hidden = false;
    button.addEventListener("click", function () {
      const next = themes[(themes.indexOf(stored()) + 1) % themes.length];
      localStorage.setItem("theme", next);
      set(next);
      name.textContent = next;
      document.dispatchEvent(new Event("theme"));
    });
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", function () {
    document.dispatchEvent(new Event("theme"));
  });
})();
