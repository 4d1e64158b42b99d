import type { Kind } from '../core/attention';
import type { State } from '../core/wire';

/** Whose silhouette and colour a trouble has. */
export const STATE_OF: Record<Kind, State> = {
  failed: 'FAILED',
  lost: 'LOST',
  stalled: 'LOST',
  slow: 'IN_PROGRESS',
};
