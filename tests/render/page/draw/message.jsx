import { useTheme2 } from '@grafana/ui';

/** A text in the middle of a panel that has nothing else to show. */
export function Message({ height, children }) {
  const theme = useTheme2();
  const style = { height, display: 'flex', alignItems: 'center', justifyContent: 'center', textAlign: 'center', color: theme.colors.text.secondary };
  return <div style={style}>{children}</div>;
}
