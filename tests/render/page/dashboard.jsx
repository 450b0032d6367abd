// The frame around the panels, with Grafana's measures: what is on the first screen depends on them.

import { useTheme2, Icon } from '@grafana/ui';

import { interpolateText } from './interpolate.js';
import { Panel } from './panel.jsx';

/** Grafana's grid: 24 columns, cells of 30 pixels, and 8 between them. */
const COLUMNS = 24;
const CELL = 30;
const GAP = 8;
/** Left and right of the dashboard. */
const PADDING = 16;
/** The bar with the way to the dashboard, and the one with its actions. */
const BAR = 40;

function box({ x, y, w, h }, width) {
  const column = (width - GAP * (COLUMNS - 1)) / COLUMNS;
  return { left: x * (column + GAP), top: y * (CELL + GAP), width: w * column + (w - 1) * GAP, height: h * CELL + (h - 1) * GAP };
}

function Bar({ children, isTop }) {
  const theme = useTheme2();
  const style = { height: BAR, padding: '0 16px', display: 'flex', alignItems: 'center', gap: 8, background: isTop ? theme.colors.background.primary : undefined, borderBottom: `1px solid ${theme.colors.border.weak}` };
  return <div style={style}>{children}</div>;
}

function Control({ label, text, hasMenu }) {
  const theme = useTheme2();
  const line = { height: 32, display: 'flex', alignItems: 'center', padding: '0 8px', border: `1px solid ${theme.colors.border.weak}`, ...theme.typography.bodySmall, lineHeight: '30px' };
  return (
    <div style={{ display: 'flex' }}>
      <div style={{ ...line, background: theme.colors.background.secondary, fontWeight: 500 }}>{label}</div>
      <div style={{ ...line, background: theme.components.input.background, borderLeft: 0, minWidth: 80, justifyContent: 'space-between', gap: 8 }}>
        <span>{text}</span>
        {hasMenu && <Icon name="angle-down" />}
      </div>
    </div>
  );
}

function Controls({ model, context }) {
  const shown = model.templating.list.filter(({ hide }) => !hide).map(({ name, type }) => ({ name, type, ...context.variables.get(name) }));
  return (
    <div style={{ display: 'flex', flexWrap: 'wrap', gap: 8, padding: `${PADDING}px ${PADDING}px 8px` }}>
      {shown.map(({ name, label, text, type }) => <Control key={name} label={label} text={text} hasMenu={type !== 'textbox'} />)}
      <div style={{ marginLeft: 'auto', display: 'flex', gap: 8 }}>
        {model.links.map(({ title }) => <Control key={title} label={title} text="" hasMenu />)}
        <Control label="Last" text={`${Math.round((context.range.to - context.range.from) / 60)} minutes`} hasMenu />
        <Control label="Refresh" text={model.refresh} hasMenu />
      </div>
    </div>
  );
}

function Row({ model, style }) {
  const theme = useTheme2();
  return (
    <div style={{ ...style, position: 'absolute', display: 'flex', alignItems: 'center', gap: 8, ...theme.typography.h6 }}>
      <Icon name={model.collapsed ? 'angle-right' : 'angle-down'} />
      {model.title}
    </div>
  );
}

export function Dashboard({ model, context }) {
  const theme = useTheme2();
  const width = window.innerWidth - 2 * PADDING;
  const bottom = Math.max(...model.panels.map(({ gridPos }) => box(gridPos, width)).map(({ top, height }) => top + height));
  return (
    <div style={{ minHeight: '100vh', background: theme.colors.background.canvas }}>
      <Bar isTop>{`Home › Dashboards › ${model.title}`}</Bar>
      <Bar>
        <span style={theme.typography.bodySmall}>{model.description}</span>
      </Bar>
      <Controls model={model} context={context} />
      <div style={{ position: 'relative', margin: `0 ${PADDING}px`, height: bottom + PADDING }}>
        {model.panels.map((panel) => {
          const place = box(panel.gridPos, width);
          const title = interpolateText(panel.title, context.variables);
          if (panel.type === 'row') return <Row key={panel.id} model={{ ...panel, title }} style={place} />;
          return <Panel key={panel.id} model={{ ...panel, title }} place={place} context={context} />;
        })}
      </div>
    </div>
  );
}
