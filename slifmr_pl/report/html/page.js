"use strict";
// Filters: a form's text and boxes choose which of the examples below it are shown.
for (const form of document.querySelectorAll("form.filter")) {
  const examples = [...document.querySelectorAll(`#${form.dataset.of} > .example`)];
  const apply = () => {
    const wanted = form.elements.text.value.trim().toLowerCase();
    const boxes = [...form.querySelectorAll("input[type=checkbox]:checked")].map((box) => box.name);
    for (const example of examples) {
      const tags = example.dataset.tags.split(" ");
      example.hidden = !example.dataset.text.includes(wanted) || !boxes.every((box) => tags.includes(box));
    }
    const shown = examples.filter((example) => !example.hidden).length;
    form.querySelector("output").textContent = `${shown} of ${examples.length} shown`;
  };
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  apply();
}
// On paper nothing can be opened.
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => (one.open = true)));
