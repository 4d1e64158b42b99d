import { describe, expect, it } from 'vitest';
import { Herald } from './notify';

const news = (key: string) => ({ key, text: key, id: key });

describe('Herald', () => {
  it('tells at once, then not again for ten seconds, then all in one', () => {
    const herald = new Herald();
    expect(herald.take(0)).toBeNull();
    herald.add(news('a'));
    expect(herald.take(0)).toEqual({ latest: news('a'), count: 1 });
    herald.add(news('b'));
    herald.add(news('c'));
    expect(herald.take(9_999)).toBeNull();
    expect(herald.take(10_000)).toEqual({ latest: news('c'), count: 2 });
    expect(herald.take(60_000)).toBeNull();
  });

  it('never tells more than one in ten seconds', () => {
    const herald = new Herald();
    const told: number[] = [];
    for (let at = 0; at < 60_000; at += 50) {
      herald.add(news('x'));
      if (herald.take(at) !== null) told.push(at);
    }
    expect(told).toEqual([0, 10_000, 20_000, 30_000, 40_000, 50_000]);
  });

  it('tells a lasting trouble once, and again when it came back', () => {
    const herald = new Herald();
    herald.lasting([news('old')], true);
    expect(herald.take(0)).toBeNull();
    herald.lasting([news('old'), news('new')], false);
    expect(herald.take(0)).toEqual({ latest: news('new'), count: 1 });
    herald.lasting([news('old'), news('new')], false);
    expect(herald.take(20_000)).toBeNull();
    herald.lasting([], false);
    herald.lasting([news('old')], false);
    expect(herald.take(20_000)).toEqual({ latest: news('old'), count: 1 });
  });

  it('forgets what the reader has seen', () => {
    const herald = new Herald();
    herald.add(news('a'));
    herald.forget();
    expect(herald.take(0)).toBeNull();
  });
});
