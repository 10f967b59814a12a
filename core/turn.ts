/** Turns of the event loop. */

/** Resolves after the event loop has had a turn; microtasks alone would starve signal handlers. */
export function nextTurn(): Promise<void> {
  const { setImmediate } = globalThis as { setImmediate?: (run: () => void) => unknown };
  return new Promise((resolve) => {
    if (setImmediate !== undefined) return void setImmediate(resolve);
    // Browsers: a message costs microseconds, where nested timers cost milliseconds.
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}
