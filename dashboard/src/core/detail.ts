// The answer of /activity/activity/{id}: everything about one activity.
import {
  activity,
  count,
  isFields,
  isFinal,
  number,
  STATES,
  text,
  time,
  vary,
  type Activity,
  type Decision,
} from './wire';

export interface Step {
  at: number | null;
  event: string;
  changes: [string, string][];
  /** Of the changes, the attributes that it set. */
  attributes: [string, string][];
}

export interface Detail {
  activity: Activity;
  /** What the server added to the times of its process, whose clock is off; null when it is not. */
  clockShiftMs: number | null;
  attributes: [string, string][];
  result: string | null;
  resultTruncated: boolean;
  /** Ids of activities that it links to. */
  links: string[];
  ancestors: Activity[];
  children: Activity[];
  childCount: number;
  history: Step[];
  /** The earliest changes that are folded into the first of `history`. */
  historyMerged: number;
}

const VALUE_MAX = 16_000;
const LIST_MAX = 500;

/** Any JSON value as the text that the reader sees. */
export function show(value: unknown): string {
  const s = typeof value === 'string' ? value : (JSON.stringify(value, null, 2) ?? '');
  return s.length > VALUE_MAX ? s.slice(0, VALUE_MAX) + '…' : s;
}

function pairs(value: unknown): [string, string][] {
  if (!isFields(value)) return [];
  return Object.entries(value)
    .slice(0, LIST_MAX)
    .map(([key, v]) => [key, show(v)]);
}

// Attributes that say what a field of the activity says already.
const FIELDS = new Map<string, (a: Activity) => string | null>([
  ['thread.id', (a) => a.threadId],
  ['thread.name', (a) => a.threadName],
  ['error.type', (a) => a.error?.type ?? null],
  ['gen_ai.agent.name', (a) => a.agent],
]);

function says(a: Activity, [key, value]: [string, string]): boolean {
  return FIELDS.get(key)?.(a) === value;
}

/** Activities, or nodes of a tree that hold them. */
function activities(value: unknown): Activity[] {
  return Array.isArray(value)
    ? value
        .slice(0, LIST_MAX)
        .map((item: unknown) => activity(isFields(item) && 'activity' in item ? item.activity : item))
        .filter((a) => a !== null)
    : [];
}

export function detail(value: unknown): Detail | null {
  if (!isFields(value) || !isFields(value.activity)) return null;
  const own = activity(value.activity);
  if (own === null) return null;
  const history = Array.isArray(value.history) ? value.history : [];
  const { result } = value.activity;
  const links: unknown[] = Array.isArray(value.activity.links) ? value.activity.links : [];
  const children = activities(value.children);
  const resource = isFields(value.span) && isFields(value.span.resource) ? value.span.resource : {};
  return {
    activity: own,
    clockShiftMs: number(resource['midspan.clock.shift_ms']),
    attributes: pairs(value.activity.attributes)
      .filter((pair) => !says(own, pair))
      .sort((a, b) => (a[0] < b[0] ? -1 : 1)),
    result: result === null || result === undefined ? null : show(result),
    resultTruncated: value.activity.result_truncated === true,
    links: links
      .slice(0, LIST_MAX)
      .map((link) => (isFields(link) ? text(link.activity_id, 100) : null))
      .filter((id) => id !== null),
    ancestors: activities(value.ancestors),
    children,
    childCount: Math.max(children.length, count(value.child_count)),
    history: history
      .slice(-LIST_MAX)
      .filter(isFields)
      .map((h) => ({
        at: time(h.at),
        event: text(h.event, 40) ?? '',
        changes: pairs(h.changes),
        attributes: isFields(h.changes) ? pairs(h.changes.attributes) : [],
      })),
    historyMerged: count(value.history_merged),
  };
}

/** The versions before its end that its history tells of, each as of its step, ascending. */
export function versions({ activity: latest, history }: Detail): Activity[] {
  const out: Activity[] = [];
  let a = vary(latest, {
    state: 'PLANNED',
    stalled: false,
    doing: null,
    did: null,
    progress: null,
    startedAt: null,
    endedAt: null,
    waitMs: null,
    durationMs: null,
    decision: null,
    error: null,
  });
  for (const step of history) {
    if (step.at === null) continue;
    const state = STATES.find(
      (s) => s === (step.event === 'started' ? 'IN_PROGRESS' : step.event.toUpperCase()),
    );
    a = vary(a, { state: state ?? a.state, lastSeenAt: step.at });
    if (isFinal(a.state)) break;
    if (a.state === 'IN_PROGRESS') a = vary(a, { startedAt: latest.startedAt, waitMs: latest.waitMs });
    const told: Partial<Decision> = {};
    for (const [key, value] of step.changes) {
      if (key === 'name') a.name = value;
      else if (key === 'what_it_will_do') a.willDo = value;
      else if (key === 'what_its_doing') a.doing = value;
      else if (key === 'progress') a.progress = Number(value);
      else if (key === 'confidence') told.confidence = Number(value);
      else if (key === 'alternatives') told.alternatives = latest.decision?.alternatives ?? [];
      else if (key === 'reasoning' || key === 'choice' || key === 'outcome') told[key] = value;
    }
    if (Object.keys(told).length > 0) {
      const none = { reasoning: null, choice: null, alternatives: [], outcome: null, confidence: null };
      a.decision = { ...none, ...a.decision, ...told };
    }
    out.push(a);
  }
  return out;
}

/** A detail as it was at a moment: its relatives as `then` tells them, null for what had not begun. */
export function detailAt(d: Detail, at: number, then: (a: Activity) => Activity | null): Detail {
  const history = d.history.filter((step) => step.at !== null && step.at <= at);
  const ended = d.activity.endedAt !== null && d.activity.endedAt <= at;
  const attributes = new Map(history.flatMap((step) => step.attributes));
  const seen = (list: Activity[]) => list.map(then).filter((a) => a !== null);
  return {
    ...d,
    ancestors: seen(d.ancestors),
    children: seen(d.children),
    history,
    result: ended ? d.result : null,
    attributes: [...attributes]
      .filter((pair) => !says(d.activity, pair))
      .sort((a, b) => (a[0] < b[0] ? -1 : 1)),
  };
}

/** Whether it stood as planned before it began; one that began at once has the same time as planned. */
export function wasPlanned(a: Activity): boolean {
  return a.startedAt === null || a.waitMs !== null;
}
