/** The document that a node belongs to; a range or a selection is asked for a node of it. */
module.exports = function getDocument(of) {
  const node = of.commonAncestorContainer ?? of.anchorNode ?? of;
  return node.nodeType === 9 ? node : (node.ownerDocument ?? node.document);
};
