// What the view in sight shows, as an address of /activity/export.
import type { Route } from './url';

export const FORMATS = ['json', 'ndjson', 'csv'] as const;
export type ExportFormat = (typeof FORMATS)[number];

/** What the view shows, as parameters of the API; `searched` are those of the search and the chips. */
export function shown(route: Pick<Route, 'view' | 'trace'>, searched: URLSearchParams): URLSearchParams {
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
  return params;
}

export function exportUrl(route: Route, searched: URLSearchParams, format: ExportFormat): string {
  const params = shown(route, searched);
  params.append('format', format);
  return `/activity/export?${params}`;
}
