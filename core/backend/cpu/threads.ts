/** A team of threads over one shared memory: workers that take tasks beside the calling thread. */

import { debugLine } from "../debug.ts";
import { builtinModule, environment } from "../host.ts";
import { control, type WorkerData, workerSource } from "./control.ts";

/** A phase of a kernel: does the tasks from `begin` to before `end`. */
export type PhaseFunction = (args: number, begin: number, end: number, scratch: number) => void;

/** A kernel as workers find it. */
export interface SharedCode {
  /** The number of the kernel. */
  readonly number: number;
  /** Where its module lies. */
  readonly address: number;
  /** Bytes of the module. */
  readonly bytes: number;
}

/** How the tasks of a phase are shared out. */
export interface Share {
  /** The number of the phase. */
  readonly phase: number;
  /** How many tasks there are. */
  readonly tasks: number;
  /** How many are taken at once. */
  readonly chunk: number;
  /** How many sleeping workers are worth waking; those that are awake come anyway. */
  readonly helpers: number;
}

/** Threads beyond which a team does not grow by itself. */
const MOST_THREADS = 16;
/** How long `ready()` waits for workers that do not come, in ms. */
const PATIENCE_MS = 20_000;

/** The part of a worker of `node:worker_threads` that is used. */
interface NodeWorker {
  unref(): void;
  on(event: "error", listener: (error: unknown) => void): void;
}

type NodeWorkers = {
  readonly Worker: new (
    code: string,
    options: { eval: true; workerData: WorkerData },
  ) => NodeWorker;
};

/** The part of a browser's worker that is used. */
interface WebWorker {
  postMessage(data: WorkerData): void;
  onerror: ((event: { readonly message: string }) => void) | null;
}

const { Worker: WebWorker } = globalThis as unknown as {
  Worker?: new (url: string, options: { type: "module" }) => WebWorker;
};

/** Spends a moment without taking the core from whoever shares it. */
const pause: () => void = (Atomics as { pause?: () => void }).pause?.bind(Atomics) ?? (() => {});

/**
 * How many threads a device uses, the calling one included: the number given, or else `LEGOML_THREADS`, or else one for each
 * core, at most 16.
 *
 * @throws {RangeError} if it is no whole number from 1 on
 */
export function threadCount(wanted: number | undefined): number {
  if (wanted !== undefined) return checked("threads", wanted, String(wanted));
  const text = environment("LEGOML_THREADS");
  if (text !== undefined && text !== "") return checked("LEGOML_THREADS", Number(text), text);
  return Math.min(MOST_THREADS, globalThis.navigator?.hardwareConcurrency ?? 1);
}

function checked(name: string, count: number, found: string): number {
  if (Number.isSafeInteger(count) && count >= 1 && count <= 256) return count;
  throw new RangeError(
    `Cannot use ${name} ${found}: expected a whole number from 1 to 256`,
  );
}

/** Workers that take tasks of a phase beside the calling thread. They are started when they are first asked for. */
export class Team {
  readonly #memory: WebAssembly.Memory;
  readonly #address: number;
  readonly #words: Int32Array;
  readonly #workers: number;
  #started = false;
  #closed = false;

  /**
   * @param memory shared memory
   * @param address of `controlBytes(workers)` bytes of it
   * @param workers how many threads there will be beside the calling one
   */
  constructor(memory: WebAssembly.Memory, address: number, workers: number) {
    this.#memory = memory;
    this.#address = address;
    this.#workers = workers;
    const bytes = memory.buffer.byteLength - address;
    this.#words = new Int32Array(memory.buffer, address, bytes >> 2);
    this.#words.fill(0, 0, control.worker + control.stride * workers);
  }

