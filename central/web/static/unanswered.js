"use strict";
// Says that the centre did not answer, or could not: what is shown then is still that of before.
(function () {
  const place = document.getElementById("unanswered");

  function tell(why) {
    const said = document.createElement("p");
    said.className = "said failed";
    said.setAttribute("role", "alert"); // read aloud as it comes
    said.textContent = `${why} What is shown is from before it was asked.`;
    place.replaceChildren(said);
  }

  // A problem is told in a page of its own, of which one sentence is for people.
  function reason(text) {
    const found = new DOMParser().parseFromString(text, "text/html").querySelector(".said.failed");
    return found?.textContent.trim();
  }

  document.addEventListener("htmx:responseError", function (event) {
    const { status, responseText } = event.detail.xhr;
    tell(reason(responseText) || `The centre could not answer (${status}).`);
  });
  for (const missed of ["htmx:sendError", "htmx:timeout"])
    document.addEventListener(missed, () => tell("The centre is not reached."));
  document.addEventListener("htmx:afterSwap", () => place.replaceChildren());
})();
