// When to disturb the reader: at most once in ten seconds, with all that came since in one message.
export interface News {
  /** Trouble that is told once, as long as it lasts. */
  key: string;
  text: string;
  /** The activity to open. */
  id: string;
}

export interface Message {
  latest: News;
  count: number;
}

const APART_MS = 10_000;

export class Herald {
  private latest: News | null = null;
  private count = 0;
  private toldAt = -Infinity;
  private told = new Set<string>();

  add(news: News): void {
    this.count++;
    this.latest = news;
  }

  /** Takes the troubles there are now: those that are new are news. The first call only learns them. */
  lasting(all: readonly News[], first: boolean): void {
    const now = new Set<string>();
    for (const news of all) {
      now.add(news.key);
      if (!first && !this.told.has(news.key)) this.add(news);
    }
    this.told = now;
  }

  /** What is to be told at this time, if anything; it counts as told. */
  take(at: number): Message | null {
    const { latest, count } = this;
    if (latest === null || at - this.toldAt < APART_MS) return null;
    this.toldAt = at;
    this.forget();
    return { latest, count };
  }

  /** The reader has seen for themselves. */
  forget(): void {
    this.latest = null;
    this.count = 0;
  }
}
