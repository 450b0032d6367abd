// Elements of the page. What comes from the agent is only ever text.
const SVG = 'http://www.w3.org/2000/svg';

/** Names may have what turns a line round or is not seen at all. */
const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;
const printable = (said) => String(said).replace(HIDDEN, '\ufffd');

export const text = (said) => document.createTextNode(printable(said));

/** An element (`svg:` before its name is one of a drawing), with attributes and what is in it. */
export function el(name, attributes = {}, content = []) {
  const drawn = name.startsWith('svg:');
  const element = drawn ? document.createElementNS(SVG, name.slice(4)) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined) element.setAttribute(key, value);
  }
  element.append(...[content].flat().map((one) => (one instanceof Node ? one : text(one))));
  return element;
}

/** Puts elements in the place of what is there, unless that is the same. */
export function replace(parent, children) {
  const before = parent.childNodes;
  const same = before.length === children.length && children.every((child, at) => child.isEqualNode(before[at]));
  if (!same) parent.replaceChildren(...children);
}

export function setText(element, said) {
  const shown = printable(said);
  if (element.textContent !== shown) element.textContent = shown;
}
