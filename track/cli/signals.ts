/** Being asked to stop. */

/** Waits for signals that ask the program to end. */
export interface Stopping extends Disposable {
  /** Fulfilled at the first signal. */
  readonly first: Promise<void>;
  /** Fulfilled at the second. */
  readonly second: Promise<void>;
}

/** Takes the signals until it is disposed; from then on they end the program as usual. */
export function whenStopped(): Stopping {
  const [first, second] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  let count = 0;
  const listen = () => (++count === 1 ? first : second).resolve();
  const signals: Deno.Signal[] = Deno.build.os === "windows"
    ? ["SIGINT", "SIGBREAK"]
    : ["SIGINT", "SIGTERM", "SIGHUP"];
  for (const signal of signals) Deno.addSignalListener(signal, listen);
  return {
    first: first.promise,
    second: second.promise,
    [Symbol.dispose](): void {
      for (const signal of signals) Deno.removeSignalListener(signal, listen);
    },
  };
}
