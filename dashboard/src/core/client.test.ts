import { afterEach, expect, it, vi } from 'vitest';
import { get, signIn } from './client';

const answer = (make: () => Response | Promise<Response>) => {
  const fetched = vi.fn<(path: string, init: RequestInit) => Promise<Response>>(async () => make());
  vi.stubGlobal('fetch', fetched);
  return fetched;
};
afterEach(() => vi.unstubAllGlobals());

const name = (body: unknown) =>
  typeof body === 'object' && body !== null && 'name' in body ? String(body.name) : null;

it('gives what an answer decodes to', async () => {
  const fetched = answer(() => Response.json({ name: 'x' }));
  expect(await get('/activity/all?limit=1', name)).toEqual({ ok: true, value: 'x' });
  const [path, init] = fetched.mock.calls[0] ?? [];
  expect(path).toBe('/activity/all?limit=1');
  expect(init?.headers).toEqual({ Accept: 'application/json' });
  expect(init?.signal).toBeInstanceOf(AbortSignal);
});

it.each([
  ['what does not decode', () => Response.json({}), 0, null],
  ['what is no JSON', () => new Response('<html>'), 0, null],
  ['a connection that breaks', () => Promise.reject(new TypeError('failed to fetch')), 0, null],
  ['a refusal with its reason', () => Response.json({ detail: 'no' }, { status: 400 }), 400, 'no'],
  ['a refusal with a title', () => Response.json({ title: 'Bad' }, { status: 404 }), 404, 'Bad'],
  ['a reason that is no text', () => Response.json({ detail: 7 }, { status: 500 }), 500, null],
  ['a refusal without JSON', () => new Response('gateway', { status: 502 }), 502, null],
  ['a refusal that is no object', () => Response.json(null, { status: 503 }), 503, null],
])('tells %s', async (_what, make, status, detail) => {
  answer(make);
  expect(await get('/x', name)).toEqual({ ok: false, status, detail });
});

it('cuts a reason that is too long', async () => {
  answer(() => Response.json({ detail: 'x'.repeat(10_000) }, { status: 400 }));
  expect(await get('/x', name)).toMatchObject({ detail: 'x'.repeat(500) });
});

it('signs in by the body, never the address', async () => {
  const fetched = answer(() => new Response(null, { status: 204 }));
  expect(await signIn('secret')).toEqual({ status: 204, detail: null });
  expect(fetched.mock.calls[0]?.[0]).toBe('/session');
  expect(fetched.mock.calls[0]?.[1]).toMatchObject({ method: 'POST', body: '{"token":"secret"}' });
});

it.each([
  ['a wrong token', () => Response.json({ title: 'Unauthorized' }, { status: 401 }), 401, 'Unauthorized'],
  ['a token of another scope', () => Response.json({ detail: 'read' }, { status: 403 }), 403, 'read'],
  ['a server that is away', () => Promise.reject(new TypeError('failed')), 0, null],
])('tells of %s', async (_what, make, status, detail) => {
  answer(make);
  expect(await signIn('x')).toEqual({ status, detail });
});
