import { describe, expect, it } from 'vitest';
import { SAVED_MAX, SavedViews, searchOf } from './saved';

function storage(text: string | null = null, first: { name: string; search: string }[] = []) {
  let n = 0;
  const box = { text, refuse: false };
  const views = () =>
    new SavedViews(
      () => ({
        getItem: () => {
          if (box.refuse) throw new Error('SecurityError');
          return box.text;
        },
        setItem: (_, value) => {
          if (box.refuse) throw new Error('QuotaExceededError');
          box.text = value;
        },
      }),
      () => `id${++n}`,
      first,
    );
  return { box, views };
}

describe('saved views', () => {
  it('keeps, renames and removes, and is there in the next page', () => {
    const { views } = storage();
    const one = views();
    expect(one.add('  Slow  ones ', '?view=feed&q=duration>1s&sel=00f067aa0ba902b7&theme=dark')).toBe(
      'saved',
    );
    expect(one.add('Failed', '?state=failed')).toBe('saved');
    expect(one.add(' ', '?state=failed')).toBe('unnamed');
    expect(views().list).toEqual([
      { id: 'id1', name: 'Slow ones', search: '?view=feed&q=duration%3E1s' },
      { id: 'id2', name: 'Failed', search: '?state=failed' },
    ]);
    expect(one.rename('id2', 'Broken')).toBe('saved');
    expect(one.rename('id2', '')).toBe('unnamed');
    expect(one.remove('id1')).toBe('saved');
    expect(views().list).toEqual([{ id: 'id2', name: 'Broken', search: '?state=failed' }]);
  });

  it('knows the view that an address shows', () => {
    const saved = storage().views();
    saved.add('Failed', '?state=failed&view=feed');
    expect(saved.at('?view=feed&state=failed&theme=light&sel=00f067aa0ba902b7')?.name).toBe('Failed');
    expect(saved.at('?view=feed')).toBeUndefined();
  });

  it('begins with what it is given, until the reader keeps another list', () => {
    const first = [{ name: 'Slow', search: '?q=duration>1s&view=feed' }];
    const began = [{ id: 'first-0', name: 'Slow', search: '?view=feed&q=duration%3E1s' }];
    const { box, views } = storage(null, first);
    expect(views().list).toEqual(began);
    views().remove('first-0');
    expect(views().list).toEqual([]);
    box.refuse = true;
    expect(views().list).toEqual(began);
  });

  it('is bounded', () => {
    const { views } = storage();
    const saved = views();
    for (let i = 0; i < SAVED_MAX; i++) expect(saved.add(`v${i}`, '')).toBe('saved');
    expect(saved.add('one more', '')).toBe('full');
    expect(views().list.length).toBe(SAVED_MAX);
  });

  it('lives without a storage', () => {
    const { box, views } = storage();
    box.refuse = true;
    const saved = views();
    expect(saved.add('Here', '?view=feed')).toBe('unstored');
    saved.reload();
    expect(saved.list.map((v) => v.name)).toEqual(['Here']);
  });

  it.each([
    '',
    '{',
    'null',
    '{"a":1}',
    '[1,null,"x",{}]',
    '[{"id":"","name":"x","search":""}]',
    '[{"id":"a","name":" ","search":""}]',
  ])('survives %j in the storage', (text) => {
    expect(storage(text).views().list).toEqual([]);
  });

  it('takes no address but its own kind', () => {
    expect(searchOf('?view=javascript:alert(1)&state=odd&x=<b>')).toBe('');
    const text = JSON.stringify([{ id: 'a', name: 'n', search: 'https://elsewhere/?view=feed' }]);
    expect(storage(text).views().list[0]?.search).toBe('');
  });
});
