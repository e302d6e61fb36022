// Why a user gets what he gets: the steps of each decision, as `vwo-async explain` has them.

import { clock, find, make, say } from "./dom.js";
import { KINDS, showWhat } from "./entries.js";
import { listCampaigns } from "./results.js";
import { ask } from "./server.js";

const OBJECTS = ["custom_variables", "variation_targeting_variables"];

export function prepareLookUp() {
  find("look-up-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    say(find("look-up-problem"), "");
    try {
      showAnswer(await ask("POST", "/collector/look-up", read(event.target)));
    } catch (problem) {
      find("explained").replaceChildren();
      say(find("look-up-problem"), problem.message);
    }
  });
}

export function showKeys() {
  const keys = listCampaigns().flatMap(({ key, features }) => (features.length ? features : [key]));
  const names = [...new Set(keys.filter((key) => key))];
  find("keys").replaceChildren(...names.map((key) => make("option", { value: key })));
}

function read(form) {
  const asked = {};
  for (const [name, value] of new FormData(form)) {
    if (value.trim() !== "" || name === "user_id") asked[name] = OBJECTS.includes(name) ? parse(name, value) : value;
  }
  return asked;
}

function parse(name, value) {
  try {
    return JSON.parse(value);
  } catch {
    throw new Error(`${name.replaceAll("_", " ")}: not JSON`);
  }
}

function showAnswer({ files, entries }) {
  const parts = files.flatMap(showFile);
  if (!files.length) parts.push(make("p", { class: "empty" }, "This collector was given no settings file."));
  const rows = entries.map((entry) =>
    make("li", {}, `${clock(entry.at_s)} ${KINDS[entry.kind]} ${entry.campaign_ids.join(", ")} ${showWhat(entry)}`),
  );
  if (rows.length) parts.push(make("h3", {}, "What arrived of this user"), make("ul", { class: "facts" }, ...rows));
  find("explained").replaceChildren(...parts);
}

function showFile(file) {
  const name = `${file.product === "fme" ? "FME" : "FullStack"}, account ${file.account_id}`;
  const visitor = file.visitor ? make("p", { class: "hint" }, `visitor ${file.visitor}`) : null;
  const problem = file.error ? make("p", { class: "problem" }, file.error) : null;
  const none = !file.error && !file.decisions.length ? make("p", { class: "empty" }, "Nothing of that key.") : null;
  return [make("h3", {}, name), visitor, problem, none, ...file.decisions.map(showDecision)].filter(Boolean);
}

function showDecision(decision) {
  const key = decision.campaign_key ?? decision.feature_key;
  const isOn = decision.variation_name !== null;
  const end = isOn ? decision.variation_name : decision.is_enabled === false ? "off" : "no variation";
  const steps = decision.steps.map((step) => {
    const facts = listFacts(step.facts).map((fact) => make("li", {}, fact));
    const mark = make("span", { class: step.passed ? "passed" : "failed" }, step.passed ? "✓" : "✗");
    const word = make("span", { class: "unseen" }, step.passed ? "passed" : "failed");
    return make(
      "li",
      {},
      mark,
      word,
      " ",
      make("strong", {}, step.name),
      `: ${step.text}`,
      facts.length ? make("ul", { class: "facts" }, ...facts) : null,
    );
  });
  return make(
    "details",
    { open: true, class: "decision" },
    make("summary", {}, make("strong", {}, key), `: ${end} (${decision.reason})`),
    make("ol", { class: "steps" }, ...steps),
  );
}

function listFacts(facts) {
  const found = [];
  if ("seed" in facts) found.push(`seed ${JSON.stringify(facts.seed)}`);
  if ("hash" in facts) found.push(`hash ${facts.hash}, bucket value ${facts.value}`);
  if ((facts.multiplier ?? 1) !== 1) found.push(`multiplied by ${facts.multiplier}`);
  if ("start" in facts) found.push(`range ${facts.start}..${facts.end}`);
  if (facts.eligible?.length) found.push(`eligible: ${facts.eligible.join(", ")}`);
  if (facts.group !== undefined && facts.group !== null) found.push(`group ${facts.group}`);
  return found;
}
