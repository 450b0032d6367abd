// One panel: asks for its data, notes what it found, and draws it.

import { Icon, PanelChrome, useTheme2 } from '@grafana/ui';
import { Component, useEffect, useState } from 'react';

import { KINDS } from './draw/kinds.jsx';
import { Message } from './draw/message.jsx';
import { interpolateText } from './interpolate.js';
import { load, timesOf } from './query.js';
import { reds } from './reds.js';

/** Whether there is something to see: a figure, or a row of a table that has only names. */
function hasData(frames, type) {
  if (type === 'table') return frames.some(({ length }) => length > 0);
  return frames.some(({ fields }) => fields.some((field) => field.type === 'number' && field.values.some(Number.isFinite)));
}

/** Notes what a component throws while it draws, and keeps it from taking the other panels along. */
class Guard extends Component {
  state = {};

  static getDerivedStateFromError(error) {
    return { error };
  }

  componentDidCatch(error) {
    this.props.onError(error);
  }

  render() {
    const { error } = this.state;
    return error ? <Message height={this.props.height}>{error.message}</Message> : this.props.children;
  }
}

/** The marks behind the title, as wide as Grafana's: they take the room that a long title needs. */
function Marks({ model }) {
  const theme = useTheme2();
  const style = { height: 24, padding: '0 4px', display: 'flex', alignItems: 'center', color: theme.colors.text.secondary };
  return (
    <>
      {model.timeFrom && <span style={style}><Icon name="clock-nine" size="sm" />{`Last ${model.timeFrom}`}</span>}
      {model.links?.length > 0 && <span style={style}><Icon name="external-link-alt" size="md" /></span>}
    </>
  );
}

const isOfLogs = ({ targets = [] }) => targets.some(({ datasource }) => datasource?.type === 'loki');

/** Finds a panel's data, and says what was found. */
async function prepare(model, width, context) {
  if (model.type === 'text') return { state: 'text' };
  if (isOfLogs(model)) return { state: 'logs' };
  if (!KINDS[model.type]) throw new Error(`panels of the kind ${model.type} are not drawn`);
  if (model.repeat) throw new Error('repeated panels are not drawn');
  const times = timesOf(model, width, context);
  const frames = await load(model, times, context);
  const state = hasData(frames, model.type) ? 'data' : 'empty';
  return { state, frames, times, reds: reds(model, frames, context.theme), series: frames.length };
}

function Body({ found, ...rest }) {
  const { model, height } = rest;
  switch (found.state) {
    case undefined:
      return null;
    case 'error':
      return <Message height={height}>{found.error}</Message>;
    case 'logs':
      return <Message height={height}>logs: Loki is not asked here</Message>;
    case 'text':
      return <Message height={height}>{model.options?.content}</Message>;
    default: {
      const { Draw, saysEmpty } = KINDS[model.type];
      if (found.state === 'empty' && !saysEmpty) return <Message height={height}>{model.fieldConfig.defaults.noValue ?? 'No data'}</Message>;
      return <Draw {...rest} frames={found.frames} times={found.times} />;
    }
  }
}

export function Panel({ model, place, context }) {
  const [found, setFound] = useState({});
  const { journal } = context;
  const fail = (error) => ({ state: 'error', error: error.message, reds: 0 });
  useEffect(() => {
    prepare(model, place.width, context).catch(fail).then((answer) => {
      setFound(answer);
      const { state, error, reds: count = 0, series = 0 } = answer;
      // After React has drawn it, and its drawing could have failed.
      setTimeout(() => journal.note(model.id, { state, error, reds: count, series }), 0);
    });
  }, []);
  return (
    <div data-panel={model.id} style={{ position: 'absolute', ...place }}>
      <PanelChrome
        title={model.title}
        description={interpolateText(model.description, context.variables)}
        width={place.width}
        height={place.height}
        titleItems={<Marks model={model} />}
      >
        {(width, height) => (
          <Guard height={height} onError={(error) => journal.note(model.id, fail(error))}>
            <Body model={model} found={found} width={width} height={height} context={context} />
          </Guard>
        )}
      </PanelChrome>
    </div>
  );
}
