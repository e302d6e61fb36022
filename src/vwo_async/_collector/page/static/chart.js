// How a campaign grew: a line for each variation, of its rate for one goal, or of its visitors.

/* global uPlot */

import { clock } from "./dom.js";

const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3]];
const HEIGHT = 220;

const drawn = new Set();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const chart of drawn) chart.redraw();
});

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

export function lineColor(place) {
  return `--line-${place % 6}`;
}

// Returns the columns that uPlot wants: times, and for each variation its values.
function tabulate(found, campaign, goalId) {
  const place = (variation, goal) =>
    found.columns.findIndex(([one, other]) => one === variation && other === goal);
  const points = found.points.map(([atS, ...counts]) => [atS, counts]);
  if (found.last) points.push([Date.now() / 1000, found.last]);
  const lines = campaign.variations.map((variation) => {
    const visitors = place(variation.variation_id, null);
    const converted = place(variation.variation_id, goalId);
    return points.map(([, counts]) => {
      const shown = counts[visitors];
      if (goalId === null) return shown ?? null;
      return shown ? (100 * (counts[converted] ?? 0)) / shown : null;
    });
  });
  return [points.map(([atS]) => atS), ...lines];
}

function axis(write) {
  return {
    stroke: () => color("--text"),
    grid: { stroke: () => color("--line") },
    ticks: { stroke: () => color("--line") },
    values: (_, ticks) => ticks.map((tick) => String(write(tick))),
  };
}

export class Chart {
  constructor(parent) {
    this.parent = parent;
    this.plot = null;
    this.shape = "";
    new ResizeObserver(() => this.fit()).observe(parent);
    drawn.add(this);
  }

  show(found, campaign, goalId) {
    const shape = JSON.stringify([goalId, campaign.variations.map((one) => one.variation_id)]);
    const table = tabulate(found, campaign, goalId);
    if (this.plot && this.shape === shape) this.plot.setData(table);
    else this.draw(table, campaign, goalId);
    this.shape = shape;
  }

  draw(table, campaign, goalId) {
    this.plot?.destroy();
    const series = campaign.variations.map((_, place) => ({
      stroke: () => color(lineColor(place)),
      width: 2,
      dash: DASHES[place % DASHES.length],
      points: { show: table[0].length < 3 },
      spanGaps: true,
    }));
    const options = {
      width: this.width(),
      height: HEIGHT,
      legend: { show: false },
      cursor: { show: false },
      scales: { x: { time: true } },
      axes: [
        { ...axis(clock), space: 90 },
        { ...axis((tick) => (goalId === null ? tick : `${tick} %`)), size: 60 },
      ],
      series: [{}, ...series],
    };
    this.plot = new uPlot(options, table, this.parent);
  }

  width() {
    return Math.max(this.parent.clientWidth, 200);
  }

  fit() {
    this.plot?.setSize({ width: this.width(), height: HEIGHT });
  }

  redraw() {
    this.plot?.redraw();
  }

  remove() {
    this.plot?.destroy();
    drawn.delete(this);
  }
}
