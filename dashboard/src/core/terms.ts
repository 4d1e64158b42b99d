// The terms of one key in the search, as a menu reads and sets them.
import { tokens } from './filters';

export function valuesOf(q: string, key: string): string[] {
  return tokens(q)
    .filter((token) => token.key?.toLowerCase() === key && token.value !== '')
    .map((token) => token.value);
}

/** The search with one term in place of all of its key; an empty term leaves none. */
export function withTerm(q: string, key: string, term: string): string {
  const kept = tokens(q)
    .filter((token) => token.key?.toLowerCase() !== key)
    .map((token) => q.slice(token.start, token.end));
  return (term === '' ? kept : [...kept, term]).join(' ');
}
