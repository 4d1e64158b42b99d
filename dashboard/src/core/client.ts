// Requests to the API. Nothing throws: an answer is a value or the reason why there is none.
export type Answer<T> = { ok: true; value: T } | { ok: false; status: number; detail: string | null };

const TIMEOUT = 10_000;

async function problem(response: Response): Promise<string | null> {
  try {
    const body: unknown = await response.json();
    if (typeof body !== 'object' || body === null) return null;
    const detail = 'detail' in body ? body.detail : 'title' in body ? body.title : null;
    return typeof detail === 'string' ? detail.slice(0, 500) : null;
  } catch {
    return null;
  }
}

export async function get<T>(path: string, decode: (body: unknown) => T | null): Promise<Answer<T>> {
  try {
    const response = await fetch(path, {
      headers: { Accept: 'application/json' },
      signal: AbortSignal.timeout(TIMEOUT),
    });
    if (!response.ok) return { ok: false, status: response.status, detail: await problem(response) };
    const value = decode(await response.json());
    return value === null ? { ok: false, status: 0, detail: null } : { ok: true, value };
  } catch {
    return { ok: false, status: 0, detail: null };
  }
}

/** Exchanges a token for the session's cookie. */
export async function signIn(token: string): Promise<{ status: number; detail: string | null }> {
  try {
    const response = await fetch('/session', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ token }),
      signal: AbortSignal.timeout(TIMEOUT),
    });
    return { status: response.status, detail: response.ok ? null : await problem(response) };
  } catch {
    return { status: 0, detail: null };
  }
}
