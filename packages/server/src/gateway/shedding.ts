/** What waits to be sent to one connection. */
export interface Backlog {
  readonly backlog: number;
}

/**
 * Whom to let go so that at most `bound` bytes wait in all: those who are furthest behind, and no more of them than it
 * takes. Memory shared between queues counts for each.
 */
export function furthestBehind<T extends Backlog>(connections: Iterable<T>, bound: number): T[] {
  let total = 0;
  for (const { backlog } of connections) total += backlog;
  if (total <= bound) return [];
  const chosen: T[] = [];
  for (const connection of [...connections].sort((a, b) => b.backlog - a.backlog)) {
    if (total <= bound) break;
    total -= connection.backlog;
    chosen.push(connection);
  }
  return chosen;
}
