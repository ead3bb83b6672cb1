// Filters the ledger's rows by part, by verdict and by words.
"use strict";

document.querySelectorAll("table.hopmix-ledger").forEach((table, number) => {
  const rows = [...table.tBodies].flatMap((body) => [...body.rows]);
  const form = document.createElement("form");
  form.className = "hopmix-filter";
  const field = (text, control, id) => {
    control.id = `${id}-${number}`;
    const label = document.createElement("label");
    label.htmlFor = control.id;
    label.append(text, control);
    form.append(label);
    return control;
  };
  const choice = (text, key) => {
    const select = field(text, document.createElement("select"), `ledger-${key}`);
    const values = [...new Set(rows.map((row) => row.dataset[key]))].sort();
    select.append(new Option("all", ""), ...values.map((value) => new Option(value, value)));
    return [select, key];
  };
  const choices = [choice("Part", "part"), choice("Verdict", "verdict")];
  const words = field("Words", document.createElement("input"), "ledger-words");
  words.type = "search";
  const shown = document.createElement("output");
  form.append(shown);

  const text = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  const update = () => {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    rows.forEach((row) => {
      const chosen = choices.every(([select, key]) => !select.value || row.dataset[key] === select.value);
      row.hidden = !(chosen && wanted.every((word) => text.get(row).includes(word)));
    });
    shown.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} shown`;
  };
  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  update();
  table.before(form);

  // A link to one claim must find it, whatever the filter hides.
  window.addEventListener("hashchange", () => {
    const target = document.getElementById(location.hash.slice(1));
    if (target && table.contains(target)) { form.reset(); update(); target.scrollIntoView(); }
  });
});
