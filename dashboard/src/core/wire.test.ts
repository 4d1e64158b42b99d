import { describe, expect, it } from 'vitest';
import { wireActivity } from './sample';
import { activity, frame, page, STATES, time, webUrl } from './wire';

const event = (fields: object = {}) => ({
  event: 'started',
  log_id: '01J',
  seq: 812,
  at: '2026-11-22T10:00:00.000000001Z',
  activity: wireActivity(),
  ...fields,
});

describe('time', () => {
  const base = Date.UTC(2026, 10, 22, 10, 0, 0);
  it.each([
    ['2026-11-22T10:00:00.000000000Z', base],
    ['2026-11-22T10:00:00.250500000Z', base + 250.5],
    ['2026-11-22T10:00:00Z', base],
    ['2026-11-22T12:00:00.5+02:00', base + 500],
    ['2026-11-22', null],
    ['2026-11-22T10:00:00.x0Z', null],
    ['not a time at all....Z', null],
    ['2026-11-22T10:00:00.' + '0'.repeat(1000) + 'Z', null],
    [1, null],
    [null, null],
  ])('%s', (value, want) => expect(time(value)).toBe(want));

  it('keeps the order of times in one millisecond', () => {
    const a = time('2026-11-22T10:00:00.000100000Z') ?? 0;
    const b = time('2026-11-22T10:00:00.000101000Z') ?? 0;
    expect(b).toBeGreaterThan(a);
  });
});

describe('frame', () => {
  it('decodes a batch in order', () => {
    const { messages, malformed } = frame(
      JSON.stringify([
        { event: 'hello', log_id: '01J', seq: 9, now: '2026-11-22T10:00:00.000000000Z', lease_ms: 1000 },
        event({ event: 'active' }),
        { event: 'snapshot_end' },
        event(),
        { event: 'gap', from: 3, to: 8 },
      ]),
    );
    expect(malformed).toBe(0);
    expect(messages.map((m) => m.kind)).toEqual(['hello', 'change', 'snapshot_end', 'change', 'gap']);
    expect(messages[1]).toMatchObject({ snapshot: true });
    expect(messages[3]).toMatchObject({ snapshot: false, seq: 812, activity: { state: 'IN_PROGRESS' } });
    expect(messages[4]).toEqual({ kind: 'gap', from: 3, to: 8 });
  });

  it('takes one object a message too', () => {
    expect(frame(JSON.stringify(event())).messages).toHaveLength(1);
  });

  it.each([
    ['', 1],
    ['[', 1],
    ['null', 1],
    ['[1,"x",null,[],{}]', 5],
    ['[{"event":"started"}]', 1],
    [JSON.stringify([event({ activity: { activity_id: 'x' } })]), 1],
    [JSON.stringify([event({ activity: wireActivity({ state: 'SLEEPING' }) })]), 1],
    [JSON.stringify([event({ log_id: 7 })]), 1],
    [new ArrayBuffer(4), 1],
  ])('counts what makes no sense: %s', (data, malformed) => {
    expect(frame(data)).toEqual({ messages: [], malformed });
  });

  it('survives every truncation of a message', () => {
    const text = JSON.stringify([
      event(),
      event({ activity: wireActivity({ name: '\u202e\ud800\u0000<b>' }) }),
    ]);
    for (let end = 0; end < text.length; end++) {
      const { messages, malformed } = frame(text.slice(0, end));
      expect([messages.length, malformed]).toEqual([0, 1]);
    }
  });

  it('survives a field of any wrong type', () => {
    const wrong = [null, 0, -1, 1e308, true, '', 'x', [], [1], {}, { a: 1 }];
    for (const key of Object.keys(wireActivity())) {
      for (const value of wrong) {
        const { messages, malformed } = frame(
          JSON.stringify([event({ activity: wireActivity({ [key]: value }) })]),
        );
        expect(messages.length + malformed).toBe(1);
      }
    }
  });
});

describe('fuzz', () => {
  // A generator of its own, so that what fails once fails again: the seed stands in the failure.
  const generator = (seed: number) => () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t ^= t + Math.imul(t ^ (t >>> 7), 61 | t);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const strange = [
    '',
    '\u0000',
    '\ud800',
    '\u202e\u2066',
    '<img src=x onerror=alert(1)>',
    '__proto__',
    'constructor',
    '\u0065\u0301'.repeat(500),
    'x'.repeat(10_000),
    1e308,
    -1,
    0.1,
    Number.MAX_SAFE_INTEGER + 2,
    true,
    null,
    [],
    {},
    JSON.parse('{"__proto__":{"polluted":1}}') as object,
    [[[[[[1]]]]]],
  ];

  it('takes whatever becomes of a message, and makes nothing that the page does not know', () => {
    for (let seed = 1; seed <= 3_000; seed++) {
      const random = generator(seed);
      const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
      const spoil = (value: unknown, depth: number): unknown => {
        if (random() < 0.08) return pick(strange);
        if (depth > 8 || typeof value !== 'object' || value === null) return value;
        if (Array.isArray(value)) return value.map((v) => spoil(v, depth + 1));
        const out: Record<string, unknown> = {};
        for (const [key, v] of Object.entries(value)) {
          if (random() < 0.05) continue;
          out[random() < 0.03 ? String(pick(strange)) : key] = spoil(v, depth + 1);
        }
        return out;
      };
      let text = JSON.stringify(spoil([event(), event({ event: 'updated' })], 0));
      if (random() < 0.5) {
        const at = Math.floor(random() * text.length);
        text =
          text.slice(0, at) +
          pick(['', '"', '}', '\\', '\u0000', '9e999']) +
          text.slice(at + Math.floor(random() * 4));
      }
      const { messages, malformed } = frame(text);
      expect(malformed, `seed ${seed}`).toBeGreaterThanOrEqual(0);
      for (const message of messages) {
        if (message.kind !== 'change') continue;
        const { activity: a } = message;
        expect(STATES, `seed ${seed}`).toContain(a.state);
        expect(a.id.length, `seed ${seed}`).toBeLessThanOrEqual(100);
        expect(a.name.length, `seed ${seed}`).toBeLessThanOrEqual(301);
        for (const ms of [a.plannedAt, a.startedAt, a.endedAt, a.durationMs, a.progress]) {
          expect(ms === null || Number.isFinite(ms), `seed ${seed}`).toBe(true);
        }
        expect(a.traceUrl ?? 'https://', `seed ${seed}`).toMatch(/^https?:/i);
      }
    }
    expect(({} as { polluted?: number }).polluted).toBeUndefined();
  });
});

