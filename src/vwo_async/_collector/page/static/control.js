// Faults, the lamp that shows them, reset and downloads.

import { find, make, say } from "./dom.js";
import { address, ask } from "./server.js";

const buttons = () => find("fault-buttons").querySelectorAll("button");

export function prepareControl() {
  for (const button of buttons()) {
    button.addEventListener("click", () => {
      const isOn = button.getAttribute("aria-pressed") === "true";
      set({ fault: isOn ? null : button.dataset.fault });
    });
  }
  find("latency-form").addEventListener("submit", (event) => {
    event.preventDefault();
    set({ latency_s: Number(event.target.elements.latency.value) / 1000 });
  });
  find("reset").addEventListener("click", () => find("reset-dialog").showModal());
  find("reset-dialog").addEventListener("close", (event) => {
    if (event.target.returnValue === "reset") attempt(ask("POST", "/collector/reset"));
    event.target.returnValue = "";
  });
  for (const link of find("downloads").querySelectorAll("a")) {
    link.href = address(link.dataset.path);
  }
}

async function set(asked) {
  const found = await attempt(ask("PUT", "/collector/fault", asked));
  if (found) showFault(found);
}

async function attempt(asked) {
  say(find("fault-problem"), "");
  try {
    return await asked;
  } catch (problem) {
    say(find("fault-problem"), problem.message);
    return null;
  }
}

let shownLatency = 0;

export function showFault({ fault, latency_s: latency, planned = 0 }) {
  for (const button of buttons()) {
    button.setAttribute("aria-pressed", button.dataset.fault === fault);
  }
  if (latency !== shownLatency) find("latency-form").elements.latency.value = latency * 1000;
  shownLatency = latency;
  const on = [];
  if (fault) on.push(/^\d/.test(fault) ? `answers ${fault}` : fault);
  if (latency > 0) on.push(`${Math.round(latency * 1000)} ms of delay`);
  if (planned) on.push(`${planned} planned answers`);
  const text = on.length ? `Fault on: ${on.join(", ")}` : "";
  if (find("lamp").textContent !== text) say(find("lamp"), text);
  document.title = on.length ? `⚠ ${on.join(", ")} – Collector` : "Collector: a local VWO";
}

const TOTALS = {
  events: "events",
  visitors: "visitors",
  unique_conversions: "conversions",
  accepted: "accepted requests",
  refused: "refused",
  answered: "met a fault",
};

export function showTotals(totals, rate) {
  const format = new Intl.NumberFormat("en");
  const pairs = Object.entries(TOTALS).map(([name, label]) =>
    make("div", {}, make("dt", {}, label), make("dd", { "data-total": name }, format.format(totals[name]))),
  );
  pairs.push(make("div", {}, make("dt", {}, "events a second"), make("dd", {}, format.format(Math.round(rate)))));
  find("totals").replaceChildren(...pairs);
}
