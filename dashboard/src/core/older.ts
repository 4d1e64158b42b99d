// What a list of the server holds beyond what the page has asked for: the newest come first, the rest as the reader
// gets there.
import { get } from './client';
import { page, type Activity, type Page } from './wire';

export class Older {
  /** From here on the page holds all that the list has. */
  since = Infinity;
  private next: string | null = null;
  private loading = false;

  constructor(
    /** The list's address and its parameters, the newest first. */
    private readonly path: string,
    /** What it is sorted by. */
    private readonly timeOf: (a: Activity) => number | null,
  ) {}

  /** The newest page, or the one after what was held. */
  reached({ activities, next }: Page): void {
    const last = activities.at(-1);
    this.next = next;
    if (next === null) this.since = -Infinity;
    else if (last !== undefined) this.since = this.timeOf(last) ?? this.since;
  }

  /** Loads so many pages, or less when they reach back to `until`; `take` refuses what is of another log. */
  async load(take: (page: Page) => boolean, until = -Infinity, pages = 1): Promise<void> {
    if (this.loading) return;
    this.loading = true;
    for (let n = 0; n < pages && this.next !== null && this.since > until; n++) {
      const answer = await get(`${this.path}&limit=1000&cursor=${encodeURIComponent(this.next)}`, page);
      if (!answer.ok || !take(answer.value)) break;
      this.reached(answer.value);
    }
    this.loading = false;
  }
}
