// Views that the reader keeps in this browser: names of addresses.
import { isFields } from './wire';
import { read, write } from './url';

export interface Saved {
  id: string;
  name: string;
  /** The address's search part; what it opens beside the view (drawer, theme) is not kept. */
  search: string;
}

export const SAVED_MAX = 30;
const NAME_MAX = 60;
const KEY = 'midspan.views';

export function searchOf(address: string): string {
  return write({ ...read(address), sel: null, theme: null });
}

function tidy(name: string): string {
  return name.trim().replace(/\s+/g, ' ').slice(0, NAME_MAX);
}

/** Whatever stands in the storage: another version's, another program's, half of it. */
function decode(text: string): Saved[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return [];
  }
  const list: Saved[] = [];
  for (const item of Array.isArray(value) ? value.slice(0, SAVED_MAX) : []) {
    if (!isFields(item) || typeof item.name !== 'string' || typeof item.search !== 'string') continue;
    const name = tidy(item.name);
    const id = typeof item.id === 'string' ? item.id.slice(0, 40) : '';
    if (name === '' || id === '' || list.some((v) => v.id === id)) continue;
    list.push({ id, name, search: searchOf(item.search) });
  }
  return list;
}

export type Outcome = 'saved' | 'full' | 'unnamed' | 'unstored';

export class SavedViews {
  list: readonly Saved[];

  /** A storage may be missing, full or forbidden: then the views last as long as the page. */
  constructor(
    private readonly storage: () => Pick<Storage, 'getItem' | 'setItem'>,
    private readonly id: () => string,
    /** What a browser begins with that has never kept any; each can be renamed and deleted. */
    private readonly first: readonly Omit<Saved, 'id'>[] = [],
  ) {
    this.list = this.begin();
    this.reload();
  }

  reload(): void {
    try {
      const text = this.storage().getItem(KEY);
      this.list = text === null ? this.begin() : decode(text);
    } catch {
      // What is there stays.
    }
  }

  private begin(): Saved[] {
    return this.first.map(({ name, search }, i) => ({ id: `first-${i}`, name, search: searchOf(search) }));
  }

  add(name: string, address: string): Outcome {
    const tidied = tidy(name);
    if (tidied === '') return 'unnamed';
    if (this.list.length >= SAVED_MAX) return 'full';
    return this.keep([...this.list, { id: this.id(), name: tidied, search: searchOf(address) }]);
  }

  rename(id: string, name: string): Outcome {
    const tidied = tidy(name);
    if (tidied === '') return 'unnamed';
    return this.keep(this.list.map((view) => (view.id === id ? { ...view, name: tidied } : view)));
  }

  remove(id: string): Outcome {
    return this.keep(this.list.filter((view) => view.id !== id));
  }

  /** The saved view that this address shows. */
  at(address: string): Saved | undefined {
    const search = searchOf(address);
    return this.list.find((view) => view.search === search);
  }

  private keep(list: Saved[]): Outcome {
    this.list = list;
    try {
      this.storage().setItem(KEY, JSON.stringify(list));
      return 'saved';
    } catch {
      return 'unstored';
    }
  }
}
