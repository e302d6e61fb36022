// The page: opens the stream of what happens, and hands each message to the part that shows it.

import { prepareControl, showFault, showTotals } from "./control.js";
import { find, say } from "./dom.js";
import { Entries } from "./entries.js";
import { prepareLookUp, showKeys } from "./look_up.js";
import { forgetCampaigns, showCampaigns } from "./results.js";
import { address, ask, setToken } from "./server.js";

const RETRY_MS = 2000;

let stream = null;
let last = null;

function connect(wanted) {
  stream?.close();
  stream = new EventSource(address("/collector/stream", wanted));
  const on = (name, show) =>
    stream.addEventListener(name, (message) => show(JSON.parse(message.data)));
  on("reset", forget);
  on("state", showState);
  on("campaigns", (campaigns) => {
    showCampaigns(campaigns);
    entries.showCampaigns();
    showKeys();
  });
  on("entries", (found) => entries.show(found));
  stream.addEventListener("open", () => {
    // A stream that was interrupted begins again with everything.
    entries.forget();
    connected(true);
  });
  stream.addEventListener("error", () => {
    connected(false);
    // A browser gives up where the answer is no stream.
    if (stream.readyState === EventSource.CLOSED) setTimeout(start, RETRY_MS);
  });
}

function connected(isConnected) {
  const chip = find("connection");
  const text = isConnected ? "live" : "no connection";
  if (chip.textContent !== text) chip.textContent = text;
  chip.classList.toggle("live", isConnected);
}

function forget() {
  forgetCampaigns();
  entries.forget();
}

function showState(state) {
  const now = performance.now();
  const seconds = last ? (now - last.at) / 1000 : 0;
  const rate = seconds ? Math.max(0, state.totals.events - last.events) / seconds : 0;
  // Another collector, or one that was reset: what it does not name any more is gone.
  if (last && last.instance !== state.instance) forgetCampaigns();
  last = { at: now, events: state.totals.events, instance: state.instance };
  showTotals(state.totals, rate);
  showFault(state);
  const notice = state.is_partial
    ? "More visitors, campaigns or events than can be told apart: counts are no longer exact. Reset to begin anew."
    : "";
  if (find("notice").textContent !== notice) say(find("notice"), notice);
}

// A page that nobody sees costs the collector nothing, nor the browser one of its few connections.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) stream?.close();
  else if (stream) connect(entries.wanted);
});

function askForToken() {
  const dialog = find("token-dialog");
  if (!dialog.open) dialog.showModal();
  dialog.addEventListener(
    "close",
    () => {
      setToken(dialog.querySelector("input").value);
      start();
    },
    { once: true },
  );
}

async function start() {
  try {
    showFault(await ask("GET", "/collector/fault"));
  } catch (problem) {
    connected(false);
    if (problem.status === 403 && problem.message.includes("token")) askForToken();
    else if (problem.status === 403) say(find("notice"), problem.message);
    else setTimeout(start, RETRY_MS);
    return;
  }
  if (!isPrepared) prepareControl();
  isPrepared = true;
  connect(entries.wanted);
}

let isPrepared = false;
const entries = new Entries(connect);
prepareLookUp();
start();
