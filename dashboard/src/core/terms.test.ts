import { describe, expect, it } from 'vitest';
import { valuesOf, withTerm } from './terms';

describe('terms', () => {
  it.each([
    ['', 'agent', []],
    ['disk full', 'agent', []],
    ['agent:atlas disk', 'agent', ['atlas']],
    ['Agent:atlas agent:"harbor master" thread:t1', 'agent', ['atlas', 'harbor master']],
    ['agent: attr.agent:x', 'agent', []],
  ])('of %s', (q, key, want) => expect(valuesOf(q, key)).toEqual(want));

  it.each([
    ['', 'agent:atlas', 'agent:atlas'],
    ['disk "no space"', 'agent:atlas', 'disk "no space" agent:atlas'],
    ['agent:gale disk agent:"harbor master"', 'agent:atlas', 'disk agent:atlas'],
    ['agent:gale thread:t1 duration>1s', '', 'thread:t1 duration>1s'],
    ['AGENT:gale', '', ''],
  ])('%s with %s', (q, term, want) => expect(withTerm(q, 'agent', term)).toBe(want));
});