  /** How many workers have started. */
  get workers(): number {
    return Atomics.load(this.#words, control.ready);
  }

  /** Whether some worker is looking for work. */
  get awake(): boolean {
    return this.workers > Atomics.load(this.#words, control.sleepers);
  }

  /** Starts the workers; they come one after the other, while the calling thread goes on. */
  start(): void {
    if (this.#started || this.#closed) return;
    this.#started = true;
    const data = {
      memory: this.#memory,
      address: this.#address,
      index: 0,
      count: this.#workers,
      source: workerSource,
    };
    const node = nodeWorkers();
    if (node !== undefined) startWithNode(node, data);
    else startInBrowser(data);
  }

  /** Starts the workers and resolves when all of them have come; gives the number of threads, with the calling one. */
  async ready(): Promise<number> {
    this.start();
    const end = performance.now() + PATIENCE_MS;
    while (!this.#closed && this.workers < this.#workers && performance.now() < end) {
      // A timer also keeps the program alive, which the workers do not.
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    return 1 + this.workers;
  }

  /** Tells the workers where the scratch memory lies that belongs to each; not while they work. */
  setScratch(addressOf: (worker: number) => number): void {
    for (let i = 0; i < this.#workers; i++) this.#words[wordOf(i) + 1] = addressOf(i);
  }

  /**
   * Does all tasks of a phase; returns when all are done.
   *
   * @param code what workers run
   * @param run the same on this thread
   * @param share how the tasks are shared out
   * @param args address of the arguments
   * @param scratch scratch memory of this thread
   * @throws what the phase throws, here or on a worker
   */
  run(code: SharedCode, run: PhaseFunction, share: Share, args: number, scratch: number): void {
    const words = this.#words;
    const { tasks, chunk } = share;
    this.#publish(code, share, args);
    try {
      for (;;) {
        const begin = Atomics.add(words, control.next, chunk) >>> 0;
        if (begin >= tasks) break;
        run(args, begin, Math.min(begin + chunk, tasks), scratch);
      }
    } finally {
      // After a trap nobody shall begin another task.
      Atomics.store(words, control.next, tasks | 0);
      this.#join();
    }
    if (Atomics.load(words, control.error) !== 0) throw this.#failure();
  }

  /** Ends the workers. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    Atomics.store(this.#words, control.stop, 1);
    Atomics.add(this.#words, control.ticket, 2);
    Atomics.notify(this.#words, control.ticket);
  }

  #publish(code: SharedCode, { phase, tasks, chunk, helpers }: Share, args: number): void {
    const words = this.#words;
    words[control.kernel] = code.number;
    words[control.code] = code.address;
    words[control.codeBytes] = code.bytes;
    words[control.phase] = phase;
    words[control.args] = args;
    words[control.tasks] = tasks;
    words[control.chunk] = chunk;
    Atomics.store(words, control.next, 0);
    Atomics.add(words, control.ticket, 1);
    if (helpers > 0 && Atomics.load(words, control.sleepers) > 0) {
      Atomics.notify(words, control.ticket, helpers);
    }
  }

  /** Lets nobody in any more and waits for those who are. */
  #join(): void {
    const words = this.#words;
    Atomics.add(words, control.ticket, 1);
    for (let i = 0; i < this.#workers; i++) {
      while (Atomics.load(words, wordOf(i)) !== 0) pause();
    }
  }

  #failure(): Error {
    const bytes = Math.max(0, Atomics.load(this.#words, control.error) - 1);
    const at = this.#address + 4 * control.message;
    const text = new Uint8Array(this.#memory.buffer, at, bytes).slice();
    return new Error(new TextDecoder().decode(text));
  }
}

function wordOf(worker: number): number {
  return control.worker + control.stride * worker;
}

/** Whether threads can be made here at all. */
export function canStartThreads(): boolean {
  return nodeWorkers() !== undefined || WebWorker !== undefined;
}

/** Workers of Node's kind: unlike those of the web they let the program end while they sleep. */
function nodeWorkers(): NodeWorkers | undefined {
  return builtinModule("node:worker_threads") as NodeWorkers | undefined;
}

/** Starts the first worker, which starts the others. */
function startWithNode({ Worker }: NodeWorkers, data: WorkerData): void {
  const worker = new Worker(workerSource, { eval: true, workerData: data });
  worker.on("error", tell);
  worker.unref();
}

function startInBrowser(data: WorkerData): void {
  const url = URL.createObjectURL(new Blob([workerSource], { type: "text/javascript" }));
  for (let index = 0; index < data.count; index++) {
    const worker = new WebWorker!(url, { type: "module" });
    worker.onerror = ({ message }) => tell(message);
    worker.postMessage({ ...data, index });
  }
}

/** The calling thread does the work of workers that do not start, so that nothing is lost but time. */
function tell(error: unknown): void {
  debugLine(1, () => `a worker thread ended: ${error instanceof Error ? error.message : error}`);
}
