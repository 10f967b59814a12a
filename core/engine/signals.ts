/** Signals of the operating system, where the platform tells programs of them. */

/** A signal that can end a loop. */
export type SignalName =
  | "SIGINT"
  | "SIGTERM"
  | "SIGHUP"
  | "SIGQUIT"
  | "SIGBREAK"
  | "SIGUSR1"
  | "SIGUSR2";

const NAMES: readonly SignalName[] = [
  ...["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGBREAK", "SIGUSR1", "SIGUSR2"] as const,
];

interface SignalHost {
  readonly build?: { readonly os?: string };
  addSignalListener(signal: string, listener: () => void): void;
  removeSignalListener(signal: string, listener: () => void): void;
}

/** Loops that a signal has told to end and that have not returned yet. */
let ending = 0;

/** Throws unless the option is a switch or a list of signals. */
export function checkSignals(signals: boolean | readonly SignalName[]): void {
  const fits = typeof signals === "boolean" || Array.isArray(signals) &&
      signals.every((signal) => NAMES.includes(signal));
  if (fits) return;
  throw new TypeError(
    `Cannot loop: expected signals to be true, false or a list of ${NAMES.join(", ")}, found ${
      JSON.stringify(signals)
    }`,
  );
}

/**
 * Listens until the first signal or until disposed, whichever comes first. The second signal then
 * does what it does to a program that does not listen: it ends the process.
 *
 * @param signals which; true: SIGINT and SIGTERM as far as the platform has them; false: none
 * @param interrupt told of the first signal
 * @throws {Error} if signals are named and the platform cannot listen to them
 */
export function listenToSignals(
  signals: boolean | readonly SignalName[],
  interrupt: (signal: SignalName) => void,
): Disposable {
  const host = signalHost();
  const names = signals === true ? usual(host) : signals === false ? [] : signals;
  const listeners: [SignalName, () => void][] = [];
  let told = false;
  const remove = () => {
    for (const [name, listener] of listeners.splice(0)) host?.removeSignalListener(name, listener);
  };
  const hear = (signal: SignalName) => {
    remove();
    if (told) return;
    told = true;
    ending++;
    interrupt(signal);
  };
  // What a loop starts while it ends must not take the second signal.
  for (const name of ending > 0 ? [] : names) {
    const listener = () => hear(name);
    try {
      if (host === undefined) throw new TypeError("Deno.addSignalListener is not there");
      host.addSignalListener(name, listener);
      listeners.push([name, listener]);
    } catch (cause) {
      if (signals === true) continue;
      remove();
      throw new Error(`Cannot listen to ${name}: expected a platform that tells of it`, { cause });
    }
  }
  return {
    [Symbol.dispose](): void {
      remove();
      if (told) ending--;
      told = false;
    },
  };
}

/** The signals by which people and systems ask a program to end. */
function usual(host: SignalHost | undefined): readonly SignalName[] {
  if (host === undefined) return [];
  return host.build?.os === "windows" ? ["SIGINT", "SIGBREAK"] : ["SIGINT", "SIGTERM"];
}

function signalHost(): SignalHost | undefined {
  const { Deno: host } = globalThis as { Deno?: Partial<SignalHost> };
  const fits = typeof host?.addSignalListener === "function" &&
    typeof host.removeSignalListener === "function";
  return fits ? host as SignalHost : undefined;
}
