// The campaigns: a table of variations for one goal, what is wrong with the split, and a chart.

import { Chart, lineColor } from "./chart.js";
import { count, find, make, money, percent, say, uplift } from "./dom.js";
import { ask } from "./server.js";

const REVENUE = "Revenue";
const HEADS = ["Variation", "Visitors", "Conversions", "Rate", REVENUE, "Uplift"];
const CHART_PAUSE_MS = 2000;

const cards = new Map();

export function title(campaign) {
  return campaign.key || `campaign ${campaign.campaign_id}`;
}

export function campaignName(id) {
  const card = cards.get(id);
  return card ? title(card.campaign) : null;
}

export function listCampaigns() {
  return [...cards.values()].map((card) => card.campaign);
}

export function showCampaigns(campaigns) {
  for (const campaign of campaigns) {
    let card = cards.get(campaign.id);
    if (!card) {
      card = new Card(campaign);
      cards.set(campaign.id, card);
    }
    card.show(campaign);
    place(card);
  }
  sum();
}

function sum() {
  const idle = [...cards.values()].filter((card) => card.isIdle).length;
  find("no-results").hidden = cards.size > 0;
  find("idle").hidden = idle === 0;
  find("idle-count").textContent = `${count(idle)} without visitors and conversions`;
}

// In the order of the collector, whatever came first; what nobody has seen yet stands apart.
function place(card) {
  const parent = find(card.isIdle ? "idle-campaigns" : "campaigns");
  if (card.element.parentElement === parent) return;
  if (!card.isIdle && !parent.children.length) card.details.open = true;
  const others = [...cards.values()].filter((other) => other.element.parentElement === parent);
  const after = others.sort(sorts).find((other) => sorts(card, other) < 0);
  parent.insertBefore(card.element, after?.element ?? null);
}

function sorts(one, other) {
  const key = ({ campaign }) => [campaign.product, campaign.account_id, campaign.campaign_id];
  const [a, b] = [key(one), key(other)];
  const different = a.findIndex((part, at) => part !== b[at]);
  return different < 0 ? 0 : a[different] < b[different] ? -1 : 1;
}

export function forgetCampaigns() {
  for (const card of cards.values()) card.remove();
  cards.clear();
  sum();
}

class Card {
  constructor(campaign) {
    const id = `campaign-${cards.size}`;
    this.heading = make("h3", { id });
    this.about = make("p", { class: "hint" });
    this.ratio = make("p", { class: "warning", role: "status", hidden: true });
    this.goal = make("select", { change: () => this.show(this.campaign) });
    this.goalLabel = make("label", {}, "Goal ", this.goal);
    this.rows = make("tbody", { role: "rowgroup" });
    // The roles stay what they are where a narrow screen shows each row as a block.
    this.heads = make("tr", { role: "row" });
    const head = make("thead", { role: "rowgroup" }, this.heads);
    const table = make("table", { role: "table", "aria-labelledby": id }, head, this.rows);
    this.plotted = make("div", { class: "plot", role: "img" });
    this.details = make(
      "details",
      { toggle: () => this.plot() },
      make("summary", {}, "Over time"),
      this.plotted,
    );
    this.chart = new Chart(this.plotted);
    this.scroll = make(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-labelledby": id },
      table,
    );
    this.element = make(
      "article",
      { "aria-labelledby": id },
      make("div", { class: "row head" }, this.heading, this.goalLabel),
      this.about,
      this.ratio,
      this.scroll,
      this.details,
    );
    this.campaign = campaign;
    this.isPlotting = false;
    this.plottedAt = 0;
  }

  get isIdle() {
    const { visitors, variations } = this.campaign;
    return !visitors && !variations.some((one) => one.goals.some((goal) => goal.conversions));
  }

  show(campaign) {
    this.campaign = campaign;
    this.heading.textContent = title(campaign);
    const features = campaign.features.length ? ` of ${campaign.features.join(", ")}` : "";
    const product = campaign.product === "fme" ? "rule" : "campaign";
    this.about.textContent =
      `${product}${features} ${campaign.campaign_id}, account ${campaign.account_id}: ` +
      `${count(campaign.visitors)} visitors`;
    this.showGoals(campaign.goals);
    this.showRatio(campaign.ratio);
    const goal = Math.max(this.goal.selectedIndex, 0);
    const hasRevenue = campaign.variations.some((one) => Number(one.goals[goal]?.revenue ?? 0));
    const heads = HEADS.filter((head) => hasRevenue || head !== REVENUE);
    this.showHeads(heads);
    this.rows.replaceChildren(
      ...campaign.variations.map((one, at) => showRow(one, one.goals[goal] ?? {}, at, heads)),
    );
    this.plot();
  }

