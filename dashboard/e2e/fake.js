// A server made of intercepted requests, for what a healthy one does not do: hostile data, silence, refusals.

const LOG = '01FAKE';

export function activity(n, fields = {}) {
  const id = n.toString(16).padStart(16, '0');
  const now = new Date().toISOString();
  return {
    activity_id: `${'a'.repeat(32)}-${id}`,
    type: 'work_item',
    state: 'IN_PROGRESS',
    name: `work ${n}`,
    planned_at: now,
    started_at: now,
    ...fields,
  };
}

export class Fake {
  log = LOG;
  seq = 0;
  status = 200;
  service = 'midspan';
  activities = [];
  connections = [];
  sockets = new Set();
  tokens = [];
  /** The server can't read a part of its history. */
  incomplete = false;
  /** How many activities a page of /activity/all has at the most. */
  page = Infinity;
  /** The questions asked of /activity/tree. */
  trees = [];

  async install(page) {
    await page.route('**/activity/**', (route) => {
      if (this.status !== 200) return this.refuse(route);
      const { pathname } = new URL(route.request().url());
      if (pathname.endsWith('/stats'))
        return route.fulfill({ json: this.stats(new URL(route.request().url()).searchParams) });
      if (pathname.includes('/activity/activity/')) {
        const found = this.activities.find((a) => pathname.endsWith(a.activity_id));
        return route.fulfill({ json: { activity: found, ancestors: [], children: [], history: [] } });
      }
      if (pathname.endsWith('/tree')) {
        return route.fulfill({ json: this.tree(new URL(route.request().url()).searchParams) });
      }
      const params = new URL(route.request().url()).searchParams;
      const states = params.getAll('state');
      const found = this.activities.filter(
        (a) => a.name.includes(params.get('q') ?? '') && (states.length === 0 || states.includes(a.state)),
      );
      const from = Number(params.get('cursor') ?? 0);
      const activities = found.slice(from, from + this.page);
      const next_cursor = from + this.page < found.length ? String(from + this.page) : null;
      const { incomplete } = this;
      const json = { activities, total: found.length, total_relation: 'eq', next_cursor, incomplete };
      return route.fulfill({ json: { ...json, log_id: this.log, as_of_seq: this.seq } });
    });
    await page.route('**/healthz', (route) =>
      route.fulfill({ json: { status: 'ok', version: '1', service: this.service, jaeger_url: null } }),
    );
    await page.route('**/session', (route) => {
      const { token } = route.request().postDataJSON();
      this.tokens.push(token);
      if (token === 'narrow') {
        return route.fulfill({
          status: 403,
          json: { title: 'Forbidden', detail: 'it needs the scope <b>read</b>' },
        });
      }
      if (token !== 'right') return route.fulfill({ status: 401, json: { title: 'Unauthorized' } });
      this.status = 200;
      return route.fulfill({ status: 204 });
    });
    await page.routeWebSocket(/\/activity\/stream/, (socket) => {
      this.connections.push(new URL(socket.url()).searchParams);
      if (this.status !== 200) return void socket.close({ code: 4000 });
      this.sockets.add(socket);
      socket.onClose(() => this.sockets.delete(socket));
      const hello = { event: 'hello', log_id: this.log, seq: this.seq, now: new Date().toISOString() };
      socket.send(JSON.stringify([hello, { event: 'snapshot_end' }]));
    });
  }

  /** As the API answers it: by trace, state or root, as deep as asked; a parent that is not held is a placeholder. */
  tree(params) {
    this.trees.push(params.toString());
    const byId = new Map(this.activities.map((a) => [a.activity_id, a]));
    const traces = params.getAll('trace');
    const states = params.getAll('state');
    const picked = new Set();
    for (const a of this.activities) {
      if (traces.length > 0 && !traces.some((trace) => a.activity_id.startsWith(trace))) continue;
      if (states.length > 0 && !states.includes(a.state)) continue;
      for (let id = a.activity_id; id && !picked.has(id); id = byId.get(id)?.parent_id) picked.add(id);
    }
    const children = (id) =>
      [...picked].filter((other) => (byId.get(other)?.parent_id ?? null) === id && other !== id);
    const node = (id, depth) => ({
      activity: byId.get(id) ?? null,
      activity_id: id,
      placeholder: !byId.has(id),
      child_count: children(id).length,
      children: depth > 0 ? children(id).map((child) => node(child, depth - 1)) : [],
    });
    const root = params.get('root');
    const roots = (root === null ? children(null) : [root]).map((id) =>
      node(id, Number(params.get('depth') ?? 16)),
    );
    return { roots, root_count: roots.length, truncated: false, log_id: this.log, as_of_seq: this.seq };
  }

  refuse(route) {
    return route.fulfill({ status: this.status, json: { title: 'no' } });
  }

  send(fields, event = 'started') {
    this.seq++;
    this.activities.unshift(fields);
    this.raw([{ event, log_id: this.log, seq: this.seq, at: new Date().toISOString(), activity: fields }]);
  }

  raw(message) {
    const text = typeof message === 'string' ? message : JSON.stringify(message);
    for (const socket of this.sockets) socket.send(text);
  }

  cut(code = 4000) {
    for (const socket of this.sockets) void socket.close({ code });
    this.sockets.clear();
  }

  /** What `statistics` says instead of counts of what is held. */
  statistics = () => ({});

  stats(params) {
    const n = this.activities.length;
    return {
      log_id: this.log,
      as_of_seq: this.seq,
      now: new Date().toISOString(),
      total: n,
      active: n,
      in_progress: n,
      ...this.statistics(params),
    };
  }
}
