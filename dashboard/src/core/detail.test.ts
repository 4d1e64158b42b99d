import { describe, expect, it } from 'vitest';
import { detail, detailAt, versions, wasPlanned } from './detail';
import { change, wireActivity } from './sample';

describe('detail', () => {
  it('shows any value as text', () => {
    const d = detail({
      activity: wireActivity({ attributes: { b: { x: 1 }, a: '<script>' }, result: [1] }),
      ancestors: [{ activity: wireActivity(), child_count: 1, children: [] }, { activity: null }, null],
      children: [wireActivity()],
      history: [{ seq: 1, at: '2026-11-22T10:00:00Z', event: 'started', changes: { progress: 0.5 } }, 3],
    });
    expect(d?.attributes.map(([key]) => key)).toEqual(['a', 'b']);
    expect(d?.result).toBe('[\n  1\n]');
    expect(d?.ancestors).toHaveLength(1);
    expect(d?.children).toHaveLength(1);
    expect(detail({ activity: wireActivity(), children: 'none' })?.children).toEqual([]);
    expect(d?.history).toMatchObject([{ event: 'started', changes: [['progress', '0.5']] }]);
    expect(detail({})).toBeNull();
  });

  it('takes the ancestors from their nodes, the children as they are', () => {
    const node = { activity: wireActivity({ activity_id: 'up' }), activity_id: 'up', child_count: 3 };
    const d = detail({
      activity: wireActivity({ links: [{ activity_id: 'x' }, { activity_id: 5 }, null] }),
      ancestors: [node, { activity: null, activity_id: 'unseen', placeholder: true }],
      children: [wireActivity({ activity_id: 'down' })],
      child_count: 7,
      history: [],
      history_merged: 2,
    });
    expect(d?.ancestors.map((a) => a.id)).toEqual(['up']);
    expect(d?.children.map((a) => a.id)).toEqual(['down']);
    expect(d).toMatchObject({ childCount: 7, historyMerged: 2, links: ['x'] });
  });

  it('knows how its process’s times were shifted', () => {
    const of = (resource: unknown) => detail({ activity: wireActivity(), span: { resource } })?.clockShiftMs;
    expect(of({ 'midspan.clock.shift_ms': -3_600_000 })).toBe(-3_600_000);
    expect(of({ 'midspan.clock.shift_ms': 'x' })).toBeNull();
    expect(of({})).toBeNull();
    expect(of(null)).toBeNull();
  });

  it('leaves out attributes that a field says already, and no other', () => {
    const attributes = JSON.parse(
      '{"thread.name":"worker 3","thread.id":"another","error.type":"429","__proto__":"x","constructor":"y"}',
    ) as unknown;
    const d = detail({ activity: wireActivity({ attributes, error: { type: '429' } }) });
    expect(d?.attributes.map(([key]) => key)).toEqual(['__proto__', 'constructor', 'thread.id']);
  });

  it('knows what was planned before it began', () => {
    const of = (fields: object) => wasPlanned(change(1, 'a', 0, { ...fields }).activity);
    expect(of({ wait_ms: 1.5 })).toBe(true);
    expect(of({ wait_ms: null })).toBe(false);
    expect(of({ wait_ms: null, started_at: null, state: 'CANCELLED' })).toBe(true);
  });

  it('tells from the history what it was before its end', () => {
    const at = (second: number) => `2026-11-22T10:00:0${second}Z`;
    const ms = (second: number) => Date.parse(at(second));
    const d = detail({
      activity: wireActivity({
        type: 'decision',
        state: 'COMPLETED',
        planned_at: at(0),
        started_at: at(1),
        ended_at: at(4),
        what_it_did: 'Chose',
        decision: { choice: 'canary', alternatives: ['canary', 'all'], confidence: 0.8 },
        attributes: { early: 1, late: 2 },
        result: 'fine',
      }),
      children: [wireActivity({ name: 'first' }), wireActivity({ name: 'later' })],
      history: [
        { at: at(0), event: 'planned', changes: { name: 'Choose', what_it_will_do: 'Choose well' } },
        { at: at(1), event: 'started', changes: { attributes: { early: 1 } } },
        { at: at(2), event: 'updated', changes: { what_its_doing: 'Looking', progress: 0.5 } },
        {
          at: at(3),
          event: 'updated',
          changes: { choice: 'canary', confidence: 0.8, attributes: { late: 2 } },
        },
        { at: at(4), event: 'completed', changes: { what_it_did: 'Chose' } },
      ],
    });
    if (d === null) throw new Error('the detail does not decode');
    expect(versions(d)).toMatchObject([
      {
        state: 'PLANNED',
        name: 'Choose',
        willDo: 'Choose well',
        startedAt: null,
        lastSeenAt: ms(0),
        did: null,
      },
      { state: 'IN_PROGRESS', startedAt: ms(1), lastSeenAt: ms(1), doing: null, decision: null },
      { state: 'IN_PROGRESS', lastSeenAt: ms(2), doing: 'Looking', progress: 0.5, decision: null },
      { lastSeenAt: ms(3), doing: 'Looking', decision: { choice: 'canary', confidence: 0.8, outcome: null } },
    ]);
    const then = detailAt(d, ms(2), (a) => (a.name === 'later' ? null : a));
    expect(then.history).toHaveLength(3);
    expect(then.attributes).toEqual([['early', '1']]);
    expect(then.result).toBeNull();
    expect(then.children.map((a) => a.name)).toEqual(['first']);
    expect(detailAt(d, ms(4), () => null).result).toBe('fine');
  });
});
