// What the head of a trace says.
import { app, f } from '../app.svelte';
import type { Summary } from '../core/tree';
import { isFinal, type Activity, type State } from '../core/wire';
import { one, t } from '../text';
import { s } from '../text.trace';
import type { Source } from './source.svelte';

/** Its first root that has been seen, else the topmost activity. */
export function rootOf(source: Source): Activity | null {
  const { roots } = source.tree;
  const seen = roots.find((root) => root.a !== null)?.a;
  if (seen !== undefined && seen !== null) return seen;
  return roots[0]?.children.find((child) => child.a !== null)?.a ?? null;
}

/** A trace is in progress as long as anything of it is open, whatever its root says. */
export function stateOf(source: Source): State {
  const root = rootOf(source);
  if (source.summary().open === 0) return root?.state ?? 'COMPLETED';
  return root !== null && !isFinal(root.state) ? root.state : 'IN_PROGRESS';
}

export function described(
  source: Source,
  zoomed: boolean,
  brief = false,
): { title: string; sub: string; summary: Summary } {
  const summary = source.summary();
  const root = rootOf(source);
  const parts = [source.id.slice(0, 8)];
  parts.push(s.activities(f.integer(summary.activities), one(summary.activities)));
  if (summary.agents > 0 && !brief) parts.push(s.agents(f.integer(summary.agents), one(summary.agents)));
  if (summary.failures > 0) parts.push(s.failedCount(f.integer(summary.failures)));
  const { startedAt, lastAt } = summary;
  if (summary.open > 0) {
    parts.push(s.openCount(f.integer(summary.open)));
    parts.push(zoomed ? s.zoomed : s.following);
  } else if (startedAt !== null && lastAt !== null) {
    parts.push(s.took(f.duration(lastAt - startedAt)));
    if (zoomed) parts.push(s.zoomed);
  }
  return { title: root?.name ?? t.views.trace, sub: parts.join(' · '), summary };
}

export function jaegerOf(source: Source): string | null {
  return rootOf(source)?.traceUrl ?? source.tree.url;
}

/** What is not shown of it. */
export function note(source: Source): string | null {
  const shown = f.integer(source.summary().activities);
  if (source.problem && app.link.phase === 'live') return s.failed;
  if (source.tree.dropped > 0) return s.dropped(shown, f.integer(source.tree.dropped));
  if (source.coming) return s.coming(shown);
  return source.truncated ? s.cut(shown) : null;
}
