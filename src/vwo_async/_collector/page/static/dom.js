// Makes elements. All that was received becomes text or the value of a harmless attribute, never markup.

export function find(id) {
  return document.getElementById(id);
}

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(name, value);
    }
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function say(element, text) {
  element.textContent = text;
  element.hidden = text === "";
}

const whole = new Intl.NumberFormat("en");
const fraction = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const share = new Intl.NumberFormat("en", {
  style: "percent",
  minimumFractionDigits: 2,
  maximumFractionDigits: 2,
});
const change = new Intl.NumberFormat("en", {
  style: "percent",
  signDisplay: "exceptZero",
  minimumFractionDigits: 1,
  maximumFractionDigits: 1,
});

const NOTHING = "–";

function withNothing(format) {
  return (value) => (value === null || value === undefined ? NOTHING : format(value));
}

export const count = withNothing((value) => whole.format(value));
export const money = withNothing((value) => fraction.format(Number(value)));
export const percent = withNothing((value) => share.format(value));
export const uplift = withNothing((value) => change.format(value));

export function clock(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString("en-GB");
}