  showHeads(heads) {
    if (this.heads.children.length === heads.length) return;
    const cells = heads.map((head) => make("th", { scope: "col", role: "columnheader" }, head));
    this.heads.replaceChildren(...cells);
  }

  showGoals(goals) {
    const names = goals.map((goal) => goal.name ?? `goal ${goal.goal_id}`);
    const shown = [...this.goal.options].map((option) => option.textContent);
    if (names.join("\n") !== shown.join("\n")) {
      const before = this.goal.selectedIndex;
      this.goal.replaceChildren(...names.map((name) => make("option", {}, name)));
      this.goal.selectedIndex = Math.max(before, goals.length ? 0 : -1);
    }
    this.goalLabel.hidden = goals.length < 1;
  }

  showRatio(ratio) {
    const text = !ratio?.is_mismatch
      ? ""
      : `Sample ratio mismatch: an honest split is as far from its weights in ${percent(ratio.p_value)} ` +
        "of all cases. Do not trust these results.";
    if (this.ratio.textContent !== text) say(this.ratio, text);
  }

  // Asks for the series at most every two seconds, and only where one can see it.
  async plot() {
    if (!this.details.open || this.isPlotting) return;
    this.isPlotting = true;
    const pause = Math.max(0, this.plottedAt + CHART_PAUSE_MS - Date.now());
    await new Promise((resume) => setTimeout(resume, pause));
    try {
      this.draw(await ask("GET", `/collector/series?campaign=${encodeURIComponent(this.campaign.id)}`));
    } catch {
      // The next change asks again.
    }
    this.plottedAt = Date.now();
    this.isPlotting = false;
  }

  draw(found) {
    const goal = this.campaign.goals[Math.max(this.goal.selectedIndex, 0)];
    this.chart.show(found, this.campaign, goal?.goal_id ?? null);
    const rates = this.campaign.variations.map((one) => `${variationName(one)} ${describe(one, this.goal)}`);
    this.plotted.setAttribute("aria-label", `Lines over time, now at: ${rates.join(", ")}`);
  }

  remove() {
    this.chart.remove();
    this.element.remove();
  }
}

function describe(variation, select) {
  const goal = variation.goals[Math.max(select.selectedIndex, 0)];
  return goal ? percent(goal.rate) : `${count(variation.visitors)} visitors`;
}

function variationName(variation) {
  if (variation.variation_id === null) return "unknown";
  return variation.name ?? `variation ${variation.variation_id}`;
}

function showRow(variation, goal, at, heads) {
  const mark = make("span", { class: "mark", "aria-hidden": "true" });
  mark.style.setProperty("--mark", `var(${lineColor(at)})`);
  const name = make("th", { scope: "row", role: "rowheader" }, mark, variationName(variation));
  if (variation.is_control) name.append(" ", make("span", { class: "chip" }, "control"));
  const shown = {
    Visitors: count(variation.visitors),
    Conversions: count(goal.conversions),
    Rate: showRate(goal),
    [REVENUE]: pair(money(goal.revenue), `${money(goal.revenue_per_visitor)} a visitor`),
    Uplift: showUplift(goal),
  };
  const cells = heads
    .slice(1)
    .map((head) => make("td", { role: "cell", "data-head": head }, make("span", {}, shown[head])));
  return make("tr", { role: "row" }, name, ...cells);
}

// A number, and below it what it means.
function pair(number, meaning, emphasis = null) {
  const shown = make("strong", { class: emphasis }, number);
  return make("span", {}, shown, " ", make("span", { class: "meaning" }, meaning));
}

function isKnown(value) {
  return value !== null && value !== undefined;
}

function showRate({ rate, low, high }) {
  return isKnown(rate) ? pair(percent(rate), `${percent(low)} to ${percent(high)}`) : "–";
}

function showUplift({ uplift: found, probability }) {
  if (!isKnown(probability)) return "–";
  const isClear = probability >= 0.95 || probability <= 0.05;
  return pair(uplift(found), `probability ${percent(probability)}`, isClear ? "clear" : null);
}
