// The stream of what arrives, newest first, and its filter.

import { clock, count, find, make, money, say } from "./dom.js";
import { campaignName, listCampaigns, title } from "./results.js";

const MAX_ROWS = 200;
const KINDS = {
  user: "shown",
  goal: "conversion",
  push: "attributes",
  sdk: "SDK",
  refused: "refused",
  faulty: "fault",
  settings: "settings",
  gateway: "gateway",
};

export class Entries {
  // `watch` is called with the filter when it changes.
  constructor(watch) {
    this.form = find("filter");
    this.rows = find("entry-rows");
    this.pause = find("pause");
    this.watch = watch;
    this.isPaused = false;
    for (const [kind, name] of Object.entries(KINDS)) {
      this.form.elements.kind.append(make("option", { value: kind }, name));
    }
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.apply();
    });
    for (const name of ["campaign", "kind"]) {
      this.form.elements[name].addEventListener("change", () => this.apply());
    }
    find("clear-filter").addEventListener("click", () => {
      this.form.reset();
      this.apply();
    });
    this.pause.addEventListener("click", () => this.toggle());
  }

  get wanted() {
    const given = [...new FormData(this.form)].filter(([, value]) => value !== "");
    return Object.fromEntries(given.map(([name, value]) => [name, value.trim()]));
  }

  apply() {
    this.forget();
    this.watch(this.wanted);
  }

  toggle() {
    this.isPaused = !this.isPaused;
    this.pause.setAttribute("aria-pressed", this.isPaused);
    if (!this.isPaused) this.apply();
  }

  forget() {
    this.rows.replaceChildren();
    say(find("more"), "");
  }

  showCampaigns() {
    const select = this.form.elements.campaign;
    const known = new Set([...select.options].map((option) => option.value));
    for (const campaign of listCampaigns()) {
      if (!known.has(campaign.id)) {
        select.append(make("option", { value: campaign.id }, title(campaign)));
      }
    }
  }

  show({ entries, more }) {
    if (this.isPaused) return;
    this.rows.prepend(...entries.map((entry) => this.showEntry(entry)));
    while (this.rows.children.length > MAX_ROWS) this.rows.lastElementChild.remove();
    say(find("more"), more ? `${count(more)} more arrived at the same time and are not listed.` : "");
  }

  showEntry(entry) {
    return make(
      "tr",
      { class: entry.kind },
      make("td", {}, clock(entry.at_s)),
      make("td", {}, make("span", { class: "chip" }, KINDS[entry.kind] ?? entry.kind)),
      make("td", {}, entry.visitor ? this.showVisitor(entry.visitor) : ""),
      make("td", { class: "what" }, make("strong", {}, showCampaign(entry)), " ", showWhat(entry)),
    );
  }

  showVisitor(visitor) {
    const choose = () => {
      this.form.elements.user.value = visitor;
      this.apply();
    };
    const label = `Only events of visitor ${visitor}`;
    const shown = visitor.length > 10 ? `${visitor.slice(0, 8)}…` : visitor;
    // By keyboard one would pass hundreds of them; what is shown can be typed into the filter.
    const attributes = { type: "button", class: "link", tabindex: "-1", title: label, click: choose };
    return make("button", attributes, shown);
  }
}

function showCampaign(entry) {
  const names = entry.campaign_ids.map(
    (one) => campaignName(`${entry.product}/${entry.account_id}/${one}`) ?? String(one),
  );
  return names.join(", ");
}

export function showWhat(entry) {
  const parts = [];
  if (entry.event_name) parts.push(entry.event_name);
  if (entry.variation_id !== null) parts.push(`variation ${entry.variation_id}`);
  if (entry.goal_ids.length) parts.push(`goal ${entry.goal_ids.join(", ")}`);
  if (entry.revenue !== null) parts.push(`revenue ${money(entry.revenue)}`);
  if (entry.status !== 200) parts.push(entry.status ? `answered ${entry.status}` : "not answered");
  if (entry.text) parts.push(entry.text);
  return parts.join(" · ");
}

export { KINDS };
