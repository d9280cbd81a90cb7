// Small behaviours only: theme, copying, menus, chosen rows, keys and the palette.
// Everything else is HTML from the server, and works without this file.
"use strict";

const root = document.documentElement;
root.classList.add("js");
const stored = localStorage.getItem("theme");
if (stored === "light" || stored === "dark") root.dataset.theme = stored;

const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];

function toast(text) {
  const box = document.getElementById("toast");
  box.textContent = text;
  box.classList.add("show");
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => box.classList.remove("show"), 2400);
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Clipboards need https or localhost; a registry in a lab has neither.
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "vh";
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

function count() {
  for (const bar of $$(".bulk")) {
    // Not bar.id: boxes named "id" belong to the form, and stand before its own property.
    const picked = $$(`[data-check][form="${bar.getAttribute("id")}"]:checked`).length;
    const label = bar.querySelector("[data-picked]");
    label.textContent = label.dataset.picked.replace("%s", picked);
    for (const button of $$("[data-needs]", bar)) button.disabled = picked !== Number(button.dataset.needs);
  }
}

function command(box) {
  const shown = box.querySelector("[data-client]").value;
  for (const line of $$("[data-for]", box)) line.hidden = line.dataset.for !== shown;
}

document.addEventListener("click", (event) => {
  const target = event.target.closest("[data-copy],[data-theme-toggle],[data-twist],[data-burger]");
  for (const menu of $$("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  if (event.target.id === "palette") palette.close();
  if (!target) return;
  if (target.dataset.copy !== undefined) {
    copy(target.dataset.copy).then(() => toast(target.dataset.said || "✓"));
  } else if (target.dataset.themeToggle !== undefined) {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    localStorage.setItem("theme", root.dataset.theme);
  } else if (target.dataset.burger !== undefined) {
    event.preventDefault();
    document.body.classList.toggle("nav-open");
  } else {
    const open = target.getAttribute("aria-expanded") === "true";
    target.setAttribute("aria-expanded", String(!open));
    for (const child of $$("tr.child", target.closest("tbody"))) child.hidden = open;
  }
});

// A menu in a table that scrolls would be cut off: it opens above everything, and goes along.
function place(menu) {
  const sheet = menu.querySelector(".sheet");
  const from = menu.getBoundingClientRect();
  const frame = menu.closest(".scroll").getBoundingClientRect();
  const gone = from.bottom < Math.max(frame.top, 0) || from.top > Math.min(frame.bottom, innerHeight)
    || from.right > frame.right + 1 || from.left < frame.left - 1;
  sheet.classList.add("above");
  sheet.classList.toggle("gone", gone);
  sheet.style.right = `${document.documentElement.clientWidth - from.right}px`;
  const below = innerHeight - from.bottom > sheet.offsetHeight + 8;
  sheet.style.top = below ? `${from.bottom + 4}px` : `${Math.max(4, from.top - sheet.offsetHeight - 4)}px`;
}

document.addEventListener("toggle", (event) => {
  if (event.target.open && event.target.matches(".scroll details.menu")) place(event.target);
}, true);

for (const moved of ["scroll", "resize"]) {
  addEventListener(moved, () => {
    for (const menu of $$(".scroll details.menu[open]")) place(menu);
  }, { capture: true, passive: true });
}

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-check-all]")) {
    for (const box of $$("[data-check]", event.target.closest("table"))) box.checked = event.target.checked;
  }
  if (event.target.matches("[data-check],[data-check-all]")) count();
  if (event.target.matches("[data-client]")) {
    localStorage.setItem("client", event.target.value);
    for (const box of $$("[data-commands]")) {
      box.querySelector("[data-client]").value = event.target.value;
      command(box);
    }
  }
});

