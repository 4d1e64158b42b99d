// The search within one trace: its matches as the trace goes on, and the one that is shown.
import { app } from '../app.svelte';
import { compile, parse } from '../core/filters';
import { beside, find } from '../core/find';
import type { Tree } from '../core/tree';
import type { State } from '../core/wire';
import type { Source } from './source.svelte';

const NO_STATES: ReadonlySet<State> = new Set();
const NO_IDS: ReadonlySet<string> = new Set();
/** A trace that changes all the time is not searched at each change. */
const AGAIN_MS = 500;

interface Found {
  text: string;
  tree: Tree;
  version: number;
  at: number;
  list: string[];
  set: ReadonlySet<string>;
}

export class Find {
  text = $state('');
  /** The match that is shown. */
  id = $state<string | null>(null);
  private last: Found | null = null;

  constructor(private readonly source: Source) {}

  readonly found = $derived.by(() => {
    void app.beat;
    return this.search(this.text.trim());
  });
  readonly place = $derived(this.id === null ? 0 : (this.found?.list.indexOf(this.id) ?? -1) + 1);

  private search(text: string): Found | null {
    const { last, source } = this;
    const test = compile(NO_STATES, parse(text), NO_IDS);
    if (test === null) return null;
    const { tree } = source;
    const at = performance.now();
    if (last !== null && last.text === text && last.tree === tree) {
      if (last.version === tree.version || at - last.at < AGAIN_MS) return last;
    }
    const list = find(tree, test);
    // eslint-disable-next-line svelte/prefer-svelte-reactivity -- made anew for each answer, never changed
    this.last = { text, tree, version: tree.version, at, list, set: new Set(list) };
    return this.last;
  }

  /** Goes to the next match or the one before, and answers it. */
  step(by: 1 | -1): string | null {
    this.id = this.found === null ? null : beside(this.found.list, this.id, by);
    return this.id;
  }
}
