// What the view in sight shows, as an address of /activity/export.
import type { Route } from './url';

export const FORMATS = ['json', 'ndjson', 'csv'] as const;
export type ExportFormat = (typeof FORMATS)[number];

/** `searched` are the parameters of the search and the chips. */
export function exportUrl(route: Route, searched: URLSearchParams, format: ExportFormat): string {
  // A trace is shown whole, whatever is searched for.
  const params = new URLSearchParams(route.view === 'trace' ? '' : searched);
  const only = (key: string, value: string) => {
    params.delete(key);
    params.append(key, value);
  };
  if (route.view === 'decisions') only('type', 'decision');
  if (route.view === 'completions') only('state', 'COMPLETED');
  if (route.view === 'failures') only('state', 'FAILED');
  if (route.view === 'trace' && route.trace !== null) only('trace', route.trace);
  params.append('format', format);
  return `/activity/export?${params}`;
}
