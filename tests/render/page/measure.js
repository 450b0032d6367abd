// What does not fit, measured in what is drawn.

const clips = (element) => getComputedStyle(element).overflowX !== 'visible';
const scrolls = (element) => ['auto', 'scroll'].includes(getComputedStyle(element).overflowX);

/** The elements around a text that cut off what does not fit, up to one that scrolls: what can be scrolled is not lost. */
function framesOf(text, panel) {
  const found = [];
  for (let one = text.parentElement; one !== panel && !scrolls(one); one = one.parentElement) if (clips(one)) found.push(one);
  return found;
}

/** Texts that are cut off at a side, with three dots or without: their reader has to point at them, or guess. */
export function cutTexts(panel) {
  const found = [];
  const walker = document.createTreeWalker(panel, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode;
    if (text.textContent.trim() === '') continue;
    const range = document.createRange();
    range.selectNodeContents(text);
    const place = range.getBoundingClientRect();
    const frames = framesOf(text, panel).map((frame) => frame.getBoundingClientRect());
    // What has no room at all is not for the eye, but for readers of screens.
    if (frames.some(({ width, height }) => width <= 1 || height < place.height / 2)) continue;
    if (frames.some(({ left, right }) => place.left < left - 1 || place.right > right + 1)) found.push(text.textContent);
  }
  return found;
}

/** Whether something has to be scrolled sideways, as a table with too many columns: who does not, does not know of them. */
export function isTooWide(panel) {
  return [...panel.querySelectorAll('*')].some((one) => one.scrollWidth > one.clientWidth + 1 && scrolls(one));
}
