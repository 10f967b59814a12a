/** One worker that makes items of a data set, and the messages to and from it. */

import { builtinModule } from "../core/backend/host.ts";

/** Items that a worker could not make, or a worker that could not start or has ended. */
export class WorkerError extends Error {
  /** "WorkerError". */
  override readonly name = "WorkerError";
}

/**
 * The error of a request that a worker does not answer.
 *
 * @param reason why
 * @param cause what the worker threw, if it told
 */
export function workerErrorOf(reason: string, cause?: unknown): WorkerError {
  return new WorkerError(`Cannot make items in a worker as ${reason}`, { cause });
}

/** A running thread, whatever its kind. */
export interface Thread {
  /** Sends a message. */
  send(message: unknown): void;
  /** Whether the program waits for it before it ends. */
  hold(isHeld: boolean): void;
  /** Ends it at once. */
  end(): void;
}

/** What a thread tells. */
export interface ThreadListener {
  /** A message came. */
  message(data: unknown): void;
  /** It has ended by itself. */
  failed(reason: string): void;
}

/** What runs in the thread: opens the data set, then answers lists of indices, one after the other. */
const SOURCE = `
const node = globalThis.process?.getBuiltinModule?.("node:worker_threads");
const port = node?.parentPort ?? globalThis;
const plain = (error) => error instanceof Error
  ? { name: error.name, message: error.message, stack: error.stack }
  : { name: typeof error, message: String(error) };
const reply = async (id, work) => {
  try {
    port.postMessage({ id, value: await work() });
  } catch (error) {
    port.postMessage({ id, error: plain(error) });
  }
};
let dataset;
const open = async ({ url, args }) => {
  const { default: open } = await import(url);
  dataset = await open(args);
  return dataset.length;
};
const items = async (indices) => {
  if (dataset.getItems) return await dataset.getItems(indices);
  return Promise.all(indices.map((index) => dataset.get(index)));
};
const take = ({ id, ...message }) =>
  reply(id, () => message.indices ? items(message.indices) : open(message));
if (node?.parentPort) port.on("message", take);
else port.onmessage = ({ data }) => take(data);
`;

interface Answer {
  readonly id: number;
  readonly value?: unknown;
  readonly error?: { readonly name: string; readonly message: string; readonly stack?: string };
}

/** A worker with a data set of its own. */
export class DatasetWorker {
  /** The number of items, once the data set is open. */
  readonly ready: Promise<number>;
  readonly #thread: Thread;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  #next = 0;
  #ended: WorkerError | null = null;

  /**
   * Starts the thread and opens the data set in it.
   *
   * @param url address of the module
   * @param args what its default export is called with
   * @param start makes the thread
   */
  constructor(
    url: string,
    args: unknown,
    start: (source: string, listener: ThreadListener) => Thread = startThread,
  ) {
    this.#thread = start(SOURCE, {
      message: (data) => this.#answer(data as Answer),
      failed: (reason) => this.end(workerErrorOf(`it ended: ${reason}`)),
    });
    this.ready = this.#ask({ url, args }) as Promise<number>;
  }

  /** Items by index, in the order asked for. */
  items(indices: readonly number[]): Promise<unknown[]> {
    return this.#ask({ indices }) as Promise<unknown[]>;
  }

  /** Ends the thread; what was asked for, and what will be, fails with the error. */
  end(error: WorkerError): void {
    this.#ended ??= error;
    this.#thread.end();
    for (const { reject } of this.#waiting.values()) reject(this.#ended);
    this.#waiting.clear();
  }

  #ask(message: object): Promise<unknown> {
    if (this.#ended !== null) return Promise.reject(this.#ended);
    const id = this.#next++;
    const answer = Promise.withResolvers<unknown>();
    try {
      this.#thread.send({ id, ...message });
    } catch (error) {
      return Promise.reject(workerErrorOf("its arguments cannot be cloned", error));
    }
    this.#waiting.set(id, answer);
    this.#thread.hold(true);
    return answer.promise;
  }

  #answer({ id, value, error }: Answer): void {
    const answer = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (this.#waiting.size === 0) this.#thread.hold(false);
    if (error === undefined) return answer?.resolve(value);
    answer?.reject(workerErrorOf(`${error.name} was thrown: ${error.message}`, error));
  }
}

/** Starts a thread of Node's kind, which lets the program end while nothing is asked of it, or a web worker. */
function startThread(source: string, listener: ThreadListener): Thread {
  const node = builtinModule("node:worker_threads") as NodeThreads | undefined;
  return node === undefined ? startWebThread(source, listener) : startNode(node, source, listener);
}

interface NodeThreads {
  readonly Worker: new (code: string, options: { eval: true }) => {
    postMessage(message: unknown): void;
    on(event: "message" | "error" | "exit", listener: (value: unknown) => void): void;
    ref(): void;
    unref(): void;
    terminate(): Promise<unknown>;
  };
}

function startNode({ Worker }: NodeThreads, source: string, listener: ThreadListener): Thread {
  const worker = new Worker(source, { eval: true });
  let ended = false;
  worker.on("message", (data) => listener.message(data));
  worker.on("error", (error) => ended || listener.failed(reasonOf(error)));
  worker.on("exit", (code) => ended || listener.failed(`exit code ${code}`));
  return {
    send: (message) => worker.postMessage(message),
    hold: (isHeld) => isHeld ? worker.ref() : worker.unref(),
    end: () => {
      ended = true;
      void worker.terminate();
    },
  };
}

interface WebThread {
  onmessage: ((event: { readonly data: unknown }) => void) | null;
  onerror:
    | ((event: { readonly message: string; preventDefault(): void }) => void)
    | null;
  postMessage(message: unknown): void;
  terminate(): void;
}

/** Starts a worker of the web's kind, as in browsers. */
export function startWebThread(source: string, listener: ThreadListener): Thread {
  const { Worker } = globalThis as unknown as {
    Worker: new (url: string, options: { type: "module" }) => WebThread;
  };
  const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const worker = new Worker(url, { type: "module" });
  worker.onmessage = ({ data }) => listener.message(data);
  worker.onerror = (event) => {
    event.preventDefault();
    listener.failed(event.message);
  };
  return {
    send: (message) => worker.postMessage(message),
    hold: () => {},
    end: () => {
      worker.terminate();
      URL.revokeObjectURL(url);
    },
  };
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
