/** The order of an event's handlers: phases, then wishes by name, then registration. */

import { PHASES } from "./callback.ts";
import { type HandlerOptions, namesIn } from "./filters.ts";

/** What decides the place of a handler. */
export interface Placed {
  /** How others call it. */
  readonly name: string;
  /** Index of its phase. */
  readonly rank: number;
  /** Grows with each handler that an engine is given. */
  readonly serial: number;
  /** The order that it asks for. */
  readonly options: HandlerOptions;
}

/**
 * Handlers in the order in which an event calls them.
 *
 * @param event for the error
 * @param entries in any order
 * @throws {Error} if wishes contradict each other or the phases
 */
export function arrange<E extends Placed>(event: string, entries: readonly E[]): E[] {
  const rest = entries.toSorted((a, b) => a.rank - b.rank || a.serial - b.serial);
  const placed: E[] = [];
  while (rest.length > 0) {
    // A phase is done before the next one begins, so only its own handlers may be next.
    const phase = rest.filter((entry) => entry.rank === rest[0].rank);
    const next = phase.find((entry) => !rest.some((other) => mustPrecede(other, entry)));
    if (next === undefined) throw new Error(contradiction(event, phase, rest));
    placed.push(next);
    rest.splice(rest.indexOf(next), 1);
  }
  return placed;
}

function mustPrecede(first: Placed, second: Placed): boolean {
  return first !== second && (namesIn(first.options.runBefore).includes(second.name) ||
    namesIn(second.options.runAfter).includes(first.name));
}

function contradiction(
  event: string,
  phase: readonly Placed[],
  rest: readonly Placed[],
): string {
  const waits = phase.map((entry) => {
    const others = rest.filter((other) => mustPrecede(other, entry));
    const found = others.map(({ name, rank }) => `"${name}" in ${PHASES[rank]}`).join(" and ");
    return `"${entry.name}" in ${PHASES[entry.rank]} waits for ${found}`;
  });
  return `Cannot order the handlers of ${event}: expected an order that fits phases, runBefore and ` +
    `runAfter, found that ${waits.join(", ")}`;
}