const palette = {
  box: () => document.getElementById("palette"),
  timer: 0,
  asked: 0,
  open() {
    const box = palette.box();
    if (!box) return;
    palette.before = document.activeElement;
    box.hidden = false;
    document.getElementById("palette-q").value = "";
    document.getElementById("palette-q").focus();
    palette.fill("");
  },
  close() {
    const box = palette.box();
    if (!box || box.hidden) return;
    box.hidden = true;
    palette.before?.focus();
  },
  async fill(text) {
    const turn = ++palette.asked;
    const pages = $$(".side li a").map((a) => ({ href: a.getAttribute("href"), name: a.textContent.trim(), kind: "" }))
      .filter((page) => page.name.toLowerCase().includes(text.toLowerCase()));
    let found = [];
    if (text.trim()) {
      const answer = await fetch(`/harbor/palette?q=${encodeURIComponent(text)}`, { headers: { Accept: "application/json" } });
      if (answer.ok) found = await answer.json();
    }
    if (turn !== palette.asked) return;
    const list = document.getElementById("palette-list");
    list.replaceChildren(...[...found, ...pages].slice(0, 15).map((each, place) => {
      const line = document.createElement("li");
      line.setAttribute("role", "option");
      line.id = `palette-${place}`;
      line.setAttribute("aria-selected", String(place === 0));
      const link = document.createElement("a");
      link.href = each.href;
      link.tabIndex = -1;
      link.textContent = each.name;
      if (each.kind) {
        const kind = document.createElement("small");
        kind.textContent = each.kind;
        link.append(kind);
      }
      line.append(link);
      return line;
    }));
  },
  move(step) {
    const lines = $$("#palette-list li");
    const at = lines.findIndex((line) => line.getAttribute("aria-selected") === "true");
    const next = Math.min(lines.length - 1, Math.max(0, at + step));
    lines.forEach((line, place) => line.setAttribute("aria-selected", String(place === next)));
    if (lines[next]) document.getElementById("palette-q").setAttribute("aria-activedescendant", lines[next].id);
    lines[next]?.scrollIntoView({ block: "nearest" });
  },
};

const completion = {
  timer: 0,
  asked: 0,
  async fill(field) {
    const turn = ++completion.asked;
    const said = new URLSearchParams({ q: field.value });
    if (field.dataset.beside) said.set("with", field.form.elements[field.dataset.beside].value);
    const answer = await fetch(`${field.dataset.complete}&${said}`, { headers: { Accept: "application/json" }, redirect: "manual" });
    if (!answer.ok || turn !== completion.asked) return;
    field.list.replaceChildren(...(await answer.json()).map((name) => {
      const option = document.createElement("option");
      option.value = name;
      return option;
    }));
  },
};

document.addEventListener("input", (event) => {
  const target = event.target;
  if (target.id === "palette-q") {
    clearTimeout(palette.timer);
    palette.timer = setTimeout(() => palette.fill(target.value), 120);
  } else if (target.dataset.complete) {
    clearTimeout(completion.timer);
    completion.timer = setTimeout(() => completion.fill(target), 120);
  }
});

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input, textarea, select");
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
    event.preventDefault();
    palette.open();
  } else if (event.key === "Escape") {
    palette.close();
    for (const menu of $$("details.menu[open]")) menu.open = false;
    document.body.classList.remove("nav-open");
  } else if (event.target.id === "palette-q") {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      palette.move(event.key === "ArrowDown" ? 1 : -1);
    } else if (event.key === "Enter") {
      event.preventDefault();
      document.querySelector('#palette-list [aria-selected="true"] a')?.click();
    } else if (event.key === "Tab") {
      event.preventDefault();
    }
  } else if (typing || event.ctrlKey || event.metaKey || event.altKey) {
    return;
  } else if (event.key === "/") {
    event.preventDefault();
    (document.querySelector("[data-slash]") || document.getElementById("jump"))?.focus();
  } else if (event.key === "j" || event.key === "k") {
    const rows = $$("[data-row]");
    const at = rows.indexOf(document.activeElement);
    rows[Math.min(rows.length - 1, Math.max(0, at + (event.key === "j" ? 1 : -1)))]?.focus();
  } else if (document.activeElement.matches("[data-row]")) {
    if (event.key === "x") document.activeElement.querySelector("[data-check]")?.click();
    if (event.key === "Enter") document.activeElement.querySelector("a.name, a.tag")?.click();
  }
});

document.addEventListener("DOMContentLoaded", () => {
  const client = localStorage.getItem("client");
  for (const box of $$("[data-commands]")) {
    const select = box.querySelector("[data-client]");
    if (client && [...select.options].some((option) => option.value === client)) select.value = client;
    command(box);
  }
  count();
  const box = document.getElementById("toast");
  if (box?.textContent.trim()) toast(box.textContent);
});

document.addEventListener("htmx:after:swap", () => {
  count();
  // A page that is followed live changes below a menu: it stays open, where it was.
  for (const menu of $$(".scroll details.menu[open]")) place(menu);
  for (const box of $$("[data-commands]")) command(box);
});