describe('activity', () => {
  it('bounds what strangers send', () => {
    const a = activity(
      wireActivity({
        name: 'x'.repeat(1_000_000),
        what_its_doing: 'y'.repeat(1_000_000),
        progress: 7,
        decision: { alternatives: Array.from({ length: 9_000 }, () => 'z'.repeat(9_000)), confidence: -3 },
      }),
    );
    expect(a?.name.length).toBe(301);
    expect(a?.doing?.length).toBe(4_001);
    expect(a?.progress).toBe(1);
    expect(a?.decision?.alternatives).toHaveLength(50);
    expect(a?.decision?.alternatives[0]?.length).toBe(301);
    expect(a?.decision?.confidence).toBe(0);
  });

  it('tells what it was told, of very many alike as of one', () => {
    const trace = '4bf92f3577b34da6a3ce929d0e0e4736';
    for (let n = 0; n < 200; n++) {
      const span = String(n).padStart(16, '0');
      const told = {
        type: n % 3 === 0 ? 'decision' : 'work_item',
        service: n % 5 === 0 ? null : `service ${n % 4}`,
        instance: `instance ${n % 7}`,
        agent: n % 2 === 0 ? null : `agent ${n % 40}`,
        lease: 'live',
      };
      const a = activity(
        wireActivity({
          ...told,
          activity_id: `${trace}-${span}`,
          thread_id: n % 6 === 0 ? null : `thread ${n % 9}`,
          thread_name: n % 4 === 0 ? '' : `Thread ${n % 11}`,
          trace_url: n % 8 === 0 ? null : `https://jaeger/trace/${trace}?uiFind=${span}`,
        }),
      );
      for (const [key, value] of Object.entries(told)) expect(a?.[key as keyof typeof told]).toBe(value);
      expect(a?.threadId).toBe(n % 6 === 0 ? null : `thread ${n % 9}`);
      expect(a?.threadName).toBe(n % 4 === 0 ? null : `Thread ${n % 11}`);
      expect(a?.traceUrl).toBe(n % 8 === 0 ? null : `https://jaeger/trace/${trace}?uiFind=${span}`);
    }
    expect(activity(wireActivity({ trace_url: 'https://jaeger/' }))?.traceUrl).toBe('https://jaeger/');
  });

  it('knows its times to the microsecond, planned or not', () => {
    const told = { started_at: '2026-11-22T10:00:00.123456Z', ended_at: '2026-11-22T10:20:00.999999Z' };
    for (const planned_at of ['2026-11-22T09:59:59.999999Z', null, '1969-12-31T23:59:59.250000Z']) {
      const a = activity(wireActivity({ ...told, planned_at }));
      const near = (ms: number | null | undefined, want: string, micros: number) =>
        expect(Math.abs((ms ?? NaN) - Date.parse(want) - micros / 1_000)).toBeLessThan(0.001);
      if (planned_at === null) expect(a?.plannedAt).toBeNull();
      else near(a?.plannedAt, `${planned_at.slice(0, 19)}Z`, Number(planned_at.slice(20, 26)));
      near(a?.startedAt, '2026-11-22T10:00:00Z', 123_456);
      near(a?.endedAt, '2026-11-22T10:20:00Z', 999_999);
    }
  });

  it.each([
    ['http://localhost:16686/trace/1', 'http://localhost:16686/trace/1'],
    ['https://jaeger.example/', 'https://jaeger.example/'],
    ['javascript:alert(1)', null],
    ['data:text/html,x', null],
    ['//elsewhere', null],
    [null, null],
  ])('links only to the web: %s', (value, want) => expect(webUrl(value)).toBe(want));
});

describe('page', () => {
  it('keeps the rows that make sense', () => {
    expect(
      page({
        activities: [wireActivity(), 1],
        total: 10_000,
        total_relation: 'gte',
        log_id: 'a',
        as_of_seq: 5,
      }),
    ).toMatchObject({
      activities: [{ name: 'Process order' }],
      total: 10_000,
      exact: false,
      asOf: 5,
      incomplete: false,
    });
    expect(page({ activities: [], incomplete: true })?.incomplete).toBe(true);
    expect(page({})).toBeNull();
    expect(page(null)).toBeNull();
  });
});
