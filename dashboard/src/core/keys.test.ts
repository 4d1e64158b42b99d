import { describe, expect, it } from 'vitest';
import { Keys } from './keys';

describe('Keys', () => {
  it('knows single keys and the views after g', () => {
    const keys = new Keys();
    expect(keys.press('/', 0)).toEqual({ do: 'search' });
    expect(keys.press('H', 0)).toEqual({ do: 'hold' });
    expect(keys.press('4', 0)).toEqual({ do: 'state', index: 3 });
    expect(keys.press('7', 0)).toBeNull();
    expect(keys.press('Enter', 0)).toBeNull();
    expect(keys.press('g', 0)).toBeNull();
    expect(keys.press('d', 500)).toEqual({ do: 'view', view: 'decisions' });
    expect(keys.press('g', 1_000)).toBeNull();
    expect(keys.press('c', 9_000)).toEqual({ do: 'copy' });
    expect(keys.press('g', 10_000)).toBeNull();
    expect(keys.press('t', 10_100)).toEqual({ do: 'view', view: 'traces' });
    expect(keys.press('t', 10_200)).toEqual({ do: 'theme' });
    expect(keys.press('d', 10_300)).toEqual({ do: 'time', move: 'right' });
    expect(keys.press('0', 10_400)).toEqual({ do: 'time', move: 'reset' });
    expect(keys.press('ArrowLeft', 10_500)).toEqual({ do: 'dock', what: 'back' });
    expect(keys.press(' ', 10_600)).toEqual({ do: 'dock', what: 'toggle' });
  });
});
